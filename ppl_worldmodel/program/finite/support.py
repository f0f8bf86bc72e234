"""The support of a discrete site: which values it lists, and integer intervals whose ends depend on the state."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.program.batch import Batch
from ppl_worldmodel.program.jaxprs.dependence import dependence
from ppl_worldmodel.program.sites import Sample, bare

Interval = tuple[Array, Array]
Ranges = dict[str, tuple[int, int]]  # lowest and highest value of a site


class NeedsNumbers(Exception):
    """The table depends on values that JAX is tracing: make it outside of the trace."""


def concrete(values: Any) -> np.ndarray:
    """The numbers; raises NeedsNumbers where JAX is tracing them."""
    if isinstance(values, jax.core.Tracer):
        raise NeedsNumbers
    return np.asarray(values)


def listed_support(site: Sample) -> np.ndarray:
    """All values of one entry of a discrete site whose support is the same in every state."""
    name = f"'{site.name}' ({type(bare(site.fn)).__name__.removesuffix('Probs').removesuffix('Logits')})"
    if not (site.fn.support.is_discrete and site.fn.has_enumerate_support):
        raise NotExactlySolvable(f"the states of site {name} cannot be listed: its support is not finite")
    if (found := interval(site.fn)) is not None:
        low, high = map(concrete, found)
        return np.arange(int(low.min(initial=0)), int(high.max(initial=0)) + 1)
    try:
        with jax.ensure_compile_time_eval():
            values = bare(site.fn).enumerate_support(expand=False).reshape(-1)
    except NotImplementedError as error:
        raise NotExactlySolvable(f"the states of site {name} cannot be listed: {error}") from error
    return concrete(values)


def moves(fn: dist.Distribution) -> bool:
    """May the support depend on what the distribution is made of?  Where an end of it is an array and no plain number."""
    return any(isinstance(end, (jax.Array, np.ndarray)) for end in ends(fn))


def ends(fn: dist.Distribution) -> tuple[Any, Any]:
    """The lowest and the highest value of the support; None where it has no such end."""
    support = fn.support
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)


def interval(fn: dist.Distribution) -> Interval | None:
    """The ends of an integer interval that may depend on the state; None for any other support."""
    low, high = ends(fn)
    if low is None or high is None or not fn.support.is_discrete or not moves(fn):
        return None
    return jnp.asarray(low), jnp.asarray(high)


def bounded_sites(
    sites_of: Callable[..., Mapping[str, Sample]], sites: Mapping[str, Sample], *arguments: Any
) -> frozenset[str]:
    """The names of those sites whose support depends on an argument of `sites_of` (the state, other sites, the inputs).

    And of those whose entries have different supports (populations of different sizes in a plate).
    """
    names = [name for name, site in sites.items() if interval(site.fn) is not None]
    if not names:
        return frozenset()

    def intervals(*arguments: Any) -> dict[str, Interval]:
        found = sites_of(*arguments)
        return {name: interval(found[name].fn) for name in names}  # type: ignore[misc]

    needs = dependence(intervals, *arguments)
    mixed = {name for name in names if not all(map(_alike, ends(sites[name].fn)))}
    return frozenset(name for name, (low, high) in needs.items() if low | high or name in mixed)


def _alike(end: Any) -> bool:
    """Is this end of a support known to be the same for all entries?"""
    return np.size(end) == 1 or (not isinstance(end, jax.core.Tracer) and bool(np.ptp(np.asarray(end)) == 0))


def ends_of(
    sites: Mapping[str, Sample], bounded: frozenset[str], batch: Batch
) -> dict[str, tuple[Array, Array, Array]]:
    """{site: (value, lowest, highest)} of those sites, each (*sequence, entry)."""
    found = {}
    for name, site in sites.items():
        if name in bounded:
            whole = (jnp.broadcast_to(part, site.fn.shape()) for part in (site.value, *ends(site.fn)))
            found[name] = tuple(batch.front(part, site.fn.event_dim) for part in whole)
    return found  # type: ignore[return-value]


def possible_cases(ends: Mapping[str, tuple[Any, Any, Any]], shape: tuple[int, ...]) -> tuple[np.ndarray, Ranges]:
    """Which cases are possible, of `shape`; and the range of each site over the cases whose earlier sites are possible."""
    possible, ranges = np.ones(shape, bool), {}
    for name, parts in ends.items():
        value, low, high = (np.asarray(part) for part in parts)
        if possible.any():
            ranges[name] = int(low[possible].min()), int(high[possible].max())
        possible = possible & ((value >= low) & (value <= high)).all(axis=-1)
    return possible, ranges


def widened(ranges: Ranges, reached: Ranges) -> Ranges:
    """The ranges, widened to those that were reached."""
    wider = dict(ranges)
    for name, (low, high) in reached.items():
        before = ranges.get(name, (low, high))
        wider[name] = min(low, before[0]), max(high, before[1])
    return wider
