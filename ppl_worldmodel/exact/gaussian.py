"""Exact inference in linear-Gaussian state-space models: Kalman filter, smoother and simulation smoother.

A missing component (NaN) of an observation is left out. A known initial state and singular noise are no special cases. For a
diffuse initial state see `exact.diffuse`.

Source: Anderson & Moore (1979), Optimal Filtering; Durbin & Koopman (2012), Time Series Analysis by State Space Methods,
sections 4.3 (filter), 4.9 (simulation smoother: Biometrika 2002) and 4.10 (missing observations).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ppl_worldmodel.exact import diffuse, kalman, square_root
from ppl_worldmodel.exact.arguments import takes
from ppl_worldmodel.exact.digits import Digits
from ppl_worldmodel.exact.gaussian_form import keeps_digits, one_run, run_pass, settled
from ppl_worldmodel.exact.kalman import Belief, predict
from ppl_worldmodel.exact.sequences import each_sequence
from ppl_worldmodel.exact.shapes import shapes
from ppl_worldmodel.exact.simulated_path import simulated_path
from ppl_worldmodel.exact.system import LinearGaussian

__all__ = [
    "Belief",
    "Beliefs",
    "Digits",
    "SmoothedBeliefs",
    "correct",
    "evidence",
    "filter",
    "keeps_digits",
    "log_evidence",
    "pairwise",
    "predict",
    "sample_paths",
    "settled",
    "smooth",
]


ALGORITHM = "Kalman filter and smoother"


class Beliefs(NamedTuple):
    """Means and covariances of p(x_t | y_1:t-1) (predicted) and p(x_t | y_1:t) (filtered); log p(y_t | y_1:t-1).

    digits  how many decimal digits can be relied on, at least six; None inside a trace of JAX, where values are not known
    """

    predicted: Float[Array, "time dim_x"]
    predicted_covariance: Float[Array, "time dim_x dim_x"]
    filtered: Float[Array, "time dim_x"]
    filtered_covariance: Float[Array, "time dim_x dim_x"]
    log_predictive: Float[Array, " time"]
    log_evidence: Float[Array, ""]
    digits: Digits | None = None

    def __repr__(self) -> str:
        return shapes(self)


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
    digits: Digits | None = None

    def __repr__(self) -> str:
        return shapes(self)


def correct(
    belief: Belief,
    observation: Float[Array, " dim_y"],
    C: Float[Array, "dim_y dim_x"],
    d: Float[Array, " dim_y"],
    R: Float[Array, "dim_y dim_y"],
) -> Belief:
    """p(x | y) for y = C x + d + N(0, R), one step, online. NaN components of the observation are left out."""
    corrected = kalman.correct(belief, observation, C, d, R)
    return Belief(corrected.mean, corrected.covariance)


@takes(LinearGaussian)
def filter(system: LinearGaussian) -> Beliefs:
    """p(x_t | y_1:t) for every t, with the predicted beliefs and the evidence. One forward pass.

    Raises DigitsLost, with the time step, where fewer than six decimal digits would be left of it.
    """
    predicted, corrected, _, _, digits = run_pass(system, "filter")
    log_predictive = corrected.log_predictive
    filtered = (corrected.mean, corrected.covariance)
    return Beliefs(*predicted, *filtered, log_predictive, log_predictive.sum(axis=-1), digits)


@takes(LinearGaussian)
def evidence(system: LinearGaussian) -> Float[Array, "*sequence time"]:
    """log p(y_t | y_1:t-1) for every t, from the innovations; the sum is the log evidence.

    Raises DigitsLost, with the time step, where fewer than six decimal digits would be left of the sum.
    """
    return run_pass(system, "evidence").corrected.log_predictive


def log_evidence(system: LinearGaussian) -> Float[Array, "*sequence"]:
    """log p(y_1:T), the sum of `evidence`."""
    return evidence(system).sum(axis=-1)


@takes(LinearGaussian)
def smooth(system: LinearGaussian) -> SmoothedBeliefs:
    """p(x_t | y_1:T) for every t. One forward and one backward pass (Rauch, Tung & Striebel 1965).

    Raises DigitsLost, with the time step, where fewer than six decimal digits would be left of it.
    """
    predicted, corrected, smoothed, _, digits = run_pass(system, "smooth")
    assert smoothed is not None
    log_predictive = corrected.log_predictive
    filtered = (corrected.mean, corrected.covariance)
    return SmoothedBeliefs(
        smoothed.mean,
        smoothed.covariance,
        *predicted,
        *filtered,
        log_predictive,
        log_predictive.sum(axis=-1),
        digits,
    )


@takes(LinearGaussian)
def pairwise(system: LinearGaussian) -> Float[Array, "*sequence pair dim_x dim_x"]:
    """cov(x_t, x_t+1 | y_1:T) for t = 1 ... T-1; rows: x_t (Sarkka & Svensson 2023, section 12.2).

    Raises DigitsLost, with the time step, where fewer than six decimal digits of the smoothed beliefs would be left.
    """
    return _pairwise(settled(system, "smooth"))


@takes(LinearGaussian)
def sample_paths(system: LinearGaussian, key: Array, num_paths: int) -> Float[Array, "*sequence draw time dim_x"]:
    """Draws of x_1:T from p(x_1:T | y_1:T).

    By simulation smoothing (a simulated path, less its own smoothed mean, plus that of the data), or, in the square-root form, by
    backward sampling.
    Raises DigitsLost, with the time step, where fewer than six decimal digits of the smoothed beliefs would be left.
    """
    return _sample_paths(settled(system, "smooth"), key, num_paths)


@jax.jit
@each_sequence
def _pairwise(system: LinearGaussian) -> Array:
    if system.diffuse is not None and system.structure.form == "covariance":
        return diffuse.pairwise(system)
    smoothed = one_run(system, "smooth").smoothed
    assert smoothed is not None
    return smoothed.gain @ smoothed.covariance[1:]


@partial(jax.jit, static_argnames="num_paths")
@each_sequence
def _sample_paths(system: LinearGaussian, key: Array, num_paths: int) -> Array:
    if system.structure.form == "square root":
        return square_root.sample(*square_root.forward(system), key, num_paths)
    key, key_start = jax.random.split(key)
    start, known = diffuse.starts(system, key_start, num_paths)

    def past(of_start: LinearGaussian) -> Array:
        return kalman.backward(of_start, *kalman.forward(of_start)).mean

    def one(key: Array, mean: Array) -> Array:
        of_start = known._replace(initial_mean=mean)
        states, observations = simulated_path(of_start, key)
        observations = jnp.where(jnp.isnan(system.observations), jnp.nan, observations)
        simulated = past(of_start._replace(observations=observations))
        return past(of_start) + states - simulated

    return jax.vmap(one)(jax.random.split(key, num_paths), start)
