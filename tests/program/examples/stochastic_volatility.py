"""Returns whose scale wanders: log s is a Gaussian random walk, drawn in one piece, and the returns have heavy tails."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array

SOURCE = "NumPyro's gallery, 'Stochastic Volatility' (examples/stochastic_volatility.py)"
STATUS = "refused: no scan over time; a scan would be non-linear, its state is the log of a scale"
REFUSAL = "no scan over time"


def model(returns: Any) -> Array:
    pace = numpyro.sample("sigma", dist.Exponential(50.0))
    log_scale = numpyro.sample("s", dist.GaussianRandomWalk(scale=pace, num_steps=len(returns)))
    tails = numpyro.sample("nu", dist.Exponential(0.1))
    numpyro.sample("r", dist.StudentT(df=tails, loc=0.0, scale=jnp.exp(log_scale)), obs=returns)
    return log_scale


def data() -> dict[str, Any]:
    """Six returns."""
    return {"returns": 0.02 * np.random.default_rng(11).normal(size=6)}
