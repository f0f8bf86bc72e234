"""Scores of a program, s_t = d log p(y_t | y_1:t-1, z) / dz: exact gradients of the one-step terms, and their scales.

They are exact because the one-step terms are; so is the derivative of the parameters' own entries with respect to z. Draws from the
prior say how far z and the entries are likely to move.

Source: Cappe, Moulines & Ryden (2005), Inference in Hidden Markov Models, chapter 10 (the score); the derivatives are taken forward
through the filter by JAX.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ppl_worldmodel.compiled import quickly
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.program.coordinates import Parameters, coordinates, entry_names
from ppl_worldmodel.program.reading import Reading
from ppl_worldmodel.program.system import log_predictive


class Slopes(NamedTuple):
    """labels, value  names and values of the entries of the parameters
    scores  s_t of every step of every series, in the coordinates z; zero where nothing was seen
    moves   the derivative of the entries with respect to z
    spread  of z under the prior: half the width of the central 68 % of its draws, robust to heavy tails
    prior   draws of the entries from the prior; NaN where that is improper
    """

    labels: list[str]
    value: Float[np.ndarray, " entry"]
    scores: Float[np.ndarray, "step size"]
    moves: Float[np.ndarray, "entry size"]
    spread: Float[np.ndarray, " size"]
    prior: Float[np.ndarray, "draw entry"]


def slopes(
    reading: Reading,
    parameters: Mapping[str, Any],
    key: Array,
    *,
    num_prior: int = 200,
) -> Slopes:
    """The scores of a program's one-step terms on its data, at these values of its parameters.

    Raises DataError for values on the edge of their support and for an impossible observation: there is no score.
    """

    space = coordinates(reading)

    def terms(
        z: Array,
    ) -> Array:  # of each series: their sum may have fewer steps than there are parameters
        return log_predictive(reading.at(space.constrain(z))).ravel()

    def flat(z: Array) -> Array:
        return _stacked(space.constrain(z))

    def drawn(key: Array) -> tuple[Array, Array]:
        z = space.draw(key)
        return z, flat(z)

    def everything(values: Parameters, keys: Array) -> tuple[Array, ...]:
        z = space.unconstrain(values)
        return z, terms(z), jax.jacfwd(terms)(z), jax.jacfwd(flat)(z), *jax.lax.map(drawn, keys)

    values = {name: jnp.asarray(parameters[name], float) for name in space.names}
    keys = jax.random.split(key, num_prior)
    # Compiled to be run once: optimising it would take longer than it saves.
    once = quickly(everything, values, keys)
    z, log_terms, scores, moves, prior_z, prior = map(np.asarray, once(values, keys))
    labels, spread = entry_names(values), _spread(prior_z)
    _check_inside(labels, z, moves * spread, _spread(prior))
    _check_slope(log_terms, scores)
    improper = np.concatenate([np.full(jnp.size(values[name]), name in space.improper) for name in space.names])
    value = np.asarray(_stacked(values))
    return Slopes(labels, value, scores, moves, spread, np.where(improper, np.nan, prior))


def _stacked(values: Parameters) -> Array:
    """All entries in one vector."""
    return jnp.concatenate([jnp.ravel(value).astype(float) for value in values.values()])


def _spread(draws: Float[np.ndarray, "draw size"]) -> Float[np.ndarray, " size"]:
    """Half the width of the central 68 % interval; one where that is not a positive number."""
    low, high = np.quantile(draws, [0.16, 0.84], axis=0, method="inverted_cdf")
    with np.errstate(invalid="ignore"):
        half = (high - low) / 2.0
    return np.where(np.isfinite(half) & (half > 0), half, 1.0)


def _check_inside(labels: list[str], z: np.ndarray, moves: np.ndarray, spread: np.ndarray) -> None:
    """Raise DataError for an entry that does not move with z but does under the prior: NumPyro keeps z finite on an edge."""
    rounding = 16 * np.finfo(z.dtype).eps
    stuck = ~np.isfinite(moves).all(axis=1) | (np.linalg.norm(moves, axis=1) <= rounding * spread)
    if stuck.any() or not np.isfinite(z).all():
        named = ", ".join(label for label, edge in zip(labels, stuck, strict=True) if edge) or "the parameters"
        raise DataError(
            f"the value of {named} lies on the edge of its support, where the likelihood has no slope: give a value inside it"
        )


def _check_slope(terms: np.ndarray, scores: np.ndarray) -> None:
    """Raise DataError at the first step that has no score."""
    wrong = ~np.isfinite(terms) | ~np.isfinite(scores).all(axis=1)
    if wrong.any():
        step = int(wrong.argmax())
        raise DataError(
            f"the log likelihood of step {step} (counted from 0, series after series) is {terms[step]:.3g} at these parameters, "
            "and has no slope: give values under which the data are possible"
        )
