"""The binomial distribution with exact zeros: outside of its support, and at success probabilities of exactly 0 and 1.

NumPyro clips the probability away from 0 and 1; here p(k) is zero where it is zero, with the gradient that it has there.
"""

from typing import Any

import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array


def log_prob(value: Any, total_count: Any, probs: Any) -> Array:
    """log p(value); -inf, with gradient zero, where it is impossible."""
    k, rest, inside = _counts(value, total_count)
    possible = inside & ((probs > 0) | (k == 0)) & ((probs < 1) | (rest == 0))
    p = jnp.where((probs > 0) & (probs < 1), probs, 0.5)
    logs = jnp.where(probs > 0, k * jnp.log(p), 0.0) + jnp.where(probs < 1, rest * jnp.log1p(-p), 0.0)
    edge = (probs <= 0) | (probs >= 1)
    return jnp.where(possible, _log_coefficient(k, rest) + jnp.where(edge, 0.0, logs), -jnp.inf)


def probability(value: Any, total_count: Any, probs: Any) -> Array:
    """p(value); differentiable in the success probability at 0 and 1, too."""
    k, rest, inside = _counts(value, total_count)
    edge = (probs <= 0) | (probs >= 1)
    p = jnp.where(edge, 0.5, probs)
    within = jnp.exp(_log_coefficient(k, rest) + k * jnp.log(p) + rest * jnp.log1p(-p))
    # At the edges powers have the right value and slope; within, they would underflow before the coefficient makes up for it.
    q = jnp.where(edge, probs, 0.5)
    at_edge = jnp.exp(_log_coefficient(k, rest)) * _power(q, k) * _power(1.0 - q, rest)
    return jnp.where(inside, jnp.where(edge, at_edge, within), 0.0)


def _counts(value: Any, total_count: Any) -> tuple[Array, Array, Array]:
    """Successes and failures (0 and 0 where they are impossible), and where they are possible."""
    value, total = jnp.asarray(value, jnp.float_), jnp.asarray(total_count, jnp.float_)
    inside = (value >= 0) & (value <= total) & (value == jnp.floor(value))
    return jnp.where(inside, value, 0.0), jnp.where(inside, total - value, 0.0), inside


def _log_coefficient(k: Array, rest: Array) -> Array:
    return gammaln(k + rest + 1.0) - gammaln(k + 1.0) - gammaln(rest + 1.0)


def _power(base: Array, exponent: Array) -> Array:
    """base ** exponent, with the slope 0 of base ** 0 also at base 0."""
    return jnp.where(exponent == 0, 1.0, base ** jnp.where(exponent == 0, 1.0, exponent))
