"""What is the posterior of one to three continuous parameters, by adaptive quadrature?

Any log density of the parameters will do. Each parameter is a smooth increasing function of a number z on the real
line; z = mode + L u, with L L' the inverse Hessian at the mode, so that in u the posterior is near a standard normal;
and u = 3 v / (1 - v^2) brings the real line to -1 < v < 1. Then `scipy.integrate.cubature` halves the boxes in v until its
own estimate of the error, the difference of a Gauss-Kronrod rule of 21 points and a Gauss rule of 10 points, is small
enough. Mode and Hessian cost or save time, but do not change the answer. L is lower triangular, so that the first
parameter depends on u_0 alone: its distribution function is an integral over boxes, with the parameters in turn first.

The local level model, the usual customer, has a Kalman filter here that shares no code with the package.

Sources: Genz, A. C. and Malik, A. A. (1980), "An adaptive algorithm for numerical integration over an n-dimensional
rectangular region", Journal of Computational and Applied Mathematics 6(4); Durbin, J. and Koopman, S. J. (2012), "Time
Series Analysis by State Space Methods", section 2.2, for the filter.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import integrate, optimize, special

SPREAD = 3.0  # the bulk of a standard normal fills the box in v evenly; any other number gives the same answers
LIMIT = 20_000  # boxes that are divided at most
Line = Callable[[np.ndarray], np.ndarray]
LogDensity = Callable[[Float[np.ndarray, "point parameter"]], Float[np.ndarray, " point"]]


class Transform(NamedTuple):
    """An increasing function from the real line onto the range of a parameter."""

    forward: Line  # z to the parameter
    inverse: Line  # the parameter to z
    log_slope: Line  # log d parameter / dz, from z


class Posterior(NamedTuple):
    """Integrals of the posterior. Each error is the integrator's own estimate, carried over to first order."""

    log_evidence: float  # nats
    log_evidence_error: float
    mean: Float[np.ndarray, " parameter"]
    mean_error: Float[np.ndarray, " parameter"]
    covariance: Float[np.ndarray, "parameter parameter"]
    covariance_error: Float[np.ndarray, "parameter parameter"]
    evaluations: int  # of the log density


class Marginal(NamedTuple):
    """The distribution function of one parameter."""

    cdf: Float[np.ndarray, " cut"]  # p(parameter <= cut | data)
    error: Float[np.ndarray, " cut"]


class Frame(NamedTuple):
    """Where the mass is: z = mode + L u, and the log density of z at the mode."""

    mode: Float[np.ndarray, " parameter"]
    L: Float[np.ndarray, "parameter parameter"]
    log_peak: float


def real() -> Transform:
    """The whole real line, as it is."""
    return Transform(lambda z: z, lambda x: x, np.zeros_like)


def positive() -> Transform:
    """x = exp(z), above zero."""
    return Transform(np.exp, np.log, lambda z: z)


def softplus() -> Transform:
    """x = log(1 + exp(z)), above zero: another way to the same range."""
    return Transform(lambda z: np.logaddexp(0, z), lambda x: x + np.log(-np.expm1(-x)), special.log_expit)


def between(lower: float, upper: float) -> Transform:
    """x = lower + (upper - lower) / (1 + exp(-z))."""
    width = upper - lower
    return Transform(
        lambda z: lower + width * special.expit(z),
        lambda x: special.logit((np.asarray(x) - lower) / width),
        lambda z: np.log(width) + special.log_expit(z) + special.log_expit(-z),
    )


