"""Unconstrained coordinates: a program as a density over one vector of its parameters.

The joint density falls in two: the prior (with whatever else the program says about the parameters alone), and the one-step terms
log p(y_t | y_1:t-1, parameters) of the states integrated out. Evidence, leave-future-out scores and Fisher information are all
about these two.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from numpyro.distributions import Distribution, ImproperUniform, biject_to
from numpyro.infer.util import constrain_fn, log_density, unconstrain_fn

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.program.marginalize import FACTOR, marginal
from ppl_worldmodel.program.parameters import Collect
from ppl_worldmodel.program.reading import Reading, once
from ppl_worldmodel.program.sites import Sample, bare, random_value

Parameters = dict[str, Array]


class Density(NamedTuple):
    """prior  log p(z), with the Jacobian of z; terms  log p(y_t | y_1:t-1, z), of all series together."""

    prior: Float[Array, ""]
    terms: Float[Array, " time"]


class Coordinates(NamedTuple):
    """The parameters of a program and its data as a vector z of `size` real numbers. All functions can be traced by JAX.

    names        the parameter sites, in the program's order
    constrain    z -> the values of the sites; unconstrain: the way back
    density      z -> Density
    log_slope    z -> log |d sites / d z|, the sites' free entries counted (a simplex of K has K - 1)
    draw         random key -> z of a draw from the prior
    improper     sites whose prior has no finite integral: with one of them there is no evidence, and `draw` gives any value
    """

    size: int
    names: tuple[str, ...]
    constrain: Callable[[Array], Parameters]
    unconstrain: Callable[[Mapping[str, Array]], Array]
    density: Callable[[Array], Density]
    log_slope: Callable[[Array], Array]
    draw: Callable[[Array], Array]
    improper: tuple[str, ...]


@once
def coordinates(reading: Reading) -> Coordinates:
    """The coordinates of a program on its data.

    Raises NotExactlySolvable, naming the site, where a parameter is discrete.
    """
    program = marginal(reading)
    sites: dict[str, Sample] = {}

    def outline(key: Array) -> Parameters:
        # Constraining may depend on other parameters, so that NumPyro does it, along a run of the program.
        sites.update(random_parameters(reading, key))
        return unconstrain_fn(program, (), {}, {name: site.value for name, site in sites.items()})

    # Only shapes are looked at; nothing is computed.
    start = jax.eval_shape(outline, jax.random.key(0))
    for name, site in sites.items():
        if site.fn.support.is_discrete:
            raise NotExactlySolvable(f"the parameter '{name}' is discrete: it has no density over real numbers")
    flat, unravel = ravel_pytree({name: jnp.zeros(start[name].shape, start[name].dtype) for name in sites})

    def constrain(z: Array) -> Parameters:
        values = constrain_fn(program, (), {}, unravel(z))
        return {name: values[name] for name in sites}

    def unconstrain(values: Mapping[str, Array]) -> Array:
        free = unconstrain_fn(program, (), {}, {name: jnp.asarray(values[name]) for name in sites})
        return ravel_pytree({name: free[name] for name in sites})[0]

    def run(z: Array) -> tuple[Array, dict[str, Any]]:
        return log_density(program, (), {}, constrain(z))

    def slope(z: Array, trace: Mapping[str, Any]) -> Array:
        free, total = unravel(z), jnp.zeros(())
        for name in sites:
            transform = biject_to(trace[name]["fn"].support)
            total = total + jnp.sum(transform.log_abs_det_jacobian(free[name], trace[name]["value"]))
        return total

    def density(z: Array) -> Density:
        total, trace = run(z)
        terms = trace[FACTOR]["fn"].log_factor
        by_time = terms.reshape(-1, terms.shape[-1]).sum(axis=0)
        return Density(total - terms.sum() + slope(z, trace), by_time)

    return Coordinates(
        size=flat.size,
        names=tuple(sites),
        constrain=constrain,
        unconstrain=unconstrain,
        density=density,
        log_slope=lambda z: slope(z, run(z)[1]),
        draw=lambda key: unconstrain({name: site.value for name, site in random_parameters(reading, key).items()}),
        improper=tuple(name for name, site in sites.items() if isinstance(bare(site.fn), ImproperUniform)),
    )


def random_parameters(reading: Reading, key: Array) -> dict[str, Sample]:
    """A draw of every parameter from its prior (any value of its support where that is flat), in the order of sampling."""
    collect = Collect(None, None, set(reading.plan.start.sites), key, draw=_prior_draw)
    reading.visit(lambda scan, beginning: None, None, collect)
    return collect.found


def _prior_draw(fn: Distribution, key: Array) -> Array:
    return random_value(fn, key) if isinstance(bare(fn), ImproperUniform) else fn.sample(key)


def computed_sites(reading: Reading, parameters: Mapping[str, Any]) -> dict[str, Array]:
    """What the program computes from its parameters alone (`numpyro.deterministic`), at given values of all of them."""
    collect = Collect(None, parameters, set(reading.plan.start.sites), jax.random.key(0))
    reading.visit(lambda scan, beginning: None, None, collect)
    return {name: jnp.asarray(value) for name, value in collect.computed.items()}


def entry_names(parameters: Mapping[str, Any]) -> list[str]:
    """A name for each entry of the parameters, `T[0, 1]`, in their order."""
    return [
        f"{name}{list(index) if index else ''}"
        for name, value in parameters.items()
        for index in np.ndindex(*np.shape(value))
    ]
