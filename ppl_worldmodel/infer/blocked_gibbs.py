"""Blocked Gibbs sampler of states and parameters: all states at once given the parameters, each parameter given all else.

The states: forward filtering and backward sampling, or the simulation smoother (`exact.complete`). A parameter: from its full
conditional, whose family is read off the program (`conjugate`).

Source: Scott (2002), J. Amer. Statist. Assoc. 97; Carter & Kohn (1994), Biometrika 81; Fruhwirth-Schnatter (1994), J. Time
Series Analysis 15.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array
from numpyro.infer.util import log_density

from ppl_worldmodel.compiled import run_once
from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.exact.complete_data import Path, log_joint, no_density, sample_path
from ppl_worldmodel.infer.conjugate import Family, families, misfit
from ppl_worldmodel.program.coordinates import random_parameters
from ppl_worldmodel.program.marginalize import with_factor
from ppl_worldmodel.program.reading import Reading, once
from ppl_worldmodel.program.sites import Sample, kind, random_value

ROUNDING = 1e-6
Parameters = dict[str, Array]


def chain(
    reading: Reading, chosen: Mapping[str, Family], *, num_warmup: int, num_samples: int, thin: int = 1
) -> Callable[[Mapping[str, Any], Array], tuple[Parameters, Path]]:
    """One chain: (data, key) -> draws of the parameters and of the paths, with a first axis `draw`; for use inside jit and vmap.

    chosen  the family of each parameter, from `conjugate_families`
    thin    sweeps for each draw that is kept
    """

    def sweep(here: Reading, parameters: Parameters, key: Array) -> tuple[Parameters, Path]:
        key_path, *keys = jax.random.split(key, 1 + len(chosen))
        path = sample_path(here.at(parameters), key_path)
        for (name, family), key in zip(chosen.items(), keys, strict=True):
            numbers = family.read(_slope(here, parameters, path, name), parameters[name])
            # XLA's CPU compiler (jaxlib 0.12) fuses these numbers into the rejection sampler of several chains side by side, and
            # the draws come out wrong from three states on; apart, both are right (test_blocked_chains says so).
            numbers = lax.optimization_barrier(numbers)
            parameters = parameters | {name: family.drawn_from(numbers).sample(key)}
        return parameters, path

    def run(data: Mapping[str, Any], key: Array) -> tuple[Parameters, Path]:
        key_start, key_draws = jax.random.split(key)
        here = reading.on(data)
        start = {name: site.value for name, site in random_parameters(here, key_start).items()}

        def step(at: tuple[Parameters, Path], given: tuple[Array, Array]) -> tuple[Any, Any]:
            sweeps, key = given
            at = lax.fori_loop(0, sweeps, lambda i, at: sweep(here, at[0], jax.random.fold_in(key, i)), at)
            return at, at

        # One loop for the warm-up and the draws: a sweep takes seconds to compile.
        sweeps = jnp.full(num_samples, thin).at[0].add(num_warmup)
        like = jax.eval_shape(lambda: sample_path(here.at(start), key_draws))
        first = start, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)
        return lax.scan(step, first, (sweeps, jax.random.split(key_draws, num_samples)))[1]

    return run


def _slope(reading: Reading, parameters: Parameters, path: Path, name: str) -> Callable[[Array], Array]:
    """The slope of the log density of everything in one parameter."""

    def density(value: Array) -> Array:
        program = with_factor(reading, "log_joint", lambda system: log_joint(system, path))
        return log_density(program, (), {}, {**parameters, name: value})[0]

    return jax.grad(density)


@once
def conjugate_families(reading: Reading) -> dict[str, Family]:
    """The family of each parameter's full conditional, measured at random parameters and paths.

    Raises NotExactlySolvable, naming the parameter, where there is none, and where the states cannot be drawn with their density.
    """
    without = no_density(reading.exact)
    if without:
        raise NotExactlySolvable(f"gibbs cannot draw the parameters of this program: {without}", "nuts")
    sites: dict[str, Sample] = {}

    def measure(key: Array) -> dict[str, list[Array]]:
        key_parameters, key_path, *keys = jax.random.split(key, 6)
        sites.update(random_parameters(reading, key_parameters))
        parameters = {name: site.value for name, site in sites.items()}
        path = sample_path(reading.at(parameters), key_path)
        off: dict[str, list[Array]] = {}
        for name, site in sites.items():
            values = jnp.stack([random_value(site.fn, key) for key in keys])
            slope = _slope(reading, parameters, path, name)
            off[name] = [misfit(family, slope, values) for family in families(site.fn.support)]
        return off

    keys = jax.random.split(jax.random.key(3), 3)
    far = run_once(jax.vmap(measure), keys)
    chosen: dict[str, Family] = {}
    for name in sites:
        tried = families(sites[name].fn.support)
        off = [float(np.max(values)) for values in far[name]]
        fits = [family for family, gap in zip(tried, off, strict=True) if gap <= ROUNDING]
        if not fits:
            told = " nor ".join(f"{family.name} (off by {gap:.2g})" for family, gap in zip(tried, off, strict=True))
            raise NotExactlySolvable(
                f"gibbs cannot draw the parameter '{name}' ({kind(sites[name].fn)}): given the states and the data, its density is "
                f"{f'not {told}' if told else 'of no family with draws of its own'}",
                "nuts",
            )
        chosen[name] = fits[0]
    return chosen
