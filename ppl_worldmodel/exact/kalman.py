"""Kalman filter and Rauch-Tung-Striebel smoother: one forward and one backward pass over a linear-Gaussian series.

The evidence comes from the innovations of the forward pass. The covariance updates of filter and smoother have Joseph's form, so
that covariances stay positive semi-definite on stiff systems. A known initial state (P0 = 0) and a singular Q need no special
case. A missing component (NaN) of an observation is left out.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ppl_worldmodel.exact.covariance_inverse import invert, pseudo_inverse
from ppl_worldmodel.exact.small_product import product
from ppl_worldmodel.exact.system import LinearGaussian


class Belief(NamedTuple):
    """N(mean, covariance) of one state."""

    mean: Float[Array, " dim_x"]
    covariance: Float[Array, "dim_x dim_x"]


class Corrected(NamedTuple):
    """p(x | y) and log p(y) of one step."""

    mean: Array
    covariance: Array
    log_predictive: Array


class Smoothed(NamedTuple):
    """p(x_t | y_1:T) for every t, and the gains from t + 1 back to t, (time - 1, dim_x, dim_x)."""

    mean: Array
    covariance: Array
    gain: Array


def predict(
    belief: Belief, A: Float[Array, "dim_x dim_x"], b: Float[Array, " dim_x"], Q: Float[Array, "dim_x dim_x"]
) -> Belief:
    """N(A m + b, A P A' + Q): the belief before the next observation, one step, online."""
    return Belief(product(A, belief.mean) + b, product(A, belief.covariance, A.T) + Q)


def symmetric(matrix: Array) -> Array:
    return 0.5 * (matrix + jnp.swapaxes(matrix, -1, -2))


def surprise(belief: Belief, observation: Array, C: Array, d: Array, R: Array) -> tuple[Array, Array, Array, Array]:
    """The innovation y - C m - d, its covariance, and C and R; zeros (in the covariances ones) where a component is missing."""
    observed = ~jnp.isnan(observation)
    C = jnp.where(observed[:, None], C, 0.0)
    R = jnp.where(observed[:, None] & observed[None, :], R, jnp.eye(R.shape[-1]))
    innovation = jnp.where(observed, jnp.where(observed, observation, 0.0) - product(C, belief.mean) - d, 0.0)
    return innovation, product(C, belief.covariance, C.T) + R, C, R


def correct(belief: Belief, observation: Array, C: Array, d: Array, R: Array) -> Corrected:
    """The measurement update. A missing component has a zero row in C and a unit variance of its own, so it has no effect."""
    observed = ~jnp.isnan(observation)
    innovation, S, C, R = surprise(belief, observation, C, d, R)
    precision, log_determinant = invert(S)
    weighted = product(precision, innovation)
    gain = product(belief.covariance, C.T, precision)
    keep = jnp.eye(belief.mean.shape[-1]) - product(gain, C)
    # A missing component's unit variance must not count as noise: its column of the gain is zero.
    covariance = symmetric(product(keep, belief.covariance, keep.T) + product(gain, R, gain.T))
    log_predictive = -0.5 * ((innovation * weighted).sum() + log_determinant + observed.sum() * jnp.log(2 * jnp.pi))
    return Corrected(belief.mean + product(gain, innovation), covariance, log_predictive)


def onward(system: LinearGaussian) -> tuple[Belief, tuple[Array, ...]]:
    """p(x_1), and the system's matrices (A, b, Q, C, d, R) at each t: the emission at t and the move from t to t + 1."""
    steps, varying = system.observations.shape[0], system.structure.varying
    series = {name: each_step(getattr(system, name), name in varying, steps) for name in "AbQCdR"}
    initial = Belief(system.initial_mean, system.initial_covariance)
    if system.structure.order == "emission first":
        return initial, tuple(series.values())
    first = predict(initial, *(series[name][0] for name in "AbQ"))
    later = {name: jnp.concatenate([series[name][1:], series[name][-1:]]) for name in "AbQ"}
    return first, (*later.values(), *(series[name] for name in "CdR"))


def each_step(array: Array, varying: bool, steps: int) -> Array:
    """The array of each time step, time first."""
    return array if varying else jnp.broadcast_to(array, (steps, *array.shape))


def forward(system: LinearGaussian, off: Belief | None = None) -> tuple[Belief, Corrected]:
    """Predicted beliefs and corrections for every t.

    off  relative perturbations of every number of the predicted beliefs, time first: see `exact.digits`
    """
    first, matrices = onward(system)

    def step(predicted, inputs):
        (A, b, Q, C, d, R), observation, off = inputs
        if off is not None:
            predicted = Belief(predicted.mean * (1 + off.mean), predicted.covariance * (1 + off.covariance))
        corrected = correct(predicted, observation, C, d, R)
        following = predict(Belief(corrected.mean, corrected.covariance), A, b, Q)
        return following, (predicted, corrected)

    return lax.scan(step, first, (matrices, system.observations, off))[1]


def backward(system: LinearGaussian, predicted: Belief, corrected: Corrected) -> Smoothed:
    """The smoothed beliefs for every t (Rauch-Tung-Striebel).

    With w the noise of the move, x_t - E[x_t | y_1:t] = (I - J A) (itself) - J w + J (x_t+1 - E[x_t+1 | y_1:t]). The covariance
    is then a sum of positive terms. Nothing cancels, however wide the prior is (P - P N P would lose all digits).
    """
    A, _, Q, *_ = (series[:-1] for series in onward(system)[1])
    filtered_mean, filtered = corrected.mean[:-1], corrected.covariance[:-1]
    gain = product(filtered, jnp.swapaxes(A, -1, -2), pseudo_inverse(predicted.covariance[1:]))
    keep = jnp.eye(A.shape[-1]) - product(gain, A)
    own = product(keep, filtered, jnp.swapaxes(keep, -1, -2)) + product(gain, Q, jnp.swapaxes(gain, -1, -2))

    def step(following, inputs):
        gain, own, mean, mean_ahead = inputs
        mean = mean + product(gain, following.mean - mean_ahead)
        belief = Belief(mean, symmetric(own + product(gain, following.covariance, gain.T)))
        return belief, belief

    last = Belief(corrected.mean[-1], corrected.covariance[-1])
    _, earlier = lax.scan(step, last, (gain, own, filtered_mean, predicted.mean[1:]), reverse=True)
    mean = jnp.concatenate([earlier.mean, last.mean[None]])
    return Smoothed(mean, jnp.concatenate([earlier.covariance, last.covariance[None]]), gain)
