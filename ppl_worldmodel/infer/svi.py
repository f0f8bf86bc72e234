"""SVI: a Gaussian approximation of the posterior, mean-field or full-rank, and how far it is from the truth.

Two numbers say how good it is: the ELBO (its gap to the exact log evidence is the Kullback-Leibler divergence from the guide to
the posterior) and Pareto k-hat of the importance ratios (Yao et al. 2018): above 0.7 the draws cannot even be reweighted.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import arviz_stats  # noqa: F401  (registers the accessor `.azstats`)
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpyro import handlers, optim
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoMultivariateNormal, AutoNormal
from numpyro.infer.util import log_density

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.exact import FiniteState
from ppl_worldmodel.infer import beliefs as belief
from ppl_worldmodel.infer import tree
from ppl_worldmodel.program.marginalize import marginalize
from ppl_worldmodel.program.missing import observe
from ppl_worldmodel.program.parameters import given
from ppl_worldmodel.program.read import read

_GUIDES = {"mean_field": AutoNormal, "full_rank": AutoMultivariateNormal}


def svi(
    *,
    guide: Literal["mean_field", "full_rank"] = "mean_field",
    num_steps: int = 5000,
    learning_rate: float = 0.02,
    num_samples: int = 2000,
    num_particles: int = 8,
    parameters: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> Callable[..., xr.DataTree]:
    """An engine that fits a Gaussian guide by stochastic variational inference (Adam, step size falling to a hundredth).

    parameters  None: fit the parameters of `marginalize(model)`; beliefs are exact ones averaged over the guide's draws.
                Given: fit the states of the program as written (they must be continuous).
    """

    def engine(model: Callable, data: Mapping[str, Any], key: jax.Array) -> xr.DataTree:
        started = time.perf_counter()
        system = read(model, data, parameters)
        if parameters is None:
            program = marginalize(model)
        elif isinstance(system, FiniteState):
            raise NotExactlySolvable(f"svi cannot fit the discrete state '{system.structure.states[0]}'", "gibbs")
        else:
            program = given(observe(model), parameters)
        key_fit, key_draws = jax.random.split(key)
        approximation = _GUIDES[guide](program)
        optimiser = optim.ClippedAdam(_falling(learning_rate, num_steps), clip_norm=10.0)
        fitted = SVI(program, approximation, optimiser, Trace_ELBO(num_particles=num_particles)).run(
            key_fit, num_steps, progress_bar=progress, stable_update=True, **data
        )
        draws, log_ratio = _draw(program, approximation, fitted.params, data, jax.random.split(key_draws, num_samples))
        posterior = {name: np.asarray(value)[None] for name, value in draws.items()}
        sampled = time.perf_counter() - started
        log_ratio = np.asarray(log_ratio)
        if parameters is None:
            beliefs, log_predictive = belief.of_parameter_draws(model, data, posterior)
            told: Any = {"question": tree.PARAMETERS, "beliefs_from": belief.FROM_PARAMETERS, "log_predictive": log_predictive}
        else:
            aligned = belief.aligned_states(posterior, system)
            beliefs = belief.of_state_draws("smoothed", aligned, None)
            told = {"question": tree.STATES, "beliefs_from": belief.FROM_STATES}
        return tree.build(
            model=model, data=data, key=key, started=started,
            engine="svi" if guide == "mean_field" else "svi_full_rank",
            algorithm=f"{guide.replace('_', '-')} Gaussian SVI ({_GUIDES[guide].__name__})",
            family=type(system).__name__, beliefs=beliefs, posterior=posterior,
            sample_stats={"log_ratio": log_ratio[None]}, seconds_sampling=sampled,
            elbo=float(log_ratio.mean()), elbo_mcse=float(log_ratio.std(ddof=1) / np.sqrt(num_samples)),
            pareto_k=_pareto_k(log_ratio), loss_change=_still_falling(np.asarray(fitted.losses)), num_steps=num_steps, **told,
        )  # fmt: skip

    return engine


def _falling(start: float, num_steps: int) -> Callable:
    """The step size: as given for the first half, then falling geometrically to a hundredth."""

    def schedule(step):
        return start * 0.01 ** jnp.clip(2.0 * step / num_steps - 1.0, 0.0, 1.0)

    return schedule


def _draw(program: Callable, guide: Callable, params: Any, data: Mapping[str, Any], keys: jax.Array) -> tuple[dict, jax.Array]:
    """Draws of the guide, and log p(draw, data) - log q(draw) of each: its mean is the ELBO."""

    def one(key):
        log_q, at = log_density(handlers.seed(guide, key), (), dict(data), params)
        log_p, _ = log_density(handlers.replay(handlers.seed(program, key), at), (), dict(data), {})
        latent = {name: site["value"] for name, site in at.items() if site["type"] == "sample" and not name.startswith("_auto")}
        return latent, log_p - log_q

    return jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=200))(keys)


def _pareto_k(log_ratio: np.ndarray) -> float:
    return float(xr.DataArray(log_ratio, dims="sample").azstats.psislw(dim="sample")[1])


def _still_falling(losses: np.ndarray) -> float:
    """How much the mean loss of the last tenth is below that of the tenth before, in its standard errors."""
    size = max(len(losses) // 10, 2)
    last, before = losses[-size:], losses[-2 * size : -size]
    return float((before.mean() - last.mean()) / np.sqrt((last.var() + before.var()) / size + 1e-300))
