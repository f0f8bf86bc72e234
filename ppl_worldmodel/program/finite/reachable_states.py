"""The states that a finite program can reach: its step, followed from every possible start until nothing new appears, or the
series is at its end.

The support of a site may depend on the state (`Binomial(total_count=state)`), on other sites of its step and on the inputs: its
values are then listed up to the largest that is reached, and those outside of the support in a state are impossible there.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.program.batch import Batch
from ppl_worldmodel.program.finite.state_table import (
    MOST_OUTCOMES,
    MOST_STATES,
    Listed,
    Table,
    entries,
    limit,
    listed,
    listed_sites,
    spread,
    values_of,
)
from ppl_worldmodel.program.finite.support import (
    Ranges,
    bounded_sites,
    concrete,
    ends_of,
    listed_support,
    possible_cases,
    widened,
)
from ppl_worldmodel.program.intercept import Beginning
from ppl_worldmodel.program.jaxprs.dependence import dependence
from ppl_worldmodel.program.sites import Sample, is_delta
from ppl_worldmodel.program.step import Step

MOST_MOVES = 2**23  # (time, state, outcome, sequence) that are followed


def tabulate(step: Step, beginning: Beginning, batch: Batch) -> Table:
    """List the states; `batch` says which axes are independent sequences.

    Raises NeedsNumbers inside a trace of JAX, where the structure alone does not say.
    """
    latents = values_of(step.latents)
    bounded = bounded_sites(lambda *at: step.run(*at)[1], step.latents, step.before, latents, step.first())
    drawn = {name: site for name, site in beginning.sites.items() if not is_delta(site.fn)}
    first = bounded_sites(lambda values: beginning.at(values)[1], drawn, values_of(drawn))
    if not bounded | first and (table := _carried(step, beginning, batch)) is not None:
        return table
    return _followed(step, beginning, batch, drawn, bounded, first)


def _carried(step: Step, beginning: Beginning, batch: Batch) -> Table | None:
    """The table of a state that is the values of the latent sites, from a first state of the same kind; else None."""
    outcomes = listed_sites(step.latents, batch)
    if (
        not step.carried()
        or beginning.linked
        or beginning.seen
        or not all(i in beginning.direct or i not in beginning.leaves for i in step.names)
    ):
        return None
    same = all(
        np.array_equal(listed_support(beginning.sites[name]), listed_support(step.latents[str(step.origin[i])]))
        for i, name in beginning.direct.items()
        if i in step.names and not is_delta(beginning.sites[name].fn)
    )
    if not same:
        return None
    states = Listed({i: outcomes.values[str(name)] for i, name in step.origin.items()}, outcomes.size)
    following = np.broadcast_to(np.arange(outcomes.size), (outcomes.size, outcomes.size))
    return Table(states, outcomes, following, False, False, None)


def _followed(
    step: Step,
    beginning: Beginning,
    batch: Batch,
    drawn: dict[str, Sample],
    bounded: frozenset[str],
    first: frozenset[str],
) -> Table:
    """Follow the step from every start. All sequences are put into the same state; each may be led elsewhere."""
    starts, begun, begins = _starts(step, beginning, batch, drawn, first)
    states = frontier = np.unique(begun[begins], axis=0)
    shapes = [np.shape(step.before[i])[batch.rank :] for i in step.names]
    dtypes = [step.before[i].dtype for i in step.names]
    advance, by_time = _advance(step, batch, bounded)

    def follow(rows: np.ndarray, ranges: Ranges) -> tuple[Listed, np.ndarray, np.ndarray, Ranges]:
        """The outcomes, the new states of these states, which of them are possible, and the ranges of bounded sites there."""
        outcomes = _candidates(step.latents, batch, ranges, bounded)
        _limit_moves(step, len(rows) * outcomes.size * (step.scan.length if by_time else 1) * batch.count)
        leaves, ends = advance(_unpacked(rows, list(step.names), shapes, dtypes), outcomes)
        moved = _columns(leaves, step, batch)
        return outcomes, moved, *possible_cases(ends, moved.shape[:-1])

    ranges: Ranges = {}
    for _ in range(step.scan.length):
        _, moved, possible, reached = follow(frontier, ranges)
        while (wider := widened(ranges, reached)) != ranges:
            ranges = wider
            _, moved, possible, reached = follow(frontier, ranges)
        found = np.unique(np.concatenate([states, np.unique(moved[possible], axis=0)]), axis=0)
        known = set(map(tuple, states.tolist()))
        frontier = np.array([row for row in found.tolist() if tuple(row) not in known], dtype=found.dtype)
        if not len(frontier):
            break
        states = found
        limit(len(states), step.names.values())
    # The states that only the last step reaches need no way on.
    last = np.array([tuple(row) in set(map(tuple, frontier.tolist())) for row in states.tolist()], dtype=bool)
    outcomes, moved, possible, _ = follow(states, ranges)
    values = _unpacked(states, list(step.names), shapes, dtypes)
    over_states = tuple(np.newaxis if i != by_time else slice(None) for i in range(possible.ndim))
    possible = possible & ~last[over_states]
    axis = 1 + by_time  # axes: (time), state, outcome, (sequence)
    kept = possible.any(axis=tuple(i for i in range(possible.ndim) if i != axis))
    if not kept.all():
        outcomes = Listed({name: value[kept] for name, value in outcomes.values.items()}, int(kept.sum()))
        moved, possible = np.compress(kept, moved, axis=axis), np.compress(kept, possible, axis=axis)
    following = _numbered(states, moved, possible)
    if batch:
        following = np.moveaxis(following, -1, -3)
        if (following == np.take(following, [0], axis=-3)).all():
            following = following[..., 0, :, :]
    by_sequence = following.ndim == 3 + by_time
    start = _numbered(states, begun, begins)
    return Table(
        Listed(values, len(states)), outcomes, following, by_time, by_sequence, (starts, start), bounded | first, last
    )


def _candidates(sites: dict[str, Sample], batch: Batch, ranges: Ranges, bounded: frozenset[str]) -> Listed:
    """Joint values of the sites: all of a fixed support, the range reached so far of a bounded one (0 before it is known)."""
    supports = {}
    for name, site in sites.items():
        low, high = ranges.get(name, (0, 0))
        supports[name] = np.arange(low, high + 1) if name in bounded else listed_support(site)
    return listed(supports, entries(sites, batch), MOST_OUTCOMES if bounded else MOST_STATES)


def _limit_moves(step: Step, moves: int) -> None:
    if moves > MOST_MOVES:
        names = ", ".join(map(repr, step.latents))
        raise NotExactlySolvable(
            f"the step has {moves:,} moves (time steps, states and values of {names} together): at most {MOST_MOVES:,} are listed"
        )


def _starts(
    step: Step, beginning: Beginning, batch: Batch, drawn: dict[str, Sample], bounded: frozenset[str]
) -> tuple[Listed, np.ndarray, np.ndarray]:
    """Joint values of the initial state's sites; the states that they mean, (start, *sequence, entry); which are possible."""

    def first(values: dict[str, Any]) -> tuple[list[jax.Array], dict]:
        leaves, sites = beginning.at(spread(values, values_of(drawn)))
        return [jnp.asarray(leaves[i]) for i in step.names], ends_of(sites, bounded, batch)

    ranges: Ranges = {}
    while True:
        starts = _candidates(drawn, batch, ranges, bounded)
        leaves, ends = jax.tree.map(concrete, jax.vmap(first, axis_size=starts.size)(starts.values))
        begun = _columns(leaves, step, batch)
        possible, reached = possible_cases(ends, begun.shape[:-1])
        wider = widened(ranges, reached)
        if wider == ranges:
            break
        ranges = wider
    kept = possible.reshape(starts.size, -1).any(axis=1)
    starts = Listed({name: value[kept] for name, value in starts.values.items()}, int(kept.sum()))
    return starts, begun[kept], possible[kept]


