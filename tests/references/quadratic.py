"""What does a program with Gaussian latent sites say, when its log density is taken for what it is: a quadratic?

The program is an ordinary NumPyro program with one `scan` over time, which returns the stacked outputs of that
scan: the states to judge, any pytree of arrays, time first. Nothing else is known about it. Stack the values of
all its latent sites, of all steps and before the scan, into one vector w. Then for every t

    f_t(w) = log p(w) + sum over u <= t of log p(y_u | w)

is quadratic in w, and the state is affine in w. So w given y_1:t is Gaussian, its precision is minus the Hessian
of f_t, its mean the maximum, and log p(y_1:t) is the integral of exp(f_t), in closed form. The likelihood of step
u is whatever the program observes in it, factors included. Nothing is marginalised step by step: there is no filter.

Missing (NaN) entries of the data are unknowns like w. They join it at their own step and are integrated out: that
is exact for a missing component of a vector, and for a step that depends on earlier observations as well.

A flat start (`ImproperUniform`) has density one. As long as the observations do not determine all of w there are no
beliefs: means and covariances are NaN, log_predictive is 0, and the first step that determines w carries the whole
log p(y_1:t). With q flat directions this is the limit of log p(y_1:t) + q/2 log(2 pi kappa) for a start of variance
kappa. A latent entry that no density depends on (it is masked for good, or is one that `obs_mask` makes for
an observation that is present) is left out of w; a state that depends on it is NaN.
"""

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from numpyro import handlers
from scipy.linalg import solve_triangular

from .enumeration import abstract_trace, has_gap, run

CONDITION = 1e9  # of a root of the precision, its columns scaled to one length: beyond it, it counts as singular
NO_MAXIMUM = "the log density has no maximum: it is not that of Gaussian latent sites"


class ProgramMoments(NamedTuple):
    """Beliefs about the state that the program returns for each step, its leaves in the order of jax.tree."""

    log_evidence: float  # log p(y_1:T), nats; NaN if the observations never determine w
    log_predictive: Float[np.ndarray, " time"]  # log p(y_t | y_1:t-1), nats; 0 where nothing was seen
    predicted_mean: Float[np.ndarray, "time dim"]  # of p(state_t | y_1:t-1)
    predicted_covariance: Float[np.ndarray, "time dim dim"]
    filtered_mean: Float[np.ndarray, "time dim"]  # of p(state_t | y_1:t)
    filtered_covariance: Float[np.ndarray, "time dim dim"]
    smoothed_mean: Float[np.ndarray, "time dim"]  # of p(state_t | y_1:T)
    smoothed_covariance: Float[np.ndarray, "time dim dim"]


class Posterior(NamedTuple):
    """w given the observations up to one step; entries that are not `known` are NaN."""

    log_evidence: float
    known: Bool[np.ndarray, " w"]
    mean: Float[np.ndarray, " w"]
    root: Float[np.ndarray, "w column"]  # root @ root.T is the covariance


