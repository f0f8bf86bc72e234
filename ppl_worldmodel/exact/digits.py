"""Rounding error of an exact result, in reliable decimal digits, by stochastic arithmetic: how rounded inputs change it.

A pass is repeated on copies of the system. In a copy every number, and every belief on the way, is off by one or two units in the
last place. Rounding acts on each copy in another way, so the copies differ by the error of the pass and by the condition of the
problem. Smoothed beliefs of a copy are computed by another algorithm, which inverts no covariance of a state. (The square-root form
has a last place of its own, in its 32nd digit.)
Digits are relative: of a log evidence to its size (at least one nat), of a mean to its size plus its standard deviation, and of a
covariance to the product of its two standard deviations.

Source: Vignes (1993), Mathematics and Computers in Simulation 35 (stochastic arithmetic); Bryson & Frazier (1963).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from ppl_worldmodel.errors import DataError, DigitsLost
from ppl_worldmodel.exact import kalman
from ppl_worldmodel.exact.kalman import Belief, Corrected
from ppl_worldmodel.exact.system import LinearGaussian

ENOUGH = 6.0
COPIES = 2


class Digits(NamedTuple):
    """Decimal digits that can be relied on: a cautious estimate, more are usually right.

    evidence  of the log evidence
    beliefs   of the worst mean or covariance of all time steps; inf where none was asked for
    step      the first time step with fewer than six reliable digits; -1: none
    """

    evidence: np.ndarray
    beliefs: np.ndarray
    step: np.ndarray

    @property
    def least(self) -> float:
        """The fewest digits of evidence and beliefs over all series; NaN counts as zero."""
        return float(np.nan_to_num(np.minimum(self.evidence, self.beliefs)).min())


class Moments(NamedTuple):
    """Means and covariances of beliefs, time first."""

    mean: np.ndarray
    covariance: np.ndarray


class Answer(NamedTuple):
    """The results of a pass that were asked for: log p(y_t | y_1:t-1), predicted and filtered beliefs, smoothed ones."""

    log_predictive: np.ndarray
    beliefs: tuple[Moments, ...]
    smoothed: Moments | None


def nudges(system: LinearGaussian, seed: int) -> LinearGaussian:
    """Random perturbations, in units of the last place: one of -2, -1, 1, 2 for every number of the system."""
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: random.choice([-2.0, -1.0, 1.0, 2.0], np.shape(leaf)), system)


def nudged(system: LinearGaussian, seed: int) -> LinearGaussian:
    """The system with every number perturbed. Zeros stay zero, and covariances stay covariances of the same rank."""
    units, changed = nudges(system, seed), {}
    for name, value in system._asdict().items():
        if name in ("structure", "log_factor") or value is None:
            continue
        array = np.asarray(value)
        by = 1.0 + getattr(units, name) * np.finfo(array.dtype).eps
        if name in ("initial_covariance", "Q", "R"):
            rows = by[..., 0]
            by = rows[..., :, None] * rows[..., None, :]
        changed[name] = (array * by).astype(array.dtype)
    return system._replace(**changed)


def rounding(system: LinearGaussian, seed: int) -> Belief:
    """Relative perturbations of every number of the predicted beliefs at each time step: one or two units in the last place.

    Where a covariance has absorbed small terms, perturbed inputs may change nothing; perturbing its own entries does.
    """
    random, shape = np.random.default_rng(seed), system.observations.shape[:-1]
    size, units = system.initial_mean.shape[-1], np.array([-2.0, -1.0, 1.0, 2.0]) * jnp.finfo(system.A.dtype).eps
    upper = np.triu(random.choice(units, (*shape, size, size)))
    covariance = upper + np.swapaxes(np.triu(upper, 1), -1, -2)
    return Belief(jnp.asarray(random.choice(units, (*shape, size))), jnp.asarray(covariance))


def smoothed_without_inverse(system: LinearGaussian, predicted: Belief, corrected: Corrected) -> Belief:
    """p(x_t | y_1:T) from the score of the later observations: m + P r and P - P N P (Bryson & Frazier 1963)."""
    _, (A, _, _, C, d, R) = kalman.onward(system)

    def step(carry: tuple[Array, Array], inputs: tuple) -> tuple[tuple[Array, Array], Belief]:
        score, information = carry
        ahead, now, y, A, C, d, R = inputs
        score, information = A.T @ score, A.T @ information @ A
        belief = Belief(
            now.mean + now.covariance @ score, now.covariance - now.covariance @ information @ now.covariance
        )
        innovation, S, C, _ = kalman.surprise(ahead, y, C, d, R)
        weights = kalman.invert(S)[0] @ C
        keep = jnp.eye(A.shape[-1]) - ahead.covariance @ C.T @ weights
        return (weights.T @ innovation + keep.T @ score, C.T @ weights + keep.T @ information @ keep), belief

    none = jnp.zeros(A.shape[-1]), jnp.zeros(A.shape[1:])
    now = Belief(corrected.mean, corrected.covariance)
    return lax.scan(step, none, (predicted, now, system.observations, A, C, d, R), reverse=True)[1]


def agreement(found: Answer, copies: list[Answer], diffuse: bool) -> Digits:
    """Digits in which the answer about one series and its copies agree, less a margin because the copies are only two.

    diffuse  whether the first state is diffuse: until the data determine it, NaN is the right belief
    """
    terms, caution = found.log_predictive, 4.0
    with np.errstate(invalid="ignore", over="ignore"):
        rounding, total = np.finfo(terms.dtype).eps * np.abs(terms).sum(), terms.sum()
        off = max(_far(copy.log_predictive.sum() - total).max() for copy in copies)
        evidence = _digits(float((caution * off + rounding) / max(1.0, abs(total))))
        each = [_far((copy.log_predictive - terms) / np.maximum(1.0, np.abs(terms))) for copy in copies]
        beliefs = []
        for kind, belief in enumerate(found.beliefs):
            gap = np.logical_and.accumulate(np.isnan(belief.mean).any(axis=-1)) & diffuse
            beliefs.append(np.where(gap & ~gap[-1], 0.0, _distance(belief, [copy.beliefs[kind] for copy in copies])))
        if found.smoothed is not None:
            beliefs.append(_distance(found.smoothed, [copy.smoothed for copy in copies if copy.smoothed is not None]))
    lost = caution * np.max([*each, *beliefs], axis=0) > 10.0**-ENOUGH
    count = _digits(float(caution * np.max(beliefs))) if beliefs else np.inf
    return Digits(np.asarray(evidence), np.asarray(count), np.asarray(lost.argmax() if lost.any() else -1))


def _far(difference: Any) -> np.ndarray:
    """Absolute differences; NaN counts as infinite."""
    return np.where(np.isnan(difference), np.inf, np.abs(difference))


def _distance(belief: Moments, copies: list[Moments]) -> np.ndarray:
    """The largest relative difference at each time step; infinite where a covariance is not positive semi-definite."""
    mean, covariance = belief
    variance = np.diagonal(covariance, axis1=-2, axis2=-1)
    spread, least = np.sqrt(np.maximum(variance, 0.0)), np.finfo(mean.dtype).tiny
    size = np.maximum(np.abs(mean) + spread, least)
    units = np.maximum(spread[:, :, None] * spread[:, None, :], least)
    far = np.where(_is_positive(covariance, variance), 0.0, np.inf)
    for copy in copies:
        means, covariances = _far((copy.mean - mean) / size), _far((copy.covariance - covariance) / units)
        far = np.maximum(far, np.maximum(means.max(axis=-1), covariances.max(axis=(-2, -1))))
    return far


def _is_positive(covariance: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Is it positive semi-definite, up to the rounding of its entries?"""
    spread = np.sqrt(np.where(variance > 0, variance, 1.0))
    correlation = covariance / spread[:, :, None] / spread[:, None, :]
    finite = np.isfinite(correlation).all(axis=(-2, -1))
    least = np.linalg.eigvalsh(np.where(finite[:, None, None], correlation, 0.0)).min(axis=-1)
    rounding = 16 * variance.shape[-1] * np.finfo(variance.dtype).eps
    return finite & (least >= -rounding) & (variance >= 0).all(axis=-1)


