"""Whole numbers where a discrete distribution is observed: a category of 1.7 is a fault in the data, never a category of 1."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ppl_worldmodel.compiled import quickly
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.program.likelihood import unmasked
from ppl_worldmodel.program.missing.observations import at_every_step
from ppl_worldmodel.program.start import starting_sites
from ppl_worldmodel.program.statements import statements


class Fraction(NamedTuple):
    """An observed value that is no whole number, at a site whose support is discrete.

    step   None for a site that is not of the step, and whose entries are not those of the steps
    entry  within the step, or of the whole site where there is none
    """

    site: str
    step: int | None
    entry: tuple[int, ...]
    value: float

    def said(self) -> str:
        """What was observed where, for people."""
        entry = f", entry {list(self.entry)}" if self.entry else ""
        at = "" if self.step is None else f" at time step {self.step} (from 0)"
        return f"the observation of site '{self.site}'{at}{entry} is {self.value:.10g}"


def check_whole(model: Callable, data: Mapping[str, Any]) -> None:
    """Raise DataError for a count or a category that is no whole number."""
    found = first_fraction(model, data)
    if found is not None:
        raise DataError(
            f"{found.said()}: expected a whole number (or NaN, missing), since the site has a discrete distribution "
            "(categories count from 0)"
        )


def first_fraction(model: Callable, data: Mapping[str, Any]) -> Fraction | None:
    """The first value that is no whole number where a discrete site is observed, of the step, before or after it; or None.

    Masked values are not looked at, and neither are data that JAX is tracing. Nothing is computed where no discrete site of the
    program is observed through floats.
    """
    leaves = jax.tree.leaves(dict(data))
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves) or not any(map(_has_fractions, leaves)):
        return None
    shapes = jax.eval_shape(lambda: _observed(model, data, each_step=False))
    if not any(shapes):
        return None
    compiled = quickly(lambda: _observed(model, data))
    before, inside, after = jax.tree.map(np.asarray, compiled())
    emitted = starting_sites(model, data).after.emitted if any(map(_any_fraction, after.values())) else {}
    by_step = inside | {
        name: np.moveaxis(after[name], where.axis, 0)
        for name, where in emitted.items()
        if name in after and where.axis is not None
    }
    for name, value in (before | after).items():
        if name not in by_step and _any_fraction(value):
            entry = tuple(map(int, _fractions(value)[0]))
            return Fraction(name, None, entry, float(value[entry]))
    places = [(int(w[0]), name, tuple(map(int, w[1:]))) for name, value in by_step.items() for w in _fractions(value)]
    if not places:
        return None
    step, name, entry = min(places)
    return Fraction(name, step, entry, float(by_step[name][(step, *entry)]))


def _observed(
    model: Callable, data: Mapping[str, Any], *, each_step: bool = True
) -> tuple[dict[str, jax.Array], dict[str, jax.Array], dict[str, jax.Array]]:
    """Values of the discrete sites that are observed through floats, NaN where masked: before the scan, in its step, after it.

    each_step  those of the step at every time, with it as the leading axis; else at the first time
    """
    before, within, after, scan = statements(model, data)
    inside = at_every_step(scan, _through_floats) if each_step else _through_floats(within)
    return _through_floats(before), inside, _through_floats(after)


def _through_floats(sites: Any) -> dict[str, jax.Array]:
    found = {}
    for site in sites:
        value = jnp.asarray(site.value) if site.observed else jnp.zeros((), int)
        if jnp.issubdtype(value.dtype, jnp.floating) and site.fn.support.is_discrete:
            counted = jnp.broadcast_to(unmasked(site.fn, value.shape), value.shape)
            found[site.name] = jnp.where(counted, value, jnp.nan)
    return found


def _has_fractions(leaf: Any) -> bool:
    return isinstance(leaf, (np.ndarray, jax.Array, float)) and _any_fraction(np.asarray(leaf))


def _any_fraction(values: np.ndarray) -> bool:
    return bool(len(_fractions(values)))


def _fractions(values: np.ndarray) -> np.ndarray:
    """Where an array has a finite entry that is no whole number."""
    if values.dtype.kind != "f":
        return np.empty((0, values.ndim), int)
    return np.argwhere(np.isfinite(values) & (values != np.round(values)))
