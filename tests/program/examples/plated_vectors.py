"""Vectors in a plate, under a mask that a running time decides; the state forgets where it came from."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro import handlers
from numpyro.contrib.control_flow import scan

SOURCE = "NumPyro's test suite (test/contrib/test_control_flow.py), test_scan_plate_mask"
STATUS = "read: linear-Gaussian"
STEPS, SIZE, DIM = 4, 3, 2


def model(y: Any = None) -> Array:
    zeros, ones = jnp.zeros((SIZE, DIM)), jnp.ones((SIZE, DIM))

    def step(carry: Any, y: Any) -> Any:
        _, t = carry
        with numpyro.plate("N", SIZE, dim=-1), handlers.mask(mask=(t < STEPS)):
            x = numpyro.sample("x", dist.Normal(zeros, ones).to_event(1))
            numpyro.sample("y", dist.Normal(x, ones).to_event(1), obs=y)
        return (x, t + 1), x

    x_0 = numpyro.sample("x_0", dist.Normal(zeros, ones).to_event(1))
    return scan(step, (x_0, 0), y, length=STEPS)[1]


def data() -> dict[str, Any]:
    """Four steps of three vectors of two components."""
    return {"y": np.random.default_rng(9).normal(size=(STEPS, SIZE, DIM))}
