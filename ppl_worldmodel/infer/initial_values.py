"""Starts of Markov chains: for each chain the densest of many draws from the prior.

One draw from the prior may lie where the likelihood cannot be followed (an unstable filter has log densities of -1e190, whose
gradients overflow), and a chain that starts there never moves. Each chain has draws of its own, so that chains still start apart.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array
from numpyro import handlers
from numpyro.infer import init_to_sample
from numpyro.infer.util import potential_energy, unconstrain_fn

from ppl_worldmodel.errors import DataError

TRIED = 100  # draws for each chain


def densest_of_prior(
    program: Callable, key: Array, *, num_chains: int, tried: int = TRIED, batch_size: int = 16
) -> dict[str, Array]:
    """Unconstrained values of every latent site of a program without arguments, (chain, ...); one chain has no such axis.

    Sites with a flat density start within two units of zero, as NumPyro has it. Raises DataError where the density of the
    program is zero or not finite at all of the draws.
    """

    def draw(key: Array) -> dict[str, Array]:
        seeded = handlers.substitute(handlers.seed(program, key), substitute_fn=init_to_sample())
        sites = handlers.trace(seeded).get_trace()
        values = {
            name: site["value"] for name, site in sites.items() if site["type"] == "sample" and not site["is_observed"]
        }
        return unconstrain_fn(program, (), {}, values)

    def scored(key: Array) -> tuple[dict[str, Array], Array]:
        at = draw(key)
        return at, -potential_energy(program, (), {}, at)

    def of_chain(key: Array) -> tuple[dict[str, Array], Array]:
        each, density = lax.map(scored, jax.random.split(key, tried), batch_size=batch_size)
        density = jnp.where(jnp.isfinite(density), density, -jnp.inf)
        best = jnp.argmax(density)
        return {name: values[best] for name, values in each.items()}, density[best]

    keys = jax.random.split(key, num_chains)
    # Compiled to be run once: optimising it would take longer than it saves.
    once = jax.jit(lambda keys: lax.map(of_chain, keys)).lower(keys)
    found, density = once.compile({"xla_backend_optimization_level": 0})(keys)
    if np.isneginf(np.asarray(density)).any():
        raise DataError(
            f"the log density of the program is not finite at any of {tried} draws from its prior, so that a chain has no place to "
            "start from: look for observations that the program holds impossible, or narrow the prior"
        )
    return found if num_chains > 1 else {name: values[0] for name, values in found.items()}
