"""Engines as plain functions of data and key, for `jax.vmap` over hundreds of data sets.

Each entry of SAMPLERS makes (data, key) -> draws of the parameters and of the states, with a first axis `draw`, from one chain.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from jaxtyping import Array
from numpyro.infer import MCMC, NUTS, init_to_sample

from ppl_worldmodel.exact.complete_data import sample_path
from ppl_worldmodel.infer.blocked_gibbs import chain, conjugate_families
from ppl_worldmodel.program.marginalize import marginal
from ppl_worldmodel.program.reading import Reading

SWEEPS = 20  # of the Gibbs sampler for each draw: a sweep costs little, and may move little

Draws = tuple[dict[str, Array], Array]


class Lengths(NamedTuple):
    """Of a chain."""

    num_warmup: int
    num_samples: int


def gibbs_chain(reading: Reading, lengths: Lengths) -> Callable[[Mapping[str, Any], Array], Draws]:
    """The blocked Gibbs sampler; the families of the parameters are measured at the data of the reading."""
    chosen = conjugate_families(reading)
    run = chain(reading, chosen, num_warmup=SWEEPS * lengths.num_warmup, num_samples=lengths.num_samples, thin=SWEEPS)

    def sample(data: Mapping[str, Any], key: Array) -> Draws:
        parameters, path = run(data, key)
        return parameters, path.states

    return sample


def nuts_chain(reading: Reading, lengths: Lengths) -> Callable[[Mapping[str, Any], Array], Draws]:
    """NUTS on the program with the states integrated out, and the states drawn given each draw of the parameters."""

    def sample(data: Mapping[str, Any], key: Array) -> Draws:
        here, (key_chain, key_paths) = reading.on(data), jax.random.split(key)
        mcmc = MCMC(
            NUTS(marginal(here), init_strategy=init_to_sample),
            num_warmup=lengths.num_warmup,
            num_samples=lengths.num_samples,
            progress_bar=False,
        )
        mcmc.run(key_chain)
        draws = mcmc.get_samples()

        def states(parameters: dict[str, Array], key: Array) -> Array:
            return sample_path(here.at(parameters), key).states

        return draws, jax.vmap(states)(draws, jax.random.split(key_paths, lengths.num_samples))

    return sample


SAMPLERS = {"gibbs": gibbs_chain, "nuts": nuts_chain}
