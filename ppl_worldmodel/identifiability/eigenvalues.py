"""Modes of a linear system: moduli and angles of the eigenvalues of its matrix, in falling order.

A mode of eigenvalue r e^(ia) shrinks by the factor r at every step and turns by the angle a: a = 0 decays, a = pi alternates,
others cycle. An eigenvalue that is m-fold without as many eigenvectors is known only to the m-th root of the rounding error: to
1e-8 for a double unit root, as that of a trend.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

SQUARE_ROOT = 1e-8  # of the rounding error


class Modes(NamedTuple):
    """modulus  r, largest first; angle: a in [0, pi], the smallest first where moduli are equal; 0 where r is zero (below 1e-8)"""

    modulus: Float[Array, " mode"]
    angle: Float[Array, " mode"]


def falling(eigenvalues: Complex[Array, " mode"]) -> Modes:
    """Moduli and angles of the eigenvalues, in an order that rounding does not change."""
    modulus = jnp.abs(eigenvalues)
    angle = jnp.where(modulus > SQUARE_ROOT, jnp.abs(jnp.angle(eigenvalues)), 0.0)
    order = jnp.argsort(SQUARE_ROOT * angle - modulus)
    return Modes(modulus[order], angle[order])


def relaxation(modulus: Float[Array, "*mode"], rounding: float) -> Float[Array, "*mode"]:
    """1 / (-log r): steps until a share of 1/e is left.

    0 where r is within `rounding` of 0; infinite where r is within `rounding` of 1, or above 1.
    """
    between = (modulus > rounding) & (modulus < 1.0 - rounding)
    steps = -1.0 / jnp.log(jnp.where(between, modulus, 0.5))
    return jnp.where(between, steps, jnp.where(modulus <= rounding, 0.0, jnp.inf))


def period(angle: Float[Array, " mode"], rounding: float) -> Float[Array, " mode"]:
    """2 pi / a: steps until a mode has turned once; 2 where it alternates, infinite where it does not turn."""
    turns = angle > rounding
    return jnp.where(turns, 2.0 * jnp.pi / jnp.where(turns, angle, 1.0), jnp.inf)