def refuse(digits: Digits, log_predictive: Array) -> None:
    """Raise DigitsLost where fewer than six digits can be relied on, DataError where an observation has no density."""
    if digits.least >= ENOUGH:
        return
    certain = np.isnan(np.asarray(log_predictive)).reshape(-1, np.shape(log_predictive)[-1]).any(axis=0)
    if certain.any():
        raise DataError(
            f"the observation at time step {int(certain.argmax())} (counted from 0) has no density: given the observations before "
            "it, its variance is zero; give the emission noise, or leave out what is observed twice"
        )
    worst = int(np.nan_to_num(np.minimum(np.atleast_1d(digits.evidence), np.atleast_1d(digits.beliefs))).argmin())
    step = int(np.atleast_1d(digits.step)[worst])
    series = f" of series {worst}" if np.ndim(digits.step) else ""
    raise DigitsLost(
        f"from time step {step} (counted from 0){series} on, the exact recursion keeps {max(0.0, digits.least):.1f} decimal digits "
        "and should keep 6, even in the square-root form with some 32 digits of arithmetic: some variances are too large or too "
        "small beside others (the prior's, the noise's, the columns' of C); change the units of the data, or narrow the prior"
    )


def _digits(error: float) -> float:
    return max(0.0, float(-np.log10(max(error, 4.0 * np.finfo(float).eps)))) if error < np.inf else 0.0
