"""Conjugate full conditionals: parameters whose log density has the slope of a family that can be drawn from.

Nothing is matched by name: the slope of the log joint density is taken at two fixed values of the parameter, the family's numbers
follow from these two, and `misfit` says by how much they fail at other values. A family is tried by the support of the site.

Source: Gelman et al. (2013), Bayesian Data Analysis, chapters 2 and 3 and appendix A, for the families.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array
from numpyro.distributions import constraints

Slope = Callable[[Array], Array]


class Family(NamedTuple):
    """name       what to call it
    read       (slope of the log density, a value for the shape) -> the numbers of the family
    slope      (these numbers, value) -> the slope that they imply
    along      the part of a slope, at a value, that moves within the support
    drawn_from  these numbers -> a distribution of the site's shape
    """

    name: str
    read: Callable[[Slope, Array], Any]
    slope: Callable[[Any, Array], Array]
    drawn_from: Callable[[Any], dist.Distribution]
    along: Callable[[Array, Array], Array] = lambda slope, value: slope


def families(support: Any) -> tuple[Family, ...]:
    """The families to try for a site with this support; none for one that is never conjugate."""
    base = support
    while hasattr(base, "base_constraint"):
        base = base.base_constraint
    if base is constraints.simplex:
        return (DIRICHLET,)
    bounds = [getattr(base, name, None) for name in ("lower_bound", "upper_bound")]
    if all(isinstance(bound, (int, float)) for bound in bounds) and bounds == [0.0, 1.0]:
        return (BETA,)
    if base in (constraints.positive, constraints.nonnegative, constraints.softplus_positive):
        return (GAMMA, INVERSE_GAMMA)
    if base in (constraints.real, constraints.real_vector, constraints.real_matrix):
        return (NORMAL,)
    if base is constraints.positive_definite:
        return (WISHART, INVERSE_WISHART)
    return ()


def misfit(family: Family, slope: Slope, values: Array) -> Array:
    """By how much does the slope differ from the family's, relative to its size?  The largest over some values of the parameter."""
    numbers = family.read(slope, values[0])

    def off(value: Array) -> Array:
        found, implied = (family.along(each, value) for each in (slope(value), family.slope(numbers, value)))
        return jnp.abs(found - implied).max() / (1.0 + jnp.abs(implied).max())

    return jax.vmap(off)(values).max()


def _within_simplex(slope: Array, value: Array) -> Array:
    """The slope along the logarithms of the entries, which are normalised."""
    weighted = value * slope
    return weighted - value * weighted.sum(axis=-1, keepdims=True)


def _at_both(slope: Slope, one: Array, two: Array) -> tuple[Array, Array]:
    """The slope at two values, compiled once."""
    both = jax.vmap(slope)(jnp.stack([one, two]))
    return both[0], both[1]


def _read_dirichlet(slope: Slope, like: Array) -> Array:
    """At p along the logarithms the slope is (a_k - 1) - p_k sum(a - 1); the sum follows from two values of p."""
    count = like.shape[-1]
    even = jnp.full(like.shape, 1.0 / count)
    tilted = jnp.broadcast_to(jnp.arange(1.0, count + 1.0) / (count * (count + 1) / 2), like.shape)
    at_even, at_tilted = (
        _within_simplex(each, at) for each, at in zip(_at_both(slope, even, tilted), (even, tilted), strict=True)
    )
    apart = tilted - even
    if count == 1:  # the one value that there is has any concentration
        return jnp.ones(like.shape)
    total = ((at_even - at_tilted) * apart).sum(axis=-1, keepdims=True) / (apart**2).sum(axis=-1, keepdims=True)
    return 1.0 + at_even + even * total


def _read_beta(slope: Slope, like: Array) -> tuple[Array, Array]:
    low, high = _at_both(slope, jnp.full(like.shape, 0.25), jnp.full(like.shape, 0.75))
    return 1.0 + 3.0 * (3.0 * low - high) / 32.0, 1.0 + 3.0 * (low - 3.0 * high) / 32.0


def _read_gamma(slope: Slope, like: Array) -> tuple[Array, Array]:
    one, two = _at_both(slope, jnp.ones(like.shape), jnp.full(like.shape, 2.0))
    return 1.0 + 2.0 * (one - two), one - 2.0 * two


def _read_inverse_gamma(slope: Slope, like: Array) -> tuple[Array, Array]:
    one, two = _at_both(slope, jnp.ones(like.shape), jnp.full(like.shape, 2.0))
    return one - 4.0 * two - 1.0, 2.0 * one - 4.0 * two


