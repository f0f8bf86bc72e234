"""Inverse and pseudo-inverse of covariances that are small or singular, in every step of a scan, and with gradients."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from ppl_worldmodel.exact.whole_batch import whole_batch

REGULAR = 1e-5  # a covariance is inverted where no variable's variance given the others before it is a smaller part of its own


def invert(S: Array) -> tuple[Array, Array]:
    """Inverse and log determinant of a positive definite matrix.

    Matrices of up to four rows are inverted by bordering (row by row, with Schur complements): a call of LAPACK in every step of
    a scan would cost more than the arithmetic.
    """
    inverse, pivots = _inverse(S)
    return inverse, jnp.log(pivots).sum()


def _inverse(S: Array) -> tuple[Array, Array]:
    """The inverse, and the pivots: the variance of each variable given those before it."""
    size = S.shape[-1]
    if size > 4:
        factor = jnp.linalg.cholesky(S)
        return jax.scipy.linalg.cho_solve((factor, True), jnp.eye(size)), jnp.diagonal(factor) ** 2
    inverse, pivots = jnp.zeros((0, 0)), []
    for k in range(size):
        slope = (inverse * S[:k, k]).sum(axis=-1)
        rest = S[k, k] - (S[:k, k] * slope).sum()
        corner = jnp.outer(slope, slope) / rest
        inverse = jnp.block(
            [[inverse + corner, -slope[:, None] / rest], [-slope[None, :] / rest, jnp.reshape(1.0 / rest, (1, 1))]]
        )
        pivots.append(rest)
    return inverse, jnp.stack(pivots)


def pseudo_inverse(covariance: Array) -> Array:
    """Pseudo-inverses of covariances, (time, state, state), that may be singular (P0 = 0, singular Q).

    In units of their own standard deviations. Where every covariance is far from singular, the inverses.
    """
    scale = lax.stop_gradient(jnp.sqrt(jnp.diagonal(covariance, axis1=-2, axis2=-1)))
    scale = jnp.where(scale > 0, scale, 1.0)
    units = scale[..., :, None] * scale[..., None, :]
    correlation = covariance / units
    pivots = jax.vmap(_inverse)(lax.stop_gradient(correlation))[1]
    regular = whole_batch(pivots.min(initial=1.0) > REGULAR)  # False where a NaN is
    return lax.cond(regular, lambda: jax.vmap(_inverse)(correlation)[0], lambda: _moore_penrose(correlation)) / units


@jax.custom_jvp
def _moore_penrose(matrix: Array) -> Array:
    values, vectors = jnp.linalg.eigh(matrix)
    rounding = 4 * values.shape[-1] * jnp.finfo(values.dtype).eps * values.max(axis=-1, keepdims=True)
    inverse = jnp.where(values > rounding, 1.0 / jnp.where(values > rounding, values, 1.0), 0.0)
    return (vectors * inverse[..., None, :]) @ jnp.swapaxes(vectors, -1, -2)


@_moore_penrose.defjvp
def _moore_penrose_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """Golub & Pereyra (1973), eq. 4.12, for symmetric matrices. Unlike eigenvectors it has no pole at equal eigenvalues."""
    (matrix,), (change,) = primals, tangents
    inverse = _moore_penrose(matrix)
    rest = jnp.eye(matrix.shape[-1]) - matrix @ inverse
    outside = inverse @ inverse @ change @ rest
    return inverse, outside + jnp.swapaxes(outside, -1, -2) - inverse @ change @ inverse
