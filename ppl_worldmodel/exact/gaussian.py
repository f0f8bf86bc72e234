"""What should have been believed about a linear-Gaussian state?  Kalman filter, smoother and simulation smoother, exactly.

A missing component (NaN) of an observation does not enter; a known initial state and singular noise are no special cases; of a
diffuse one see `exact.diffuse`.

Source: Anderson & Moore (1979), Optimal Filtering; Durbin & Koopman (2012), Time Series Analysis by State Space Methods,
sections 4.3 (filter), 4.9 (simulation smoother: Biometrika 2002) and 4.10 (missing observations).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ppl_worldmodel.exact import diffuse, kalman
from ppl_worldmodel.exact.kalman import Belief, Corrected, Smoothed, predict
from ppl_worldmodel.exact.sequences import each_sequence
from ppl_worldmodel.exact.system import LinearGaussian

__all__ = [
    "Belief",
    "Beliefs",
    "SmoothedBeliefs",
    "correct",
    "evidence",
    "filter",
    "pairwise",
    "predict",
    "sample_paths",
    "smooth",
]


class Beliefs(NamedTuple):
    """Means and covariances of p(x_t | y_1:t-1) (predicted) and p(x_t | y_1:t) (filtered); log p(y_t | y_1:t-1)."""

    predicted: Float[Array, "time dim_x"]
    predicted_covariance: Float[Array, "time dim_x dim_x"]
    filtered: Float[Array, "time dim_x"]
    filtered_covariance: Float[Array, "time dim_x dim_x"]
    log_predictive: Float[Array, " time"]
    log_evidence: Float[Array, ""]


class SmoothedBeliefs(NamedTuple):
    """Mean and covariance of p(x_t | y_1:T) (smoothed), beside the fields of `Beliefs`."""

    smoothed: Float[Array, "time dim_x"]
    smoothed_covariance: Float[Array, "time dim_x dim_x"]
    predicted: Float[Array, "time dim_x"]
    predicted_covariance: Float[Array, "time dim_x dim_x"]
    filtered: Float[Array, "time dim_x"]
    filtered_covariance: Float[Array, "time dim_x dim_x"]
    log_predictive: Float[Array, " time"]
    log_evidence: Float[Array, ""]


def correct(
    belief: Belief,
    observation: Float[Array, " dim_y"],
    C: Float[Array, "dim_y dim_x"],
    d: Float[Array, " dim_y"],
    R: Float[Array, "dim_y dim_y"],
) -> Belief:
    """p(x | y) for y = C x + d + N(0, R), one step, online. NaN components of the observation do not enter."""
    corrected = kalman.correct(belief, observation, C, d, R)
    return Belief(corrected.mean, corrected.covariance)


@jax.jit
@each_sequence
def filter(system: LinearGaussian) -> Beliefs:
    """p(x_t | y_1:t) for every t, with the predicted beliefs and the evidence. One forward pass."""
    predicted, corrected = _forward(system)
    log_predictive = corrected.log_predictive
    return Beliefs(*predicted, corrected.mean, corrected.covariance, log_predictive, log_predictive.sum())


@jax.jit
@each_sequence
def evidence(system: LinearGaussian) -> Float[Array, " time"]:
    """log p(y_t | y_1:t-1) for every t, from the innovations; the sum is the log evidence."""
    return _forward(system)[1].log_predictive


@jax.jit
@each_sequence
def smooth(system: LinearGaussian) -> SmoothedBeliefs:
    """p(x_t | y_1:T) for every t. One forward and one backward pass (Rauch, Tung & Striebel 1965)."""
    predicted, corrected = _forward(system)
    smoothed = _smoothed(system)
    log_predictive = corrected.log_predictive
    filtered = (corrected.mean, corrected.covariance)
    return SmoothedBeliefs(
        smoothed.mean, smoothed.covariance, *predicted, *filtered, log_predictive, log_predictive.sum()
    )


@jax.jit
@each_sequence
def pairwise(system: LinearGaussian) -> Float[Array, "pair dim_x dim_x"]:
    """cov(x_t, x_t+1 | y_1:T) for t = 1 ... T-1; rows: x_t (Sarkka & Svensson 2023, section 12.2)."""
    if system.diffuse is not None:
        return diffuse.pairwise(system)
    smoothed = _smoothed(system)
    return smoothed.gain @ smoothed.covariance[1:]


@partial(jax.jit, static_argnames="num_paths")
@each_sequence
def sample_paths(system: LinearGaussian, key: Array, num_paths: int) -> Float[Array, "draw time dim_x"]:
    """Draws of x_1:T from p(x_1:T | y_1:T): a path of the model plus the smoothed mean of what the data say beyond it."""
    key, key_start = jax.random.split(key)
    start, known = diffuse.starts(system, key_start, num_paths)

    def one(key: Array, mean: Array) -> Array:
        of_start = known._replace(initial_mean=mean)
        states, observations = _simulate(of_start, key)
        observations = jnp.where(jnp.isnan(system.observations), jnp.nan, observations)
        simulated = _smoothed(of_start._replace(observations=observations)).mean
        return _smoothed(of_start).mean + states - simulated

    return jax.vmap(one)(jax.random.split(key, num_paths), start)


def _forward(system: LinearGaussian) -> tuple[Belief, Corrected]:
    predicted, corrected = kalman.forward(system) if system.diffuse is None else diffuse.forward(system)
    if system.log_factor is None:
        return predicted, corrected
    return predicted, corrected._replace(log_predictive=corrected.log_predictive + system.log_factor)


def _smoothed(system: LinearGaussian) -> Smoothed:
    if system.diffuse is not None:
        return diffuse.smoothed(system)
    return kalman.backward(system, *kalman.forward(system))


def _simulate(system: LinearGaussian, key: Array) -> tuple[Array, Array]:
    """One path of states and observations of the model, the data left aside."""
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
