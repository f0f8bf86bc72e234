"""Scores of the one-step predictive: functions of an observation with mean zero, given the history, if the model is right.

Finite states: how far the observation moves the belief, p(s_t = k | y_1:t) - p(s_t = k | y_1:t-1). With r_k = p(y_t | s_t = k) /
p(y_t | y_1:t-1) - 1, the score of the predictive in the weight of state k, this is p(s_t = k | y_1:t-1) r_k, the score in the
logarithm of that weight. It is bounded, however unlikely the state; r_k is not. Its mean is zero because a belief is a martingale.
Where the emission depends on two states, p(y_t | s_t = k) is that of the new one, averaged over the old one given the history.

Gaussian states: with e the innovation, whitened by its predicted covariance: e_i, |e_i| less its mean of sqrt(2 / pi), and e_i e_j.
Divided by their standard deviations these have, given the history, mean zero, unit variance and no covariance. They test the mean,
the scale and the covariance of the predictive. The score in its variance, e_i^2 - 1, tests the scale too, but is so skewed that
five in a thousand series of a hundred steps had a p-value below 0.001; with |e_i| two had, and it found as much.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.exact import FiniteState, LinearGaussian, finite, gaussian, kalman
from ppl_worldmodel.exact.kalman import Belief
from ppl_worldmodel.exact.sequences import each_sequence

ROUNDING = 1e-12  # a belief that moves by less did not move


class Directions(NamedTuple):
    """scores  of each direction, zero where it was not observed
    present  where it was
    rank     how early each direction is tried, from 0
    unit     is their covariance, given the history, known to be the identity?
    log_predictive  log p(y_t | y_1:t-1), NaN where nothing was seen
    """

    scores: Float[np.ndarray, "sequence time direction"]
    present: Bool[np.ndarray, "sequence time direction"]
    rank: tuple[int, ...]
    unit: bool
    log_predictive: Float[np.ndarray, "sequence time"]


def of_finite(system: FiniteState, most: int) -> tuple[Directions, Float[np.ndarray, "sequence time state"]]:
    """At most `most` directions, states whose belief moves most, and the predicted belief in these states.

    One state fewer than there are: the belief in the last one follows from the others.
    """
    beliefs = jax.tree.map(lambda leaf: _by_sequence(leaf, system), finite.filter(system))
    seen = _by_sequence(system.log_likelihood, system) != 0.0
    seen = seen.any(axis=tuple(range(2, seen.ndim)))
    _check(beliefs.log_predictive, seen)
    moves = np.where(seen[..., None], beliefs.filtered - beliefs.predicted, 0.0)
    moves = np.where(np.abs(moves) > ROUNDING, moves, 0.0)
    chosen = np.argsort(-(moves**2).sum(axis=(0, 1)), kind="stable")[: min(most, moves.shape[-1] - 1)]
    present = np.broadcast_to(seen[..., None], (*seen.shape, len(chosen)))
    log_predictive = np.where(seen, beliefs.log_predictive, np.nan)
    found = Directions(moves[..., chosen], present, (0,) * len(chosen), False, log_predictive)
    return found, beliefs.predicted[..., chosen]


def of_gaussian(system: LinearGaussian) -> tuple[Directions, Float[np.ndarray, "sequence time dim_y"]]:
    """All directions, and the whitened innovations, zero where a component is missing."""
    whitened, log_predictive = (_by_sequence(leaf, system) for leaf in _whitened(system))
    defined = np.isfinite(_by_sequence(gaussian.filter(system).predicted, system)).all(axis=-1)
    present = ~np.isnan(_by_sequence(system.observations, system)) & defined[..., None]
    seen = present.any(axis=-1)
    _check(np.where(np.isfinite(whitened).all(axis=-1), log_predictive, -np.inf), seen)
    innovations = np.where(present, whitened, 0.0)
    first, second = np.triu_indices(innovations.shape[-1], 1)
    size = (np.abs(innovations) - np.sqrt(2.0 / np.pi)) / np.sqrt(1.0 - 2.0 / np.pi)
    scores = [innovations, size, innovations[..., first] * innovations[..., second]]
    there = [present, present, present[..., first] & present[..., second]]
    rank = [number for number, each in enumerate(scores) for _ in range(each.shape[-1])]
    both = np.concatenate(there, axis=-1)
    found = Directions(
        np.where(both, np.concatenate(scores, axis=-1), 0.0), both, tuple(rank), True, np.where(seen, log_predictive, np.nan)
    )  # fmt: skip
    return found, innovations


@jax.jit
@each_sequence
def _whitened(system: LinearGaussian) -> tuple[Float[Array, "time dim_y"], Float[Array, " time"]]:
    """The innovations, in units in which their predicted covariance is the identity; the log predictive."""
    beliefs = gaussian.filter(system)
    _, (*_, C, d, R) = kalman.onward(system)

    def one(mean: Array, covariance: Array, y: Array, C: Array, d: Array, R: Array) -> Array:
        innovation, S, *_ = kalman.surprise(Belief(mean, covariance), y, C, d, R)
        return solve_triangular(jnp.linalg.cholesky(S), innovation, lower=True)

    of_all = jax.vmap(one)(beliefs.predicted, beliefs.predicted_covariance, system.observations, C, d, R)
    return of_all, beliefs.log_predictive


def _by_sequence(leaf: Array, system: FiniteState | LinearGaussian) -> np.ndarray:
    """With a leading axis `sequence`, also where there is one series only."""
    return np.asarray(leaf) if system.structure.sequences else np.asarray(leaf)[None]


def _check(log_predictive: np.ndarray, seen: np.ndarray) -> None:
    """Raise DataError where what was seen has no density under the prediction."""
    wrong = seen & ~np.isfinite(log_predictive)
    if wrong.any():
        raise DataError(
            f"the observation at time step {int(wrong.any(axis=0).argmax())} (counted from 0) has no finite density "
            "under the model, which is thereby refuted: check the data there, and the zeros of the model"
        )
