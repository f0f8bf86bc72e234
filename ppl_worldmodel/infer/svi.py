"""SVI: a Gaussian approximation of the posterior, mean-field or full-rank, and how far it is from the truth.

Two numbers say how good it is: the ELBO (its gap to the exact log evidence is the Kullback-Leibler divergence from the guide to
the posterior) and Pareto k-hat of the importance ratios (Yao et al. 2018): above 0.7 the draws cannot even be reweighted.
"""

import time
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import xarray as xr
from jax.flatten_util import ravel_pytree
from numpyro import handlers, optim
from numpyro.infer import SVI, Predictive, Trace_ELBO, init_to_value
from numpyro.infer.autoguide import AutoMultivariateNormal, AutoNormal
from numpyro.infer.util import initialize_model, log_density, unconstrain_fn

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.infer import beliefs as belief
from ppl_worldmodel.infer import result_tree
from ppl_worldmodel.infer.engine_spec import EngineSpec, without_draws
from ppl_worldmodel.infer.psis import psis
from ppl_worldmodel.infer.result_tree import Engine
from ppl_worldmodel.program.arguments import random_key
from ppl_worldmodel.program.marginalize import marginal_density
from ppl_worldmodel.program.reading import Reading
from ppl_worldmodel.program.replay import replay_draws
from ppl_worldmodel.program.sites import bare

_GUIDES = {"mean_field": AutoNormal, "full_rank": AutoMultivariateNormal}


def svi(
    *,
    guide: Literal["mean_field", "full_rank"] = "mean_field",
    num_steps: int = 5000,
    learning_rate: float = 0.02,
    num_samples: int = 4000,
    num_particles: int = 4,
    progress: bool = False,
) -> Engine:
    """An engine that fits a Gaussian guide by stochastic variational inference (Adam, step size falling in the second half).

    learning_rate  step size of Adam, in prior standard deviations of each unconstrained latent entry

    Of a reading without values it fits the parameters of `marginalize(model)`; beliefs are exact ones averaged over the guide's
    draws. At given values it fits the states of the program as written (they must be continuous).
    """

    def engine(reading: Reading, key: int | jax.Array) -> xr.DataTree:
        started = time.perf_counter()
        key = random_key(key)
        parameters = reading.values
        if parameters is None:
            program = marginal_density(reading)
        elif reading.exact.num_states is not None:
            raise NotExactlySolvable(f"svi cannot fit the discrete state '{reading.structure.states[0]}'", "gibbs")
        else:
            program = reading.program(parameters)
        key_fit, key_draws = jax.random.split(key)
        standard, constrain, start = _standardised(program, jax.random.key(0))
        approximation = _GUIDES[guide](standard, init_loc_fn=init_to_value(values={"u": start}))
        optimiser = optim.ClippedAdam(_falling(learning_rate, num_steps), clip_norm=10.0)
        fitted = SVI(standard, approximation, optimiser, Trace_ELBO(num_particles=num_particles)).run(
            key_fit, num_steps, progress_bar=progress, stable_update=True
        )
        points, ratios = _draw(standard, approximation, fitted.params, jax.random.split(key_draws, num_samples))
        draws = jax.jit(lambda points: jax.lax.map(constrain, points, batch_size=200))(points)
        posterior = {name: np.asarray(value)[None] for name, value in draws.items()}
        sampled = time.perf_counter() - started
        log_ratio = np.asarray(ratios)
        if parameters is None:
            beliefs, log_predictive = belief.of_parameter_draws(reading, posterior)
            told: Any = {
                "question": result_tree.PARAMETERS,
                "beliefs_from": belief.FROM_PARAMETERS,
                "log_predictive": log_predictive,
            }
        else:
            path = np.asarray(replay_draws(reading, parameters, posterior))
            beliefs = belief.of_state_draws("smoothed", path, None)
            told = {"question": result_tree.STATES, "beliefs_from": belief.FROM_STATES}
        return result_tree.build(
            reading=reading, key=key, started=started,
            engine="svi" if guide == "mean_field" else "svi_full_rank",
            algorithm=f"{guide.replace('_', '-')} Gaussian SVI ({_GUIDES[guide].__name__})",
            law="approximation", beliefs=beliefs, posterior=posterior,
            sample_stats={"log_ratio": log_ratio[None]}, seconds_sampling=sampled,
            elbo=float(log_ratio.mean()), elbo_mcse=float(log_ratio.std(ddof=1) / np.sqrt(num_samples)),
            pareto_k=psis(log_ratio)[1], loss_change=_still_falling(np.asarray(fitted.losses)), num_steps=num_steps,
            **told,
        )  # fmt: skip

    return engine


