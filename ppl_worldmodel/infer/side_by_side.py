"""How does an engine answer about hundreds of data sets at once?  As a plain function of data and key, for `jax.vmap`.

Each entry of SAMPLERS makes (data, key) -> draws of the parameters and of the states, with a first axis `draw`, from one chain.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from jaxtyping import Array
from numpyro.infer import MCMC, NUTS, init_to_sample

from ppl_worldmodel.exact.complete_data import sample_path
from ppl_worldmodel.infer.blocked_gibbs import chain, conjugate_families
from ppl_worldmodel.program.marginalize import with_factor
from ppl_worldmodel.program.read import Plan, System, log_predictive, system_at

SWEEPS = 20  # of the Gibbs sampler for each draw: a sweep costs little, and may move little

Draws = tuple[dict[str, Array], Array]


class Fitted(NamedTuple):
    """What is fitted: the program, what `examine` found about it, and the lengths of the chain."""

    model: Callable
    system: System
    plan: Plan
    num_warmup: int
    num_samples: int


def gibbs_chain(fitted: Fitted, data: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Array], Draws]:
    """The blocked Gibbs sampler; `data`: of one replication, at which the families of the parameters are measured."""
    chosen = conjugate_families(fitted.model, data, fitted.system, fitted.plan)
    lengths = {"num_warmup": SWEEPS * fitted.num_warmup, "num_samples": fitted.num_samples, "thin": SWEEPS}
    run = chain(fitted.model, fitted.plan, chosen, **lengths)

    def sample(data: Mapping[str, Any], key: Array) -> Draws:
        parameters, path = run(data, key)
        return parameters, path.states

    return sample


def nuts_chain(fitted: Fitted, data: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Array], Draws]:
    """NUTS on the program with the states integrated out, and the states drawn given each draw of the parameters."""
    marginal = with_factor(fitted.model, fitted.plan, "log_predictive", log_predictive)

    def sample(data: Mapping[str, Any], key: Array) -> Draws:
        key_chain, key_paths = jax.random.split(key)
        mcmc = MCMC(
            NUTS(marginal, init_strategy=init_to_sample),
            num_warmup=fitted.num_warmup,
            num_samples=fitted.num_samples,
            progress_bar=False,
        )
        mcmc.run(key_chain, **data)
        draws = mcmc.get_samples()

        def states(parameters: dict[str, Array], key: Array) -> Array:
            return sample_path(system_at(fitted.model, data, parameters, fitted.plan), key).states

        return draws, jax.vmap(states)(draws, jax.random.split(key_paths, fitted.num_samples))

    return sample


SAMPLERS = {"gibbs": gibbs_chain, "nuts": nuts_chain}
