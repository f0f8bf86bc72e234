"""The table of a finite program: the values of its state, the outcomes of a step, and the state that each leads to.

A state may be several sites (a factorial model), the last few values of one (a shift register), or computed from them (a
counter): whatever the step carries on.
"""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.program.batch import Batch
from ppl_worldmodel.program.finite.support import listed_support
from ppl_worldmodel.program.sites import Sample

MOST_STATES = 1024
MOST_OUTCOMES = 2**16  # candidates of the joint values of sites whose support depends on the state


class Listed(NamedTuple):
    """Joint values of several things: {what: its value in each case, (case, *shape)}."""

    values: dict[Any, np.ndarray]
    size: int


class Table(NamedTuple):
    """The states and the outcomes of a step (joint values of its latent sites), one sequence's where there are several.

    following  index of the state that outcome m of state k leads to, (state, outcome); with a leading axis time, sequence or
               both where it depends on them; the number of states where the outcome is impossible in this state
    starts     joint values of the initial state's sites and the index of the state each means, (start, *sequence); None where
               the first carry IS these sites, in which case the states are listed in the same order
    bounded    the sites (of the step, and before it) whose support depends on the state, on other sites or on the inputs
    last       which states only the last step reaches, (state,), if there are any: no move of theirs is listed, they stay
    """

    states: Listed
    outcomes: Listed
    following: np.ndarray
    by_time: bool
    by_sequence: bool
    starts: tuple[Listed, np.ndarray] | None
    bounded: frozenset[str] = frozenset()
    last: np.ndarray | None = None

    def moving(self) -> np.ndarray:
        """Of each state the number of one whose moves are listed: its own, or that of the first such state."""
        number = np.arange(self.states.size)
        return number if self.last is None else np.where(self.last, int(np.argmin(self.last)), number)

    def possible(self) -> np.ndarray:
        """Which outcomes may follow which states? Of the shape of `following`."""
        return self.following < self.states.size


def listed_sites(sites: Mapping[str, Sample], batch: Batch) -> Listed:
    """All joint values of discrete sites, in one sequence."""
    return listed({name: listed_support(site) for name, site in sites.items()}, entries(sites, batch), MOST_STATES)


def entries(sites: Mapping[str, Sample], batch: Batch) -> dict[str, tuple[int, ...]]:
    """The shape of each site in one sequence."""
    return {name: np.shape(site.value)[batch.rank :] for name, site in sites.items()}


def listed(supports: Mapping[Any, np.ndarray], shapes: Mapping[Any, tuple[int, ...]], most: int) -> Listed:
    """All joint values, the last one changing fastest; refused where there are more than `most`."""
    counts = {name: int(np.prod(shapes[name], dtype=int)) for name in supports}
    columns = [supports[name] for name in supports for _ in range(counts[name])]
    size = int(np.prod([len(column) for column in columns], dtype=object)) if columns else 1
    limit(size, [str(name) for name in supports], most)
    grid = [np.asarray(column) for column in zip(*itertools.product(*columns), strict=True)] if columns else []
    values, at = {}, 0
    for name, count in counts.items():
        part = grid[at : at + count]
        stacked = np.stack(part, axis=1) if part else np.zeros((size, 0))
        values[name] = stacked.reshape(size, *shapes[name]).astype(supports[name].dtype)
        at += count
    return Listed(values, size)


def limit(size: int, names: Iterable[str], most: int = MOST_STATES) -> None:
    """Raise NotExactlySolvable where there are more states, or outcomes of a step, than can be listed."""
    if size > most:
        raise NotExactlySolvable(
            f"the state ({', '.join(repr(name) for name in names)}) takes {size} values or more: at most {most} are listed; "
            "independent series belong into a numpyro.plate inside the step"
        )


def spread(values: Mapping[Any, Any], like: Mapping[Any, Any]) -> dict[Any, jax.Array]:
    """One sequence's values, given to all of them."""
    return {
        name: jnp.broadcast_to(
            jnp.asarray(value).reshape((1,) * (np.ndim(like[name]) - np.ndim(value)) + np.shape(value)),
            np.shape(like[name]),
        )
        for name, value in values.items()
    }


def values_of(sites: Mapping[str, Sample]) -> dict[str, Any]:
    """The placeholders of sites by name."""
    return {name: site.value for name, site in sites.items()}


def label(values: Any) -> tuple:
    """The entries of one state as plain numbers."""
    return tuple(np.concatenate([np.ravel(value) for value in values]).tolist())