def integrate_posterior(
    log_density: LogDensity,
    transforms: Sequence[Transform],
    *,
    start: Sequence[float],
    rtol: float = 1e-10,
    rule: str = "gk21",
) -> Posterior:
    """Evidence, means and covariance of the parameters, from the log density of parameters and data.

    `log_density` takes parameters (point, parameter) and returns (point,), in nats. It is asked very far out, down to the
    smallest floats, and is to say -inf where it cannot tell. `start` is a guess of the mode, (parameter,). `rtol` is the
    error asked for, relative to the evidence, of the evidence and of the first and second moments in units of the
    posterior's width. With three parameters `rtol` of 1e-8 takes seconds.
    Raises ValueError for a log density that is NaN or has no mode, RuntimeError if `rtol` is not reached.
    """
    frame = _frame(log_density, transforms, start)
    size = len(transforms)
    centre = _forward(transforms, frame.mode[None])[0]
    # Widths of the parameters themselves: the slope at the mode times the width of z.
    slope = np.exp([transforms[i].log_slope(frame.mode[i]) for i in range(size)])
    width = slope * np.sqrt(np.diag(frame.L @ frame.L.T))
    pairs = np.tril_indices(size)

    def functions(theta: np.ndarray) -> np.ndarray:
        away = (theta - centre) / width
        return np.concatenate([np.ones((len(away), 1)), away, away[:, pairs[0]] * away[:, pairs[1]]], axis=1)

    values, errors, evaluations = _integral(
        log_density, transforms, frame, functions, [1.0] * size, rtol=rtol, rule=rule
    )
    moments, error = values / values[0], errors / values[0]
    error[1:] += abs(moments[1:]) * error[0]
    first, first_error = moments[1 : size + 1], error[1 : size + 1]
    second, second_error = np.zeros((2, size, size))
    for matrix, found in ((second, moments), (second_error, error)):
        matrix[pairs] = matrix.T[pairs] = found[size + 1 :]
    second_error += abs(np.outer(first, first_error)) + abs(np.outer(first_error, first))
    return Posterior(
        log_evidence=float(np.log(values[0]) + frame.log_peak + np.log(np.diag(frame.L)).sum()),
        log_evidence_error=float(error[0]),
        mean=centre + width * first,
        mean_error=width * first_error,
        covariance=np.outer(width, width) * (second - np.outer(first, first)),
        covariance_error=np.outer(width, width) * second_error,
        evaluations=evaluations,
    )


def marginal(
    log_density: LogDensity,
    transforms: Sequence[Transform],
    *,
    start: Sequence[float],
    parameter: int,
    cuts: Sequence[float],
    rtol: float = 1e-10,
    rule: str = "gk21",
) -> Marginal:
    """p(parameter <= cut | data) at increasing cuts inside of the parameter's range; else as `integrate_posterior`.

    An increasing function of a parameter has the same distribution function at the image of the cut. The mass between
    neighbouring cuts is integrated and summed, so the cost is proportional to their number.
    """
    order = [parameter] + [i for i in range(len(transforms)) if i != parameter]

    def reordered(theta: np.ndarray) -> np.ndarray:
        back = np.empty_like(theta)
        back[:, order] = theta
        return log_density(back)

    if (np.diff(cuts) <= 0).any():
        raise ValueError(f"the cuts are to increase; given: {cuts}")
    turned = [transforms[i] for i in order]
    frame = _frame(reordered, turned, [start[i] for i in order])
    u = (turned[0].inverse(np.asarray(cuts, dtype=float)) - frame.mode[0]) / frame.L[0, 0]
    if not np.isfinite(u).all():
        raise ValueError(f"the cuts are to lie inside of the parameter's range; given: {cuts}")
    u = u / SPREAD
    edges = [-1.0, *(2 * u / (1 + np.sqrt(1 + 4 * u**2))), 1.0]
    masses, errors = [], []
    for lower, upper in pairwise(edges):
        ends = [upper] + [1.0] * (len(order) - 1)
        mass = _integral(reordered, turned, frame, _one, ends, rtol=rtol, rule=rule, first_from=lower)
        masses.append(mass[0][0])
        errors.append(mass[1][0])
    below, total, error = np.cumsum(masses)[:-1], sum(masses), sum(errors)
    return Marginal(below / total, (np.cumsum(errors)[:-1] + below / total * error) / total)


def local_level(
    observations: Any,
    level_scale: Float[np.ndarray, " point"],
    observation_scale: Float[np.ndarray, " point"],
    *,
    initial_mean: float,
    initial_scale: float,
    emission_first: bool = True,
) -> Float[np.ndarray, " point"]:
    """log p(y | scales), nats, of a random walk seen with noise, by a Kalman filter, at every point at once.

    `observations` (time,) may hold NaN. With `emission_first` the first one sees the initial level itself, which is
    N(initial_mean, initial_scale^2); otherwise the level moves once before it is seen.
    """
    move, noise = np.square(level_scale), np.square(observation_scale)
    mean = np.full(np.shape(move), float(initial_mean))
    variance = np.full(np.shape(move), float(initial_scale) ** 2) + (0 if emission_first else move)
    log_likelihood = np.zeros(np.shape(move))
    with np.errstate(all="ignore"):
        for y in np.asarray(observations, dtype=float):
            if not np.isnan(y):
                innovation, total = y - mean, variance + noise
                log_likelihood -= (np.log(2 * np.pi * total) + innovation**2 / total) / 2
                mean = mean + variance / total * innovation
                variance = variance * (noise / total)
            variance = variance + move
    # Scales whose squares overflow, or both underflow, are off by hundreds of orders of magnitude.
    absurd = ~np.isfinite(move + noise) | (move + noise == 0)
    return np.where(absurd, -np.inf, log_likelihood)