def _numbered(states: np.ndarray, rows: np.ndarray, possible: np.ndarray) -> np.ndarray:
    """The number of the state in each row, and the number of states where the row is impossible."""
    index = {tuple(state): k for k, state in enumerate(states.tolist())}
    distinct, place = np.unique(rows.reshape(-1, rows.shape[-1]), axis=0, return_inverse=True)
    numbers = np.array([index.get(tuple(row), len(states)) for row in distinct.tolist()], dtype=int)
    return np.where(possible, numbers[place.reshape(possible.shape)], len(states))


def _advance(step: Step, batch: Batch, bounded: frozenset[str]) -> tuple[Callable, bool]:
    """(values of the states, outcomes) -> the new leaves and the ends of bounded supports, (time,) state, outcome.

    And whether they depend on time.
    """

    def one(state: dict[int, Any], latents: dict[str, Any], inputs: Any) -> tuple[list[jax.Array], dict]:
        after, sites = step.run(spread(state, step.before), spread(latents, values_of(step.latents)), inputs)
        new = [jnp.broadcast_to(jnp.asarray(after[i]), np.shape(step.before[i])) for i in step.names]
        return new, ends_of(sites, bounded, batch)

    first = step.first()
    needs = dependence(one, step.before, values_of(step.latents), first)
    by_time = any(2 in each for each in jax.tree.leaves(needs, is_leaf=lambda each: isinstance(each, frozenset)))

    @jax.jit
    def run(state: dict[int, Any], outcomes: dict[str, Any], inputs: Any) -> tuple[list[jax.Array], dict]:
        size = len(next(iter(outcomes.values()))) if outcomes else 1
        several = jax.vmap(jax.vmap(one, (None, 0, None), axis_size=size), (0, None, None))
        over_time = jax.vmap(several, (None, None, 0), axis_size=step.scan.length)
        return (over_time if by_time else several)(state, outcomes, inputs)

    def padded(state: dict[int, np.ndarray], outcomes: Listed) -> tuple[list[np.ndarray], dict]:
        size = len(next(iter(state.values())))
        room = max(8, 1 << (size - 1).bit_length())
        filled = {i: np.concatenate([value, np.repeat(value[:1], room - size, axis=0)]) for i, value in state.items()}
        moved = run(filled, outcomes.values, step.series if by_time else first)
        return jax.tree.map(lambda leaf: concrete(leaf)[:, :size] if by_time else concrete(leaf)[:size], moved)

    return padded, by_time


def _columns(leaves: list[np.ndarray], step: Step, batch: Batch) -> np.ndarray:
    """The leaves' values as one row for each case, (..., *sequence, entries of a state)."""
    parts = []
    for i, leaf in zip(step.names, leaves, strict=True):
        lead = leaf.shape[: leaf.ndim - np.ndim(step.before[i])]
        parts.append(leaf.reshape(*lead, *batch.ends, -1))
    return np.concatenate(parts, axis=-1)


def _unpacked(
    rows: np.ndarray, names: list[int], shapes: list[tuple[int, ...]], dtypes: list[Any]
) -> dict[int, np.ndarray]:
    values, at = {}, 0
    for name, shape, dtype in zip(names, shapes, dtypes, strict=True):
        count = int(np.prod(shape, dtype=int))
        values[name] = rows[:, at : at + count].reshape(len(rows), *shape).astype(dtype)
        at += count
    return values