def solve_program(
    model: Callable[..., Any],
    data: dict[str, Any],
    parameters: dict[str, Any],
    latents: Collection[str],
    *,
    keep: Callable[[Any], Any] | None = None,
) -> ProgramMoments:
    """All beliefs of a Gaussian program from the Hessian of its log density, given its parameters.

    `data` holds the program's keyword arguments (those with NaN: float arrays, time first, which the program must
    let be traced), `parameters` a value for every parameter site, `latents` the names of the latent sites. `keep`
    picks the part of the returned pytree to judge (None: all of it).

    Raises RuntimeError without float64, and ValueError for a log density that is not quadratic or not
    normalised, states that are not affine, and results that depend on a site that is not listed.
    """
    if not jax.config.jax_enable_x64:
        raise RuntimeError("the oracle needs float64: call numpyro.enable_x64() first")
    parameters = {name: jnp.asarray(value) for name, value in parameters.items()}
    arrays = {name: np.asarray(value) for name, value in data.items() if isinstance(value, np.ndarray | jax.Array)}
    holes = {name: np.isnan(value) for name, value in arrays.items() if has_gap(value)}
    hole_step = np.concatenate([np.zeros(0, int), *(np.nonzero(hole)[0] for hole in holes.values())])
    present = {name: np.where(holes[name], 0.0, value) if name in holes else value for name, value in arrays.items()}
    filled = {**data, **{name: jnp.asarray(value) for name, value in present.items()}}
    shapes = _shapes(handlers.substitute(model, data=parameters), filled, latents)
    num_latent = sum(int(np.prod(shape)) for shape in shapes.values())

    layout: list[np.ndarray] = []  # the step of every term, -1 for the prior, once the program has run

    def evaluate(w: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(term,): the entries of all log densities, the prior's first; (time, dim): the states."""
        blocks = jnp.split(w, np.cumsum([int(np.prod(shape)) for shape in shapes.values()]))
        values = {name: block.reshape(shape) for (name, shape), block in zip(shapes.items(), blocks, strict=False)}
        given, used = dict(filled), num_latent
        for name, hole in holes.items():
            given[name] = filled[name].at[np.nonzero(hole)].set(w[used : used + hole.sum()])
            used += int(hole.sum())
        found = run(model, given, parameters, values, key)
        leaves = jax.tree.leaves(keep(found.states) if keep else found.states)
        num_steps = {leaf.shape[0] if jnp.ndim(leaf) else None for leaf in [*leaves, *found.log_likelihood.values()]}
        if len(num_steps) != 1 or None in num_steps or not leaves:
            raise ValueError("the program must return the stacked outputs of its scan")
        states = jnp.concatenate([jnp.asarray(leaf, float).reshape(len(leaf), -1) for leaf in leaves], axis=1)
        prior, likelihood = list(found.log_prior.values()), list(found.log_likelihood.values())
        times = [np.repeat(np.arange(len(states)), log_prob.size // len(states)) for log_prob in likelihood]
        layout.append(np.concatenate([np.full(sum(log_prob.size for log_prob in prior), -1), *times]))
        return jnp.concatenate([log_prob.ravel() for log_prob in prior + likelihood]), states

    def twice(w: jax.Array, key: jax.Array) -> tuple[Any, Any]:
        values = evaluate(w, key)
        return values, values

    # Two functions of (w, key): the derivatives of both results, with the results, and the second one of the first.
    slopes = jax.jit(jax.jacrev(twice, has_aux=True))
    second = jax.jit(jax.hessian(lambda w, key: evaluate(w, key)[0]))
    key, other_key = np.asarray(jax.random.PRNGKey(0)), np.asarray(jax.random.PRNGKey(1))
    origin = np.zeros(num_latent + len(hole_step))
    elsewhere = 1.0 + np.cos(np.arange(origin.size))
    (slope, jacobian), (_, offset) = jax.tree.map(np.asarray, slopes(origin, key))
    (_, other_jacobian), values = slopes(elsewhere, key)
    for one, other in zip(values, slopes(elsewhere, other_key)[1], strict=True):
        _demand_equal(one, other, "the result depends on a latent site that is not listed")
    _demand_equal(jacobian, other_jacobian, "the states are not affine in the latent sites")
    hessian = np.asarray(second(origin, key))
    _demand_equal(hessian, second(elsewhere, key), "the log density is not quadratic in the latent sites")

    mentioned = np.abs(hessian).sum(axis=(0, 1)) > 0
    if slope[:, ~mentioned].any():
        raise ValueError(NO_MAXIMUM)
    step, num_steps = layout[0], len(offset)
    enters = np.concatenate([np.full(num_latent, -1), hole_step])

    def until(num_seen: int) -> Posterior:
        """w given the first `num_seen` steps."""
        terms, active = step < num_seen, np.nonzero(mentioned & (enters < num_seen))[0]
        root, log_determinant = _invert(_root(-hessian[np.ix_(terms, active, active)]))
        mean = np.zeros(origin.size)
        for _ in range(2):  # the second step of Newton's method only takes the rounding of the first away
            mean[active] += root @ (root.T @ np.asarray(slopes(mean, key)[0][0])[terms].sum(axis=0)[active])
        height = np.asarray(slopes(mean, key)[1][0])[terms].sum()
        known = np.isin(np.arange(origin.size), active) & ~np.isnan(mean)
        whole = np.full((origin.size, len(active)), np.nan)
        whole[active] = root
        volume = (len(active) * np.log(2 * np.pi) - log_determinant) / 2
        return Posterior(float(height + volume), known, mean, whole)

    posteriors = [until(num_seen) for num_seen in range(num_steps + 1)]
    evidence = np.array([posterior.log_evidence for posterior in posteriors])
    if (np.isnan(evidence[1:]) & ~np.isnan(evidence[:-1])).any():
        raise ValueError("a missing value has no density of its own")
    if abs(evidence[0]) > 1e-7:
        raise ValueError(f"the densities of the latent sites integrate to exp({evidence[0]}), not to one")

    def push(shift: int) -> tuple[np.ndarray, np.ndarray]:
        """Moments of the state of step t given the first t + `shift` steps, for all t."""
        pairs = [(t, posteriors[min(t + shift, num_steps)]) for t in range(num_steps)]
        moments = [_push_forward(posterior, offset[t], jacobian[t]) for t, posterior in pairs]
        return np.array([mean for mean, _ in moments]), np.array([covariance for _, covariance in moments])

    log_predictive = np.diff(np.nan_to_num(evidence))  # 0 until w is determined
    return ProgramMoments(float(evidence[-1]), log_predictive, *push(0), *push(1), *push(num_steps))


def _push_forward(
    posterior: Posterior, offset: Float[np.ndarray, " dim"], jacobian: Float[np.ndarray, "dim w"]
) -> tuple[Float[np.ndarray, " dim"], Float[np.ndarray, "dim dim"]]:
    """Mean and covariance of offset + jacobian w; NaN where that depends on an entry that is not known."""
    known = posterior.known
    A = jacobian[:, known]
    mean = offset + A @ posterior.mean[known]
    covariance = A @ posterior.root[known] @ (A @ posterior.root[known]).T
    open_rows = np.abs(jacobian[:, ~known]).sum(axis=1) > 0
    mean[open_rows], covariance[open_rows], covariance[:, open_rows] = np.nan, np.nan, np.nan
    return mean, covariance


def _root(precisions: Float[np.ndarray, "term w w"]) -> Float[np.ndarray, "row w"]:
    """Rows A with A.T @ A the sum of the terms. Term by term, a wide density survives next to a narrow one."""
    diagonal = np.diagonal(precisions, axis1=1, axis2=2)
    scale = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 1.0)
    values, vectors = np.linalg.eigh(scale[:, :, None] * precisions * scale[:, None, :])
    if values.min(initial=0.0) < -1e-10:
        if len(precisions) == 1:
            raise ValueError(NO_MAXIMUM)
        return _root(precisions.sum(axis=0, keepdims=True))
    rows = np.sqrt(np.maximum(values, 0.0))[:, :, None] * vectors.swapaxes(1, 2) / scale[:, None, :]
    return rows[values > 1e-13 * values.max(axis=1, keepdims=True, initial=0.0)]


def _invert(rows: Float[np.ndarray, "row w"]) -> tuple[Float[np.ndarray, "w w"], float]:
    """A root of the inverse of rows.T @ rows, and the log determinant of that product; NaN where it is singular."""
    size, length = rows.shape[1], np.sqrt((rows**2).sum(axis=0))
    singular = np.full((size, size), np.nan), np.nan
    if len(rows) < size or (length == 0).any():
        return singular
    scaled = rows / length
    R = np.linalg.qr(scaled[np.argsort(-(scaled**2).sum(axis=1))], mode="r")
    values = np.linalg.svd(R, compute_uv=False)
    if size and values[-1] * CONDITION < values[0]:
        return singular
    log_determinant = 2 * (np.log(np.abs(np.diagonal(R))).sum() + np.log(length).sum())
    return solve_triangular(R, np.eye(size)) / length[:, None], float(log_determinant)


def _shapes(model: Callable[..., Any], data: dict[str, Any], latents: Collection[str]) -> dict[str, tuple[int, ...]]:
    """Shape of every latent site, from a run with zeros in them (a flat start cannot be drawn)."""

    def zeros(site: dict[str, Any]) -> jax.Array | None:
        if site["type"] != "sample" or site["name"] not in latents:
            return None
        return jnp.zeros(site["kwargs"]["sample_shape"] + site["fn"].shape())

    trace = abstract_trace(handlers.substitute(model, substitute_fn=zeros), data, latents)
    return {name: jnp.shape(trace[name]["value"]) for name in latents}


def _demand_equal(one: Any, other: Any, message: str) -> None:
    one, other = np.asarray(one), np.asarray(other)
    if not np.allclose(one, other, rtol=1e-9, atol=1e-9 * max(1.0, np.abs(one).max(initial=0.0))):
        raise ValueError(message)