def _forward(transforms: Sequence[Transform], z: np.ndarray) -> np.ndarray:
    return np.stack([transform.forward(z[:, i]) for i, transform in enumerate(transforms)], axis=1)


def _one(theta: np.ndarray) -> np.ndarray:
    return np.ones((len(theta), 1))


def _log_density_z(log_density: LogDensity, transforms: Sequence[Transform], z: np.ndarray) -> np.ndarray:
    """The log density of z (point, parameter): that of the parameters plus the log slopes; nats."""
    with np.errstate(all="ignore"):  # far out in the tails the parameters overflow, and the density there is zero
        theta = _forward(transforms, z)
        found = log_density(theta) + sum(transform.log_slope(z[:, i]) for i, transform in enumerate(transforms))
    inside = np.isfinite(theta).all(axis=1) & np.isfinite(z).all(axis=1)
    if np.isnan(found[inside]).any():
        raise ValueError(f"the log density is NaN at {theta[inside][np.isnan(found[inside])][0]}")
    return np.where(inside, found, -np.inf)


def _frame(log_density: LogDensity, transforms: Sequence[Transform], start: Sequence[float]) -> Frame:
    """Mode and inverse Hessian in z. Raises ValueError where there is no peak."""

    def height(z: np.ndarray) -> np.ndarray:
        return _log_density_z(log_density, transforms, z)

    z = np.array([transform.inverse(np.float64(value)) for transform, value in zip(transforms, start, strict=True)])
    settings = {"xatol": 1e-6, "fatol": 1e-8, "maxiter": 4000, "maxfev": 4000}
    with np.errstate(all="ignore"):  # a density without a peak leads to infinity
        mode = optimize.minimize(lambda z: -float(height(z[None])[0]), z, method="Nelder-Mead", options=settings).x
    steps = 1e-3 * np.eye(len(mode))
    corners = [
        mode + a * one + b * two for one in steps for two in steps for a, b in [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    ]
    bend = -height(np.array(corners)).reshape(len(mode), len(mode), 4) @ np.array([1, -1, -1, 1]) / 4e-6
    if not np.isfinite(bend).all() or (np.linalg.eigvalsh(bend) <= 0).any():
        raise ValueError(f"the log density has no peak near z = {mode}: start elsewhere, or look at it")
    return Frame(mode, np.linalg.cholesky(np.linalg.inv(bend)), float(height(mode[None])[0]))


def _integral(
    log_density: LogDensity,
    transforms: Sequence[Transform],
    frame: Frame,
    functions: Callable[[np.ndarray], np.ndarray],
    ends: Sequence[float],
    *,
    rtol: float,
    rule: str,
    first_from: float = -1.0,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Integrals over u of functions times the density over its peak, their errors, and the number of points looked at."""
    points = 0

    def integrand(v: np.ndarray) -> np.ndarray:
        nonlocal points
        points += len(v)
        squeeze = (1 - v) * (1 + v)
        z = frame.mode + (SPREAD * v / squeeze) @ frame.L.T
        log_slope = (np.log(SPREAD) + np.log1p(v**2) - 2 * np.log(squeeze)).sum(axis=1)
        weight = np.exp(_log_density_z(log_density, transforms, z) - frame.log_peak + log_slope)
        theta = _forward(transforms, np.where(weight[:, None] > 0, z, frame.mode))
        return functions(theta) * weight[:, None]

    lower = [first_from] + [-1.0] * (len(ends) - 1)
    # The whole integral of a standard normal is (2 pi)^(size / 2); an error is measured against that.
    atol = rtol * (2 * np.pi) ** (len(ends) / 2)
    found = integrate.cubature(integrand, lower, list(ends), rule=rule, rtol=rtol, atol=atol, max_subdivisions=LIMIT)
    if found.status != "converged" or not np.isfinite(found.estimate).all():
        raise RuntimeError(
            f"the quadrature stopped at an error of {found.error}: raise rtol (now {rtol}) or look at the density"
        )
    return np.atleast_1d(found.estimate), np.atleast_1d(found.error), points
