"""An autoregression of order two: the observations themselves are carried along, and nothing is hidden."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro import handlers
from numpyro.contrib.control_flow import scan

SOURCE = "NumPyro's gallery, 'AR2 process' (examples/ar2.py)"
STATUS = "refused: nothing is hidden, the density of the program is the evidence as it stands"
REFUSAL = "samples no latent state"


def model(y: Any) -> Array:
    alpha_1 = numpyro.sample("alpha_1", dist.Normal(0, 1))
    alpha_2 = numpyro.sample("alpha_2", dist.Normal(0, 1))
    constant = numpyro.sample("const", dist.Normal(0, 1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1))

    def step(carry: Any, _: Any) -> Any:
        last, last_but_one = carry
        new = numpyro.sample("y", dist.Normal(constant + alpha_1 * last + alpha_2 * last_but_one, sigma))
        return (new, last), new

    with handlers.condition(data={"y": y[2:]}):
        return scan(step, (y[1], y[0]), jnp.arange(len(y) - 2))[1]


def data() -> dict[str, Any]:
    """A wave with a little noise."""
    return {"y": jnp.sin(jnp.arange(6.0)) + 0.1 * np.random.default_rng(10).normal(size=6)}