def _read_normal(slope: Slope, like: Array) -> tuple[Array, Array]:
    """Mean, of the site's shape, and precision of its entries, (entry, entry)."""

    def flat(vector: Array) -> Array:
        return slope(vector.reshape(like.shape)).reshape(-1)

    zero = jnp.zeros(like.size)
    precision = -jax.jacfwd(flat)(zero)
    return jnp.linalg.solve(precision, flat(zero)).reshape(like.shape), precision


def _normal(numbers: tuple[Array, Array]) -> dist.Distribution:
    mean, precision = numbers
    whole = dist.MultivariateNormal(mean.reshape(-1), precision_matrix=precision)
    return dist.TransformedDistribution(whole, dist.transforms.ReshapeTransform(mean.shape, (mean.size,)))


def _symmetric(matrix: Array) -> Array:
    return (matrix + jnp.swapaxes(matrix, -1, -2)) / 2.0


def _at_multiples(slope: Slope, like: Array) -> tuple[Array, Array, Array]:
    """The identity matrix, and the slopes there and at twice it."""
    eye = jnp.broadcast_to(jnp.eye(like.shape[-1]), like.shape)
    one, two = _at_both(slope, eye, 2.0 * eye)
    return eye, _symmetric(one), _symmetric(two)


def _read_wishart(slope: Slope, like: Array) -> tuple[Array, Array]:
    """Degrees of freedom and the inverse of the scale: the slope is (n - p - 1)/2 X^-1 - V^-1 / 2."""
    eye, one, two = _at_multiples(slope, like)
    power = 2.0 * _mean_diagonal(one - two)
    return 2.0 * power + like.shape[-1] + 1.0, 2.0 * (power[..., None, None] * eye - one)


def _read_inverse_wishart(slope: Slope, like: Array) -> tuple[Array, Array]:
    """Degrees of freedom and scale: the slope is -(n + p + 1)/2 X^-1 + X^-1 S X^-1 / 2."""
    eye, one, two = _at_multiples(slope, like)
    power = -_mean_diagonal(4.0 * two - one)
    return 2.0 * power - like.shape[-1] - 1.0, 2.0 * (one + power[..., None, None] * eye)


def _mean_diagonal(matrix: Array) -> Array:
    return jnp.trace(matrix, axis1=-2, axis2=-1) / matrix.shape[-1]


def _slope_wishart(numbers: tuple[Array, Array], value: Array) -> Array:
    degrees, inverse_scale = numbers
    power = (degrees - value.shape[-1] - 1.0) / 2.0
    return power[..., None, None] * jnp.linalg.inv(value) - inverse_scale / 2.0


def _slope_inverse_wishart(numbers: tuple[Array, Array], value: Array) -> Array:
    degrees, scale = numbers
    inverse = jnp.linalg.inv(value)
    power = (degrees + value.shape[-1] + 1.0) / 2.0
    return inverse @ scale @ inverse / 2.0 - power[..., None, None] * inverse


DIRICHLET = Family(
    "Dirichlet", _read_dirichlet, lambda a, p: (a - 1.0) / p, lambda a: dist.Dirichlet(a), _within_simplex
)
BETA = Family("beta", _read_beta, lambda n, p: (n[0] - 1.0) / p - (n[1] - 1.0) / (1.0 - p), lambda n: dist.Beta(*n))
GAMMA = Family("gamma", _read_gamma, lambda n, x: (n[0] - 1.0) / x - n[1], lambda n: dist.Gamma(*n))
INVERSE_GAMMA = Family(
    "inverse gamma", _read_inverse_gamma, lambda n, x: -(n[0] + 1.0) / x + n[1] / x**2, lambda n: dist.InverseGamma(*n)
)
NORMAL = Family("normal", _read_normal, lambda n, x: (n[1] @ (n[0] - x).reshape(-1)).reshape(x.shape), _normal)
WISHART = Family(
    "Wishart", _read_wishart, _slope_wishart,
    lambda n: dist.Wishart(n[0], rate_matrix=n[1]), lambda slope, _: _symmetric(slope),
)  # fmt: skip
INVERSE_WISHART = Family(
    "inverse Wishart", _read_inverse_wishart, _slope_inverse_wishart,
    lambda n: dist.InverseWishart(n[0], scale_matrix=n[1]), lambda slope, _: _symmetric(slope),
)  # fmt: skip
