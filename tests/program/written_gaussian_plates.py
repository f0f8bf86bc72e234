"""Linear-Gaussian programs with a numpyro.plate in the step."""

from typing import Any

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.contrib.control_flow import scan

A = jnp.array([[1.0, 0.4], [-0.2, 0.9]])
S = jnp.array([[0.6, 0.2], [0.2, 0.5]])


def plate(y: Any) -> Any:
    """Two sequences in a plate inside the step, each with its own scale under a shared prior."""
    with numpyro.plate("series", 2):
        size = numpyro.sample("scale", dist.LogNormal(0.0, 0.5))
        start = numpyro.sample("x0", dist.Normal(0.0, 1.0))

    def step(x: Any, y: Any) -> Any:
        with numpyro.plate("series", 2):
            x = numpyro.sample("x", dist.Normal(0.9 * x, size))
            numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
        return x, x

    return scan(step, start, y)[1]


def plate_of_vectors(y: Any, lengths: Any) -> Any:
    """Sequences of vectors, of different lengths, with two things seen of each."""
    with numpyro.plate("series", 2, dim=-2):
        start = numpyro.sample("x0", dist.MultivariateNormal(jnp.zeros(2), S).expand([2, 1]))

    def step(carry: Any, y: Any) -> Any:
        x, time = carry
        with numpyro.plate("series", 2, dim=-2), handlers.mask(mask=(time < lengths)[:, None]):
            x = numpyro.sample("x", dist.MultivariateNormal(x @ A.T, S))
            with numpyro.plate("sensors", 2, dim=-1):
                numpyro.sample("y", dist.Normal(x[..., 0] * jnp.array([1.0, 2.0]), 1.0), obs=y)
        return (x, time + 1), x

    return scan(step, (start, 0), y)[1]


def coupled_plate(y: Any) -> Any:
    """A plate that is only a vector: its entries depend on each other, so it is one sequence."""

    def step(x: Any, y: Any) -> Any:
        with numpyro.plate("coordinates", 2):
            x = numpyro.sample("x", dist.Normal(A @ x, jnp.array([0.5, 0.8])))
            numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
        return x, x

    return scan(step, jnp.zeros(2), y)[1]
