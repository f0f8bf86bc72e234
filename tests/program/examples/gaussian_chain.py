"""A Gaussian random walk seen through noise, and its start: the program in the documentation of NumPyro's scan."""

from typing import Any

import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.contrib.control_flow import scan

SOURCE = "NumPyro's documentation of numpyro.contrib.control_flow.scan, gaussian_hmm"
STATUS = "read: linear-Gaussian"


def model(y: Any = None, num_steps: int = 5) -> Array:
    def step(x: Any, y: Any) -> Any:
        x = numpyro.sample("x", dist.Normal(x, 1))
        numpyro.sample("y", dist.Normal(x, 1), obs=y)
        return x, x

    return scan(step, numpyro.sample("x_0", dist.Normal(0, 1)), y, length=num_steps)[1]


def data() -> dict[str, Any]:
    """Five steps of the program."""
    rng = np.random.default_rng(7)
    return {"y": rng.normal() + rng.normal(size=5).cumsum() + rng.normal(size=5)}
