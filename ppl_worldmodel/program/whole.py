"""Whole numbers where a discrete distribution is observed: a category of 1.7 is a fault in the data, never a category of 1."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers

from ppl_worldmodel.program.intercept import Beginning, Intercept, starting_sites
from ppl_worldmodel.program.sites import Scan, run_step


class Fraction(NamedTuple):
    """An observed value that is no whole number, at a site whose support is discrete; `entry` within the step."""

    site: str
    step: int
    entry: tuple[int, ...]
    value: float


def first_fraction(model: Callable, data: Mapping[str, Any]) -> Fraction | None:
    """The first value that is no whole number where a discrete site of the step is observed; None where there is none.

    Data that JAX is tracing are not looked at.
    """
    leaves = jax.tree.leaves(dict(data))
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves) or not any(map(_has_fractions, leaves)):
        return None
    found: dict[str, np.ndarray] = {}

    def on_scan(scan: Scan, _: Beginning) -> None:
        def observed(inputs: Any) -> dict[str, jax.Array]:
            sites = run_step(scan.step, scan.init, inputs, {})[2]
            return {site.name: jnp.asarray(site.value) for site in sites if site.observed and _is_discrete(site.fn)}

        if jax.tree.leaves(scan.inputs):
            found.update({name: np.asarray(value) for name, value in jax.vmap(observed)(scan.inputs).items()})

    with handlers.block(), handlers.seed(rng_seed=0):
        Intercept(model, starting_sites(model, data), on_scan)(**data)
    places = [(int(where[0]), name, tuple(map(int, where[1:]))) for name, v in found.items() for where in _fractions(v)]
    if not places:
        return None
    step, name, entry = min(places)
    return Fraction(name, step, entry, float(found[name][(step, *entry)]))


def _is_discrete(fn: Any) -> bool:
    return bool(fn.support.is_discrete)


def _has_fractions(leaf: Any) -> bool:
    return isinstance(leaf, (np.ndarray, jax.Array, float)) and bool(len(_fractions(np.asarray(leaf))))


def _fractions(values: np.ndarray) -> np.ndarray:
    """Where an array has a finite entry that is no whole number."""
    if values.dtype.kind != "f":
        return np.empty((0, values.ndim), int)
    return np.argwhere(np.isfinite(values) & (values != np.round(values)))
