"""The values that a program observes, before its scan and at every step, and which of them are missing."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array
from numpyro.distributions import Unit

from ppl_worldmodel.compiled import run_once
from ppl_worldmodel.program.likelihood import unmasked
from ppl_worldmodel.program.missing.masking import UNOBSERVED, as_before
from ppl_worldmodel.program.numpyro_internals import Messenger
from ppl_worldmodel.program.sites import Sample, Scan, run_step, scan_of
from ppl_worldmodel.program.start import up_to_scan


class Seen(NamedTuple):
    """The value of an observed site as given, (time, ...) or (...) before the scan; which entries are missing, and on which there
    is no mask.
    """

    value: np.ndarray
    missing: np.ndarray
    counted: np.ndarray
    discrete: bool
    inside: bool


class Look(NamedTuple):
    """The observed sites before the scan and in its step; where the leaves of its first carry, (...), and of its inputs are NaN.

    The inputs have a leading axis time. The first carry is that of a program whose observations before the scan are complete.
    """

    before: dict[str, Seen]
    inside: dict[str, Seen]
    init: list[np.ndarray]
    inputs: list[np.ndarray]


class Hand(Messenger):
    """Hand other values to the program than its observed sites have."""

    def __init__(self, fn: Callable | None, values: Mapping[str, Any]):
        super().__init__(fn)
        self.values = values

    def postprocess_message(self, msg):
        if msg["type"] == "sample" and msg["is_observed"] and msg["name"] in self.values:
            msg["value"] = self.values[msg["name"]]


def scanned(model: Callable, data: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[dict[str, Sample], Scan]:
    """The sites before the scan, and the scan, where observed sites before it hand these values to the program."""
    run = up_to_scan(Hand(model, values), (), data, {})
    return run.sites, scan_of(run.message)


def is_observed(site: Sample) -> bool:
    return site.observed and not isinstance(site.fn, Unit)


def _filled(value: Any) -> Array:
    value = jnp.asarray(value)
    return jnp.nan_to_num(value) if jnp.issubdtype(value.dtype, jnp.inexact) else value


def _nan(value: Any) -> Array:
    value = jnp.asarray(value)
    return jnp.isnan(value) if jnp.issubdtype(value.dtype, jnp.inexact) else jnp.zeros(value.shape, bool)


def at_every_step(scan: Scan, look: Callable[[list[Sample]], Any]) -> Any:
    """What `look` finds in the statements of each step, with a leading axis time, as the scan runs along.

    Latent sites have placeholders, so that only what depends on none of them is as the program has it: the inputs, and what runs
    along in the carry (a time that indexes a whole series).
    """

    def step(carry: Any, inputs: Any) -> tuple[Any, Any]:
        after, _, sites = run_step(scan.step, carry, inputs, {})
        return jax.tree.map(as_before, after, carry), look(sites)

    return lax.scan(step, scan.init, scan.inputs, scan.length)[1]


def look_at(model: Callable, data: Mapping[str, Any]) -> Look:
    """Run the program up to its scan, and the values of the step's observed sites at every time."""
    discrete: dict[str, bool] = {}

    def seen(sites: dict[str, Sample]) -> dict[str, tuple[Array, ...]]:
        found = {name: site for name, site in sites.items() if is_observed(site)}
        discrete.update({name: bool(site.fn.support.is_discrete) for name, site in found.items()})
        # Of a site with obs_mask only what it says to be seen is used.
        whole = {name: name.removesuffix("_observed") + UNOBSERVED not in sites for name in found}
        told: dict[str, tuple[Array, ...]] = {}
        for name, site in found.items():
            counted = jnp.broadcast_to(unmasked(site.fn, jnp.shape(site.value)), jnp.shape(site.value))
            told[name] = jnp.asarray(site.value), _nan(site.value) & (whole[name] | counted), counted
        return told

    def run() -> tuple[Any, ...]:
        sites, _ = scanned(model, data, {})
        given = {name: _filled(site.value) for name, site in sites.items() if is_observed(site)}
        scan = scanned(model, data, given)[1]

        within = at_every_step(scan, lambda sites: seen({site.name: site for site in sites}))
        holes = [[_nan(leaf) for leaf in jax.tree.leaves(part)] for part in (scan.init, scan.inputs)]
        return seen(sites), within, *holes

    before, inside, init, inputs = jax.tree.map(np.asarray, run_once(run))

    def told(found: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]], here: bool) -> dict[str, Seen]:
        return {name: Seen(*arrays, discrete[name], here) for name, arrays in found.items()}

    return Look(told(before, False), told(inside, True), init, inputs)


def first(missing: np.ndarray) -> int:
    """The first time step at which something is missing."""
    return int(missing.reshape(len(missing), -1).any(axis=1).argmax())
