"""Which values does a finite state take, and to which one does each outcome of a step lead?  Listed before anything is computed.

A state may be several sites (a factorial model), the last few values of one (a shift register), or computed from them (a
counter): whatever the step carries on. It is listed by following the step from every possible start until nothing new appears.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.program.batch import Batch
from ppl_worldmodel.program.dependence import dependence
from ppl_worldmodel.program.intercept import Beginning
from ppl_worldmodel.program.sites import Sample, is_delta
from ppl_worldmodel.program.step import Step, kind

MOST_STATES = 1024


class Listed(NamedTuple):
    """Joint values of several things: {what: its value in each case, (case, *shape)}."""

    values: dict[Any, np.ndarray]
    size: int


class Table(NamedTuple):
    """The states and the outcomes of a step (joint values of its latent sites), one sequence's where there are several.

    following  index of the state that outcome m of state k leads to, (state, outcome); with a leading axis time, sequence or
               both where it depends on them
    starts     joint values of the initial state's sites and the index of the state each means, (start, *sequence); None where
               the first carry IS these sites, in which case the states are listed in the same order
    """

    states: Listed
    outcomes: Listed
    following: np.ndarray
    by_time: bool
    by_sequence: bool
    starts: tuple[Listed, np.ndarray] | None


class NeedsNumbers(Exception):
    """The table depends on values that JAX is tracing: make it outside of the trace."""


def tabulate(step: Step, beginning: Beginning, batch: Batch) -> Table:
    """List the states; `batch` says which axes are independent sequences.

    Raises NeedsNumbers inside a trace of JAX, where the structure alone does not say.
    """
    outcomes = listed_sites(step.latents, batch)
    if (
        step.carried()
        and not beginning.linked
        and not beginning.seen
        and all(i in beginning.direct or i not in beginning.leaves for i in step.names)
    ):
        same = all(
            np.array_equal(_support(beginning.sites[name]), _support(step.latents[str(step.origin[i])]))
            for i, name in beginning.direct.items()
            if i in step.names and not is_delta(beginning.sites[name].fn)
        )
        if same:
            states = Listed({i: outcomes.values[str(name)] for i, name in step.origin.items()}, outcomes.size)
            following = np.broadcast_to(np.arange(outcomes.size), (outcomes.size, outcomes.size))
            return Table(states, outcomes, following, False, False, None)
    return _followed(step, beginning, batch, outcomes)


def _support(site: Sample) -> np.ndarray:
    if not (site.fn.support.is_discrete and site.fn.has_enumerate_support):
        raise NotExactlySolvable(
            f"the states of site '{site.name}' ({kind(site.fn)}) cannot be listed: its support is not finite"
        )
    with jax.ensure_compile_time_eval():
        values = site.fn.enumerate_support(expand=False).reshape(-1)
    return _concrete(values)


def listed_sites(sites: Mapping[str, Sample], batch: Batch) -> Listed:
    """All joint values of discrete sites, in one sequence."""
    shapes = {name: np.shape(site.value)[batch.rank :] for name, site in sites.items()}
    return _listed({name: _support(site) for name, site in sites.items()}, shapes)


def _concrete(values: Any) -> np.ndarray:
    if isinstance(values, jax.core.Tracer):
        raise NeedsNumbers
    return np.asarray(values)


def _listed(supports: Mapping[Any, np.ndarray], shapes: Mapping[Any, tuple[int, ...]]) -> Listed:
    """All joint values, the last one changing fastest."""
    counts = {name: int(np.prod(shapes[name], dtype=int)) for name in supports}
    columns = [supports[name] for name in supports for _ in range(counts[name])]
    size = int(np.prod([len(column) for column in columns], dtype=object)) if columns else 1
    _limit(size, [str(name) for name in supports])
    grid = [np.asarray(column) for column in zip(*itertools.product(*columns), strict=True)] if columns else []
    values, at = {}, 0
    for name, count in counts.items():
        part = grid[at : at + count]
        stacked = np.stack(part, axis=1) if part else np.zeros((size, 0))
        values[name] = stacked.reshape(size, *shapes[name]).astype(supports[name].dtype)
        at += count
    return Listed(values, size)


def _limit(size: int, names: Iterable[str]) -> None:
    if size > MOST_STATES:
        raise NotExactlySolvable(
            f"the state ({', '.join(repr(name) for name in names)}) takes {size} values or more: at most {MOST_STATES} are listed; "
            "independent series belong into a numpyro.plate inside the step"
        )


def _followed(step: Step, beginning: Beginning, batch: Batch, outcomes: Listed) -> Table:
    """Follow the step from every start. All sequences are put into the same state; each may be led elsewhere."""
    drawn = {name: site for name, site in beginning.sites.items() if not is_delta(site.fn)}
    starts = listed_sites(drawn, batch)

    def first(values: dict[str, Any]) -> list[jax.Array]:
        leaves, _ = beginning.at(spread(values, {name: site.value for name, site in drawn.items()}))
        return [jnp.asarray(leaves[i]) for i in step.names]

    begun = _columns([_concrete(leaf) for leaf in _over(first, starts)], step, batch)
    known = {tuple(row): None for row in begun.reshape(-1, begun.shape[-1]).tolist()}
    states = sorted(known)
    shapes = [np.shape(step.before[i])[batch.rank :] for i in step.names]
    dtypes = [step.before[i].dtype for i in step.names]
    advance, by_time = _advance(step, outcomes)
    while True:
        _limit(len(states), step.names.values())
        values = _unpacked(np.array(states), list(step.names), shapes, dtypes)
        moved = _columns(advance(values), step, batch)
        found = {tuple(row) for row in moved.reshape(-1, moved.shape[-1]).tolist()} - set(known)
        if not found:
            break
        known |= dict.fromkeys(found)
        states = sorted(known)
    index = {state: k for k, state in enumerate(states)}
    following = np.array([index[tuple(row)] for row in moved.reshape(-1, moved.shape[-1]).tolist()]).reshape(
        moved.shape[:-1]
    )
    # axes: (time), state, outcome, (sequence)
    if batch:
        following = np.moveaxis(following, -1, -3)
        if (following == np.take(following, [0], axis=-3)).all():
            following = following[..., 0, :, :]
    start = np.array([index[tuple(row)] for row in begun.reshape(-1, begun.shape[-1]).tolist()]).reshape(
        begun.shape[:-1]
    )
    by_sequence = following.ndim == 3 + by_time
    return Table(Listed(values, len(states)), outcomes, following, by_time, by_sequence, (starts, start))


def spread(values: Mapping[Any, Any], like: Mapping[Any, Any]) -> dict[Any, jax.Array]:
    """One sequence's values, given to all of them."""
    return {
        name: jnp.broadcast_to(
            jnp.asarray(value).reshape((1,) * (np.ndim(like[name]) - np.ndim(value)) + np.shape(value)),
            np.shape(like[name]),
        )
        for name, value in values.items()
    }


