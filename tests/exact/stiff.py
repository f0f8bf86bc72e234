"""Stiff systems, and how many decimal digits of an answer are right: against rational arithmetic."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from ppl_worldmodel.exact.system import LinearGaussian, Order, Structure

from ..references import rational
from .systems import textbook


def two_sensors(
    prior: float, noise: float, apart: float, order: Order = "transition first", steps: int = 6
) -> LinearGaussian:
    """Level and slope seen by two sensors whose rows of C differ by `apart`; Q has rank one, exactly; one value is missing."""
    random, push = np.random.default_rng(0), np.array([0.5, 1.0])
    A, C = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 0.5], [1.0, 0.5 + apart]])
    state, seen = np.sqrt(prior) * random.normal(size=2), []
    for _ in range(steps):
        state = A @ state + 0.25 * push * random.normal()
        seen.append(C @ state + np.sqrt(noise) * random.normal(size=2))
    y = np.array(seen)
    y[3, 1] = np.nan
    return LinearGaussian(
        jnp.zeros(2), prior * jnp.eye(2), jnp.array(A), jnp.zeros(2), jnp.array(np.outer(push, push) / 16), jnp.array(C),
        jnp.zeros(2), noise * jnp.eye(2), jnp.array(y), Structure(order=order),
    )  # fmt: skip


def raw_columns(prior: float) -> LinearGaussian:
    """A regression: constant coefficients, columns of size 1, 1e3 and 1e6, known noise."""
    random, steps = np.random.default_rng(1), 8
    C = np.stack([np.ones(steps), 1e3 * random.normal(size=steps), 1e6 + 1e4 * random.normal(size=steps)], axis=1)
    y = C @ np.array([2.0, 3e-3, 1e-6]) + random.normal(size=steps)
    return LinearGaussian(
        jnp.zeros(3), prior * jnp.eye(3), jnp.eye(3), jnp.zeros(3), jnp.zeros((3, 3)), jnp.array(C[:, None, :]),
        jnp.zeros(1), jnp.eye(1), jnp.array(y[:, None]), Structure(order="emission first", varying=frozenset("C")),
    )  # fmt: skip


def right_digits(system: LinearGaussian, found: Any) -> tuple[float, float]:
    """Of the log evidence and of the worst belief of a `SmoothedBeliefs`."""
    y, arguments = np.asarray(system.observations), textbook(system)
    expected = rational.kalman_filter(y, **arguments)
    past = rational.kalman_smoother(y, **arguments)
    worst = [0.0]
    for kind, mean, covariance in (
        ("predicted", expected.predicted_mean, expected.predicted_covariance),
        ("filtered", expected.filtered_mean, expected.filtered_covariance),
        ("smoothed", past.mean, past.covariance),
    ):
        mean, covariance = np.array(rational.floats(mean)), np.array(rational.floats(covariance))
        spread = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
        size, units = np.abs(mean) + spread, spread[:, :, None] * spread[:, None, :]
        worst.append(np.abs((np.asarray(getattr(found, kind)) - mean) / size).max())
        worst.append(np.abs((np.asarray(getattr(found, f"{kind}_covariance")) - covariance) / units).max())
    evidence = abs(float(found.log_evidence) - expected.log_evidence) / max(1.0, abs(expected.log_evidence))
    return digits(evidence), digits(max(worst))


def digits(error: float) -> float:
    return float(-np.log10(max(error, 1e-17))) if np.isfinite(error) else -np.inf
