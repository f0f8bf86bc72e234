"""Inverse and pseudo-inverse of covariances that are small or singular, in every step of a scan, and with gradients."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array


def invert(S: Array) -> tuple[Array, Array]:
    """Inverse and log determinant of a positive definite matrix.

    Matrices of up to four rows are inverted by bordering (row by row, with Schur complements): a call of LAPACK in every step of
    a scan would cost more than the arithmetic.
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


def pseudo_inverse(covariance: Array) -> Array:
    """Pseudo-inverse of covariances that may be singular (P0 = 0, singular Q), in units of their own standard deviations."""
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
    """Golub & Pereyra (1973), eq. 4.12, for symmetric matrices. Unlike eigenvectors it has no pole at equal eigenvalues."""
    (matrix,), (change,) = primals, tangents
    inverse = _moore_penrose(matrix)
    rest = jnp.eye(matrix.shape[-1]) - matrix @ inverse
    outside = inverse @ inverse @ change @ rest
    return inverse, outside + jnp.swapaxes(outside, -1, -2) - inverse @ change @ inverse