def _over(function: Callable, listed: Listed) -> Any:
    """`function` of each case of a listing."""
    return jax.vmap(function, axis_size=listed.size)(listed.values)


def _advance(step: Step, outcomes: Listed) -> tuple[Callable, bool]:
    """values of the states -> the new leaves for every (time,) state and outcome; and whether they depend on time."""

    def one(state: dict[int, Any], latents: dict[str, Any], inputs: Any) -> list[jax.Array]:
        after, _ = step.run(spread(state, step.before), spread(latents, _values(step.latents)), inputs)
        return [jnp.broadcast_to(jnp.asarray(after[i]), np.shape(step.before[i])) for i in step.names]

    first = step.first()
    by_time = any(2 in needs for needs in dependence(one, step.before, _values(step.latents), first))
    several = jax.vmap(jax.vmap(one, (None, 0, None), axis_size=outcomes.size), (0, None, None))
    over_time = jax.vmap(several, (None, None, 0), axis_size=step.scan.length)
    run = jax.jit(lambda state, inputs: (over_time if by_time else several)(state, outcomes.values, inputs))

    def padded(state: dict[int, np.ndarray]) -> list[np.ndarray]:
        size = len(next(iter(state.values())))
        room = max(8, 1 << (size - 1).bit_length())
        filled = {i: np.concatenate([value, np.repeat(value[:1], room - size, axis=0)]) for i, value in state.items()}
        moved = run(filled, step.series if by_time else first)
        return [_concrete(leaf)[:, :size] if by_time else _concrete(leaf)[:size] for leaf in moved]

    return padded, by_time


def _values(sites: Mapping[str, Sample]) -> dict[str, Any]:
    return {name: site.value for name, site in sites.items()}


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


def label(values: Any) -> tuple:
    """The entries of one state as plain numbers."""
    return tuple(np.concatenate([np.ravel(value) for value in values]).tolist())
