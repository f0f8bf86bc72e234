"""One path of states and observations of a linear-Gaussian system, drawn from the model, not given the data."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from ppl_worldmodel.exact import kalman
from ppl_worldmodel.exact.system import LinearGaussian


def simulated_path(system: LinearGaussian, key: Array) -> tuple[Array, Array]:
    """States and observations, (time, dim_x) and (time, dim_y)."""
    first, (A, b, Q, C, d, R) = kalman.onward(system)
    key_first, key_states, key_observations = jax.random.split(key, 3)
    noise = jax.random.normal(key_states, (A.shape[0], A.shape[-1]))
    start = first.mean + root(first.covariance) @ jax.random.normal(key_first, first.mean.shape)

    def step(state, inputs):
        A, b, root, noise = inputs
        return A @ state + b + root @ noise, state

    _, states = lax.scan(step, start, (A, b, root(Q), noise))
    errors = jnp.einsum("tij,tj->ti", root(R), jax.random.normal(key_observations, (A.shape[0], R.shape[-1])))
    return states, jnp.einsum("tij,tj->ti", C, states) + d + errors


def root(covariance: Array) -> Array:
    """A matrix with L L' = covariance, also where the covariance is singular."""
    values, vectors = jnp.linalg.eigh(covariance)
    return vectors * jnp.sqrt(jnp.maximum(values, 0.0))[..., None, :]