def _standardised(program: Callable[[], Any], key: jax.Array) -> tuple[Callable, Callable, jax.Array]:
    """The program over one vector u, in units of its prior standard deviations around its prior mean.

    Returns it with the map u -> latent sites and the start u = 0.

    An optimiser takes steps of one size; without this a level near 1000 and a scale near 1 would not both be found.
    """
    key_start, key_prior = jax.random.split(key)
    start = initialize_model(key_start, program, dynamic_args=False)
    flat, unravel = ravel_pytree(start.param_info.z)
    flat_sites = [
        name for name in start.param_info.z if isinstance(bare(start.model_trace[name]["fn"]), dist.ImproperUniform)
    ]
    if flat_sites:
        raise NotExactlySolvable(
            f"svi takes its units from draws of the prior, but the density of '{flat_sites[0]}' is flat: give it a proper prior",
            "nuts",
        )
    prior = Predictive(program, num_samples=500)(key_prior)
    latent = {name: prior[name] for name in start.param_info.z}
    unconstrained = jax.vmap(lambda values: ravel_pytree(unconstrain_fn(program, (), {}, values))[0])(latent)
    centre, spread = unconstrained.mean(axis=0), unconstrained.std(axis=0)

    def standard() -> None:
        u = numpyro.sample("u", dist.ImproperUniform(dist.constraints.real_vector, (), event_shape=flat.shape))
        with handlers.block():  # the program's own sites are not this program's
            log_joint = -start.potential_fn(unravel(centre + spread * u))
        numpyro.factor("log_joint", log_joint + jnp.log(spread).sum())

    def constrain(u: jax.Array) -> dict[str, jax.Array]:
        values = start.postprocess_fn(unravel(centre + spread * u))
        return {name: values[name] for name in latent}

    return standard, constrain, jnp.zeros_like(flat)


def _falling(start: float, num_steps: int) -> Callable:
    """The step size: as given for the first half, then falling geometrically to a thousandth."""

    def schedule(step):
        return start * 0.001 ** jnp.clip(2.0 * step / num_steps - 1.0, 0.0, 1.0)

    return schedule


def _draw(program: Callable, guide: Callable, params: Any, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Draws of the guide, and log p(draw, data) - log q(draw) of each: its mean is the ELBO."""

    def one(key):
        log_q, at = log_density(handlers.seed(guide, key), (), {}, params)
        log_p, _ = log_density(handlers.replay(handlers.seed(program, key), at), (), {}, {})
        return at["u"]["value"], log_p - log_q

    return jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=200))(keys)


def _still_falling(losses: np.ndarray) -> float:
    """How much the mean loss of the last tenth is below that of the tenth before, in its standard errors."""
    size = max(len(losses) // 10, 2)
    last, before = losses[-size:], losses[-2 * size : -size]
    return float((before.mean() - last.mean()) / np.sqrt((last.var() + before.var()) / size + 1e-300))


ENGINES = (
    EngineSpec(
        "svi", lambda budget: svi(num_steps=budget.size(5000), progress=budget.progress),
        learns=True, states=("continuous",), refuses=without_draws, order=40,
    ),
    EngineSpec(
        "svi_full_rank", lambda budget: svi(guide="full_rank", num_steps=budget.size(5000), progress=budget.progress),
        learns=True, states=("continuous",), refuses=without_draws, order=50,
    ),
)  # fmt: skip
