"""How do two states look side by side, if each has coordinates of its own?  The same system in another basis, and the best basis.

The likelihood does not say which coordinates a linear-Gaussian state has; a comparison of two paths of states has to choose. The
map is found from the paths alone (smoothed means, say), and what it cannot explain is returned with it: two states that mean
different things stay different.

Source: Schoenemann (1966), Psychometrika 31 (the orthogonal map); Kalman (1963), SIAM J. Control 1 (what is equivalent).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.linalg import orthogonal_procrustes

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.exact import LinearGaussian
from ppl_worldmodel.exact.kalman import symmetric


class Alignment(NamedTuple):
    """reference = M x + offset, as far as it goes.

    residual  the share of the variance of each of the reference's coordinates that is not met: 0 the same state, 1 as bad as a
              constant (orthogonal maps may be worse); 0 of a coordinate that is met and never varies
    """

    M: Float[np.ndarray, "dim_ref dim_x"]
    offset: Float[np.ndarray, " dim_ref"]
    residual: Float[np.ndarray, " dim_ref"]


def change_basis(system: LinearGaussian, M: Float[Array | np.ndarray, "dim_x dim_x"]) -> LinearGaussian:
    """The same system in the coordinates x~ = M x of its state (of all series alike); a state's `extra` coordinates stay.

    Raises DataError if M has another size than the state, or no inverse.
    """
    size, extra = system.initial_mean.shape[-1] - system.structure.extra, system.structure.extra
    if M.shape != (size, size):
        raise DataError(
            f"the new basis M has shape {M.shape}, the state has {size} dimensions: expected {(size, size)}"
        )
    if not isinstance(M, jax.core.Tracer) and not np.linalg.cond(M) < 1.0 / np.finfo(float).eps:
        raise DataError(
            f"the new basis M =\n{M}\nhas no inverse: coordinates that say less than the old ones are no basis"
        )
    into = jax.scipy.linalg.block_diag(jnp.asarray(M), jnp.eye(extra))
    back = jnp.linalg.inv(into)
    return system._replace(
        initial_mean=system.initial_mean @ into.T,
        initial_covariance=symmetric(into @ system.initial_covariance @ into.T),
        A=into @ system.A @ back,
        b=system.b @ into.T,
        Q=symmetric(into @ system.Q @ into.T),
        C=system.C @ back,
        diffuse=None if system.diffuse is None else into @ system.diffuse,
    )


def align_basis(
    means: Float[Array | np.ndarray, "time dim_x"],
    reference: Float[Array | np.ndarray, "time_ref dim_ref"],
    *,
    orthogonal: bool = True,
) -> Alignment:
    """The linear map that brings a path of states (smoothed means of one system) nearest to that of another.

    orthogonal  a rotation or reflection between the two paths, each centred and with unit covariance, so that the map keeps what
                the path says about its spread, and neither of the two counts as noise; False: least squares, which shrinks what
                it cannot explain, and maps states of any dimension

    A direction in which a path never varies cannot be told from its time course: M is zero there.
    Raises DataError if the paths have different lengths, too few steps or gaps, or, for an orthogonal map, other dimensions.
    """
    own, other = np.asarray(means, float), np.asarray(reference, float)
    if len(own) != len(other):
        raise DataError(f"the paths have {len(own)} and {len(other)} steps: align beliefs about the same data")
    if len(own) <= max(own.shape[1], other.shape[1]):
        raise DataError(f"{len(own)} steps do not determine a map of {own.shape[1]} dimensions: expected more steps")
    if not (np.isfinite(own).all() and np.isfinite(other).all()):
        raise DataError("the paths have steps without a belief (NaN or infinite): leave these steps out of both")
    if orthogonal and own.shape != other.shape:
        raise DataError(
            f"an orthogonal map needs states of one dimension, not of {own.shape[1]} and {other.shape[1]}: orthogonal=False"
        )
    x, y = own - own.mean(axis=0), other - other.mean(axis=0)
    if orthogonal:
        (whiten, _), (whiten_other, colour) = _roots(x), _roots(y)
        turn, _ = orthogonal_procrustes(x @ whiten, y @ whiten_other)
        M = (whiten @ turn @ colour).T
    else:
        scale = np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
        M = (np.linalg.lstsq(x / scale, y, rcond=None)[0] / scale[:, None]).T
    rest, variance = ((y - x @ M.T) ** 2).mean(axis=0), (y**2).mean(axis=0)
    residual = np.where(variance > 0, rest / np.where(variance > 0, variance, 1.0), np.where(rest > 0, np.inf, 0.0))
    return Alignment(M, other.mean(axis=0) - M @ own.mean(axis=0), residual)


def carry_over(
    alignment: Alignment,
    means: Float[Array | np.ndarray, "*lead dim_x"],
    covariances: Float[Array | np.ndarray, "*lead dim_x dim_x"],
) -> tuple[Float[np.ndarray, "*lead dim_ref"], Float[np.ndarray, "*lead dim_ref dim_ref"]]:
    """Beliefs in the coordinates of the reference."""
    M = alignment.M
    return np.asarray(means) @ M.T + alignment.offset, M @ np.asarray(covariances) @ M.T


def _roots(path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """W and its inverse, symmetric in units of the standard deviations, with path @ W of unit covariance."""
    scale = np.where(path.std(axis=0) > 0, path.std(axis=0), 1.0)
    values, vectors = np.linalg.eigh((path / scale).T @ (path / scale) / len(path))
    varies = values > len(values) * np.finfo(float).eps * max(values.max(), 0.0)
    root = np.where(varies, np.sqrt(np.where(varies, values, 1.0)), 0.0)
    inverse = np.where(varies, 1.0 / np.where(varies, root, 1.0), 0.0)
    return (vectors * inverse) @ vectors.T / scale[:, None], (vectors * root) @ vectors.T * scale
