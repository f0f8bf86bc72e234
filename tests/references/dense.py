"""What does a linear-Gaussian system say, when all states and all observations are one big Gaussian vector?

    x_t+1 = A_t x_t + b_t + w_t,   w_t ~ N(0, Q_t),   x_0 ~ N(m, P)
    y_t   = C_t x   + d_t + v_t,   v_t ~ N(0, R_t),   x = x_t (emission first) or x_t+1 (transition first)

for t = 0..T-1. There is no filter here: the joint mean and covariance of (x_0..x_T, y_0..y_T-1) are written
down, and every belief is that Gaussian conditioned on the components of y that are present (Bishop 2006,
section 2.3.1). Known initial states (P = 0) and singular Q are nothing special. `from_program` builds the
same joint from the log density of a NumPyro program alone, reading no matrix: minus its Hessian is the joint
precision.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from numpyro import handlers
from numpyro.infer.util import compute_log_probs, log_density
from scipy.linalg import block_diag


class GaussianPosterior(NamedTuple):
    """Beliefs about the state that emits observation t, and about the whole path of states."""

    log_evidence: float  # log p(y_1:T), nats
    log_predictive: Float[np.ndarray, " time"]  # log p(y_t | y_1:t-1), nats; 0 where nothing was seen
    predicted_mean: Float[np.ndarray, "time dim_x"]  # of p(x_t | y_1:t-1)
    predicted_covariance: Float[np.ndarray, "time dim_x dim_x"]
    filtered_mean: Float[np.ndarray, "time dim_x"]  # of p(x_t | y_1:t)
    filtered_covariance: Float[np.ndarray, "time dim_x dim_x"]
    smoothed_mean: Float[np.ndarray, "time dim_x"]  # of p(x_t | y_1:T)
    smoothed_covariance: Float[np.ndarray, "time dim_x dim_x"]
    pairwise_covariance: Float[np.ndarray, "time-1 dim_x dim_x"]  # cov(x_t, x_t+1 | y_1:T), rows x_t
    path_mean: Float[np.ndarray, "step dim_x"]  # of p(x_0..x_T | y_1:T); x_1..x_T where x_0 is not random
    path_covariance: Float[np.ndarray, "step dim_x step dim_x"]


class Joint(NamedTuple):
    """Mean and covariance of (x_0..x_T, y_0..y_T-1), flattened in that order."""

    mean: Float[np.ndarray, " all"]
    covariance: Float[np.ndarray, "all all"]


def joint(
    *,
    initial_mean: Any,
    initial_covariance: Any,
    A: Any,
    b: Any,
    Q: Any,
    C: Any,
    d: Any,
    R: Any,
    emission_first: bool,
) -> Joint:
    """The joint of all states and observations.

    Time comes first (`[A] * T` where A does not change): A and Q (time, dim_x, dim_x), b (time, dim_x),
    C (time, dim_y, dim_x), d (time, dim_y), R (time, dim_y, dim_y).
    """
    A, b, Q, C, d, R = (np.asarray(value, dtype=float) for value in (A, b, Q, C, d, R))
    num_steps = len(C)
    # x_t = F_t z + f_t and y_t = G_t z + g_t, where z = (x_0 - m, w_0..w_T-1, v_0..v_T-1) is all the noise.
    noises = [np.asarray(initial_covariance, dtype=float), *Q, *R]
    spread = block_diag(*noises)
    pick = np.split(np.eye(len(spread)), np.cumsum([len(noise) for noise in noises])[:-1])
    F, f = [pick[0]], [np.asarray(initial_mean, dtype=float)]
    for t in range(num_steps):
        F.append(A[t] @ F[t] + pick[1 + t])
        f.append(A[t] @ f[t] + b[t])
    source = range(num_steps) if emission_first else range(1, num_steps + 1)
    G = [C[t] @ F[s] + pick[1 + num_steps + t] for t, s in enumerate(source)]
    g = [C[t] @ f[s] + d[t] for t, s in enumerate(source)]
    weights = np.concatenate(F + G)
    return Joint(np.concatenate(f + g), weights @ spread @ weights.T)


def condition(whole: Joint, known: Bool[np.ndarray, " all"], values: Float[np.ndarray, " all"]) -> Joint:
    """The whole vector given its `known` components (the others of `values` are not looked at)."""
    towards = whole.covariance[known]
    gain = np.linalg.solve(whole.covariance[np.ix_(known, known)], towards).T
    covariance = whole.covariance - gain @ towards
    return Joint(whole.mean + gain @ (values - whole.mean)[known], (covariance + covariance.T) / 2)


def log_normal(whole: Joint, at: Bool[np.ndarray, " all"], values: Float[np.ndarray, " all"]) -> float:
    """Log density of the components `at`, in nats. Raises LinAlgError where they are not all random."""
    covariance, error = whole.covariance[np.ix_(at, at)], (values - whole.mean)[at]
    sign, log_determinant = np.linalg.slogdet(covariance)
    if sign <= 0:
        raise np.linalg.LinAlgError("the observations have a singular joint covariance: no density")
    quadratic = error @ np.linalg.solve(covariance, error)
    return float(-(len(error) * np.log(2 * np.pi) + log_determinant + quadratic) / 2)


def posterior(
    whole: Joint, observations: Float[np.ndarray, "time dim_y"], *, dim_x: int, emission_first: bool
) -> GaussianPosterior:
    """Condition the joint on the observations that are present (NaN: missing, component by component).

    Raises LinAlgError where the observations have no density (a singular joint covariance).
    """
    y = np.asarray(observations, dtype=float)
    num_steps, rows = len(y), (len(whole.mean) - y.size) // dim_x
    values = np.concatenate([np.zeros(rows * dim_x), y.ravel()])
    present = (np.arange(len(values)) >= rows * dim_x) & ~np.isnan(values)
    step = np.concatenate([np.full(rows * dim_x, -1), np.repeat(np.arange(num_steps), y.size // num_steps)])

    until = [condition(whole, present & (step < t), values) for t in range(num_steps + 1)]
    emitting = np.arange(num_steps) + (0 if emission_first else rows - num_steps)
    at = [slice(s * dim_x, (s + 1) * dim_x) for s in emitting]

    def belief(given: Sequence[Joint]) -> tuple[np.ndarray, np.ndarray]:
        pairs = list(zip(given, at, strict=True))
        return np.array([g.mean[a] for g, a in pairs]), np.array([g.covariance[a, a] for g, a in pairs])

    everything, last = until[-1], rows * dim_x
    return GaussianPosterior(
        log_normal(whole, present, values),
        np.array([log_normal(until[t], present & (step == t), values) for t in range(num_steps)]),
        *belief(until[:-1]),
        *belief(until[1:]),
        *belief([everything] * num_steps),
        np.array([everything.covariance[i, j] for i, j in pairwise(at)]).reshape(-1, dim_x, dim_x),
        everything.mean[:last].reshape(rows, dim_x),
        everything.covariance[:last, :last].reshape(rows, dim_x, rows, dim_x),
    )


def from_program(
    model: Callable[..., Any],
    data: dict[str, Any],
    parameters: dict[str, Any],
    *,
    state_site: str,
    initial_site: str | None,
    observed_site: str,
    observed_argument: str,
    emission_first: bool,
) -> GaussianPosterior:
    """The same posterior from `log_density(program)` alone; all covariances must be non-singular.

    `data[observed_argument]` are the observations, NaN where missing, in the shape of their site; the program
    must let them be traced. Scalar sites count as dim_x = 1. The evidence is log p(x, y | theta) minus
    log p(x | y, theta) at one x: it rests on the program's normalisation, which `log_predictive` does not.

    Raises RuntimeError without float64, and ValueError for a log density that is not quadratic, observations
    of another shape than their site, and a step that emits first from a state that no site samples.
    """
    if not jax.config.jax_enable_x64:
        raise RuntimeError("the oracle needs float64: call numpyro.enable_x64() first")
    if emission_first and initial_site is None:
        raise ValueError("emission first needs an initial site: the initial state emits the first observation")
    parameters = {name: jnp.asarray(value) for name, value in parameters.items()}
    y = np.asarray(data[observed_argument], dtype=float)
    zeros = {**data, observed_argument: jnp.zeros(y.shape)}
    seeded = handlers.seed(handlers.substitute(model, data=parameters), rng_seed=0)
    trace = handlers.trace(seeded).get_trace(**zeros)
    if trace[observed_site]["value"].shape != y.shape:
        raise ValueError(f"'{observed_argument}' has shape {y.shape}, site '{observed_site}' has another")
    names = [name for name in (initial_site, state_site) if name is not None]
    shapes = [jnp.shape(trace[name]["value"]) for name in names]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])

    def states(vector: jax.Array) -> dict[str, jax.Array]:
        blocks = jnp.split(vector, ends)
        return {name: block.reshape(shape) for name, block, shape in zip(names, blocks, shapes, strict=False)}

    @jax.jit
    def log_joint(vector: jax.Array) -> jax.Array:
        given = {**data, observed_argument: vector[ends[-1] :].reshape(y.shape)}
        return log_density(model, (), given, {**parameters, **states(vector)})[0]

    origin = jnp.zeros(int(ends[-1]) + y.size)
    hessian = jax.jit(jax.hessian(log_joint))
    precision = -np.asarray(hessian(origin))
    elsewhere = -np.asarray(hessian(jnp.cos(jnp.arange(origin.size, dtype=float))))
    if not np.allclose(precision, elsewhere, rtol=1e-8, atol=1e-8 * np.abs(precision).max()):
        raise ValueError("the log density is not quadratic in states and observations: not linear-Gaussian")
    gradient = np.asarray(jax.grad(log_joint)(origin))
    whole = Joint(np.linalg.solve(precision, gradient), np.linalg.inv(precision))

    dim_x = int(np.prod(shapes[-1][1:]))
    result = posterior(whole, y.reshape(len(y), -1), dim_x=dim_x, emission_first=emission_first)
    values = np.concatenate([np.zeros(ends[-1]), y.ravel()])
    present = (np.arange(len(values)) >= ends[-1]) & ~np.isnan(values)
    given = condition(whole, present, values)
    point = np.where(present, values, given.mean)
    log_probs, _ = compute_log_probs(model, (), zeros, {**parameters, **states(origin)})
    log_prior = sum(float(log_probs[name]) for name in parameters)
    log_rest = log_normal(given, ~present, point)
    return result._replace(log_evidence=float(log_joint(jnp.asarray(point))) - log_prior - log_rest)
