"""What should have been believed about a linear-Gaussian state?  Kalman filter, smoother and simulation smoother, exactly.

The evidence comes from the innovations of one sequential pass; the covariance update is Joseph's, so that covariances stay
positive semi-definite on stiff systems, and so is the smoother's; a known initial state (P0 = 0) and a singular Q need no
special case. A missing component (NaN) of an observation simply does not enter.

Source: Anderson & Moore (1979), Optimal Filtering; Durbin & Koopman (2012), Time Series Analysis by State Space Methods,
sections 4.3 (filter), 4.9 (simulation smoother: Biometrika 2002) and 4.10 (missing observations).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ppl_worldmodel.exact.system import LinearGaussian


class Belief(NamedTuple):
    """N(mean, covariance) of one state."""

    mean: Float[Array, " dim_x"]
    covariance: Float[Array, "dim_x dim_x"]


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


class _Corrected(NamedTuple):
    mean: Array
    covariance: Array
    log_predictive: Array
    gain: Array  # (dim_x, dim_y)
    C: Array  # C with the rows of missing components zeroed
    weighted: Array  # S^-1 (y - C m - d), (dim_y,)
    precision: Array  # S^-1, (dim_y, dim_y)


def predict(
    belief: Belief, A: Float[Array, "dim_x dim_x"], b: Float[Array, " dim_x"], Q: Float[Array, "dim_x dim_x"]
) -> Belief:
    """N(A m + b, A P A' + Q): the belief before the next observation, one step, online."""
    return Belief(A @ belief.mean + b, A @ belief.covariance @ A.T + Q)


def correct(
    belief: Belief,
    observation: Float[Array, " dim_y"],
    C: Float[Array, "dim_y dim_x"],
    d: Float[Array, " dim_y"],
    R: Float[Array, "dim_y dim_y"],
) -> Belief:
    """p(x | y) for y = C x + d + N(0, R), one step, online. NaN components of the observation do not enter."""
    corrected = _correct(belief, observation, C, d, R)
    return Belief(corrected.mean, corrected.covariance)


@jax.jit
def filter(system: LinearGaussian) -> Beliefs:
    """p(x_t | y_1:t) for every t, with the predicted beliefs and the evidence. One forward pass."""
    predicted, corrected = _forward(system)
    log_predictive = corrected.log_predictive
    return Beliefs(*predicted, corrected.mean, corrected.covariance, log_predictive, log_predictive.sum())


@jax.jit
def evidence(system: LinearGaussian) -> Float[Array, " time"]:
    """log p(y_t | y_1:t-1) for every t, from the innovations; the sum is the log evidence."""
    return _forward(system)[1].log_predictive


@jax.jit
def smooth(system: LinearGaussian) -> SmoothedBeliefs:
    """p(x_t | y_1:T) for every t. One forward and one backward pass (Rauch, Tung & Striebel 1965)."""
    predicted, corrected = _forward(system)
    mean, covariance, _ = _backward(system, predicted, corrected)
    log_predictive = corrected.log_predictive
    filtered = (corrected.mean, corrected.covariance)
    return SmoothedBeliefs(mean, covariance, *predicted, *filtered, log_predictive, log_predictive.sum())


@jax.jit
def pairwise(system: LinearGaussian) -> Float[Array, "pair dim_x dim_x"]:
    """cov(x_t, x_t+1 | y_1:T) for t = 1 ... T-1; rows: x_t (Sarkka & Svensson 2023, section 12.2)."""
    _, covariance, gain = _backward(system, *_forward(system))
    return gain @ covariance[1:]


@partial(jax.jit, static_argnames="num_paths")
def sample_paths(system: LinearGaussian, key: Array, num_paths: int) -> Float[Array, "draw time dim_x"]:
    """Draws of x_1:T from p(x_1:T | y_1:T): a path of the model plus the smoothed mean of what the data say beyond it."""
    smoothed = smooth(system).smoothed
    states, observations = jax.vmap(lambda key: _simulate(system, key))(jax.random.split(key, num_paths))
    observations = jnp.where(jnp.isnan(system.observations), jnp.nan, observations)
    of_simulated = jax.vmap(lambda y: smooth(system._replace(observations=y)).smoothed)(observations)
    return smoothed + states - of_simulated


def _symmetric(matrix: Array) -> Array:
    return 0.5 * (matrix + jnp.swapaxes(matrix, -1, -2))


def _correct(belief: Belief, observation: Array, C: Array, d: Array, R: Array) -> _Corrected:
    """The measurement update; a missing component has a zero row in C and a unit variance of its own, so it says nothing."""
    observed = ~jnp.isnan(observation)
    C = jnp.where(observed[:, None], C, 0.0)
    R = jnp.where(observed[:, None] & observed[None, :], R, jnp.eye(R.shape[-1]))
    innovation = jnp.where(observed, jnp.where(observed, observation, 0.0) - C @ belief.mean - d, 0.0)
    S = C @ belief.covariance @ C.T + R
    precision, log_determinant = _invert(S)
    weighted = precision @ innovation
    gain = belief.covariance @ C.T @ precision
    keep = jnp.eye(belief.mean.shape[-1]) - gain @ C
    # A missing component's unit variance must not count as noise: its column of the gain is zero.
    covariance = _symmetric(keep @ belief.covariance @ keep.T + gain @ R @ gain.T)
    log_predictive = -0.5 * (innovation @ weighted + log_determinant + observed.sum() * jnp.log(2 * jnp.pi))
    return _Corrected(belief.mean + gain @ innovation, covariance, log_predictive, gain, C, weighted, precision)


def _invert(S: Array) -> tuple[Array, Array]:
    """Inverse and log determinant of a positive definite matrix.

    Up to four rows by bordering (one row and its Schur complement after the other): a call of LAPACK in every step of a
    scan would cost more than the arithmetic.
    """
    size = S.shape[-1]
    if size > 4:
        factor = jnp.linalg.cholesky(S)
        return jax.scipy.linalg.cho_solve((factor, True), jnp.eye(size)), 2 * jnp.log(jnp.diagonal(factor)).sum()
    inverse, log_determinant = jnp.zeros((0, 0)), jnp.zeros(())
    for k in range(size):
        slope = inverse @ S[:k, k]
        rest = S[k, k] - S[:k, k] @ slope
        corner = jnp.outer(slope, slope) / rest
        inverse = jnp.block(
            [[inverse + corner, -slope[:, None] / rest], [-slope[None, :] / rest, jnp.reshape(1.0 / rest, (1, 1))]]
        )
        log_determinant = log_determinant + jnp.log(rest)
    return inverse, log_determinant


def _onward(system: LinearGaussian) -> tuple[Belief, tuple[Array, ...]]:
    """p(x_1), and the system's matrices (A, b, Q, C, d, R) at each t: the emission at t and the move from t to t + 1."""
    steps, varying = system.observations.shape[0], system.structure.varying
    series = {
        name: getattr(system, name)
        if name in varying
        else jnp.broadcast_to(getattr(system, name), (steps, *getattr(system, name).shape))
        for name in "AbQCdR"
    }
    initial = Belief(system.initial_mean, system.initial_covariance)
    if system.structure.order == "emission first":
        return initial, tuple(series.values())
    first = predict(initial, *(series[name][0] for name in "AbQ"))
    later = {name: jnp.concatenate([series[name][1:], series[name][-1:]]) for name in "AbQ"}
    return first, (*later.values(), *(series[name] for name in "CdR"))


def _forward(system: LinearGaussian) -> tuple[Belief, _Corrected]:
    """Predicted beliefs and corrections for every t."""
    first, matrices = _onward(system)

    def step(predicted, inputs):
        (A, b, Q, C, d, R), observation = inputs
        corrected = _correct(predicted, observation, C, d, R)
        following = predict(Belief(corrected.mean, corrected.covariance), A, b, Q)
        return following, (predicted, corrected)

    return lax.scan(step, first, (matrices, system.observations))[1]


def _backward(system: LinearGaussian, predicted: Belief, corrected: _Corrected) -> tuple[Array, Array, Array]:
    """Smoothed means and covariances for every t, and the gains from t + 1 back to t, (time - 1, dim_x, dim_x).

    With w the noise of the move, x_t - E[x_t | y_1:t] = (I - J A) (itself) - J w + J (x_t+1 - E[x_t+1 | y_1:t]): a sum of
    positive terms, in which nothing cancels however wide the prior is (P - P N P loses all digits there).
    """
    A, _, Q, *_ = (series[:-1] for series in _onward(system)[1])
    filtered_mean, filtered = corrected.mean[:-1], corrected.covariance[:-1]
    across = filtered @ jnp.swapaxes(A, -1, -2)
    gain = across @ _pseudo_inverse(predicted.covariance[1:])
    keep = jnp.eye(A.shape[-1]) - gain @ A
    own = keep @ filtered @ jnp.swapaxes(keep, -1, -2) + gain @ Q @ jnp.swapaxes(gain, -1, -2)

    def step(following, inputs):
        gain, own, mean, mean_ahead = inputs
        mean = mean + gain @ (following.mean - mean_ahead)
        belief = Belief(mean, _symmetric(own + gain @ following.covariance @ gain.T))
        return belief, belief

    last = Belief(corrected.mean[-1], corrected.covariance[-1])
    _, earlier = lax.scan(step, last, (gain, own, filtered_mean, predicted.mean[1:]), reverse=True)
    mean = jnp.concatenate([earlier.mean, last.mean[None]])
    return mean, jnp.concatenate([earlier.covariance, last.covariance[None]]), gain


def _pseudo_inverse(covariance: Array) -> Array:
    """Generalised inverse of covariances that may be singular (P0 = 0, singular Q), in units of their own standard deviations."""
    scale = lax.stop_gradient(jnp.sqrt(jnp.diagonal(covariance, axis1=-2, axis2=-1)))
    scale = jnp.where(scale > 0, scale, 1.0)
    units = scale[..., :, None] * scale[..., None, :]
    return _moore_penrose(covariance / units) / units


@jax.custom_jvp
def _moore_penrose(matrix: Array) -> Array:
    values, vectors = jnp.linalg.eigh(matrix)
    rounding = 4 * values.shape[-1] * jnp.finfo(values.dtype).eps * values.max(axis=-1, keepdims=True)
    inverse = jnp.where(values > rounding, 1.0 / jnp.where(values > rounding, values, 1.0), 0.0)
    return (vectors * inverse[..., None, :]) @ jnp.swapaxes(vectors, -1, -2)


@_moore_penrose.defjvp
def _moore_penrose_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """Golub & Pereyra (1973), eq. 4.12, for symmetric matrices: unlike the eigenvectors it has no pole at equal eigenvalues."""
    (matrix,), (change,) = primals, tangents
    inverse = _moore_penrose(matrix)
    rest = jnp.eye(matrix.shape[-1]) - matrix @ inverse
    outside = inverse @ inverse @ change @ rest
    return inverse, outside + jnp.swapaxes(outside, -1, -2) - inverse @ change @ inverse


def _simulate(system: LinearGaussian, key: Array) -> tuple[Array, Array]:
    """One path of states and observations of the model, the data left aside."""
    first, (A, b, Q, C, d, R) = _onward(system)
    key_first, key_states, key_observations = jax.random.split(key, 3)
    noise = jax.random.normal(key_states, (A.shape[0], A.shape[-1]))
    start = first.mean + _root(first.covariance) @ jax.random.normal(key_first, first.mean.shape)

    def step(state, inputs):
        A, b, root, noise = inputs
        return A @ state + b + root @ noise, state

    _, states = lax.scan(step, start, (A, b, _root(Q), noise))
    errors = jnp.einsum("tij,tj->ti", _root(R), jax.random.normal(key_observations, (A.shape[0], R.shape[-1])))
    return states, jnp.einsum("tij,tj->ti", C, states) + d + errors


def _root(covariance: Array) -> Array:
    """A matrix with L L' = covariance, also where the covariance is singular."""
    values, vectors = jnp.linalg.eigh(covariance)
    return vectors * jnp.sqrt(jnp.maximum(values, 0.0))[..., None, :]
