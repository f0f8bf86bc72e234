"""Square-root Kalman filter and smoother in double-double arithmetic, where covariances would lose their digits.

A belief is x = mean + reach delta + root noise: noise is standard normal, delta has a flat density (of a diffuse first state).
Observing one number is a projection (`exact.projection`). Nothing is inverted, so singular noise, known states and observations
without noise are no special cases.

Source: Bierman (1977), Factorization Methods for Discrete Sequential Estimation, chapters 5 and 6; Park & Kailath (1995), IEEE
Transactions on Automatic Control 40 (smoother); Koopman & Durbin (2000), Journal of Time Series Analysis 21 (diffuse start).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from ppl_worldmodel.exact import double_double as dd
from ppl_worldmodel.exact import kalman
from ppl_worldmodel.exact.double_double import Pair
from ppl_worldmodel.exact.kalman import Belief, Corrected, Smoothed
from ppl_worldmodel.exact.projection import Factored, cleaned, compressed, condition, rank, reference
from ppl_worldmodel.exact.system import LinearGaussian


class Moves(NamedTuple):
    """The move to the state at t, x = A x' + b + push noise, and the emission from there, y = C x + d + noise noise, time first."""

    A: Pair
    b: Pair
    push: Pair
    C: Pair
    d: Pair
    noise: Pair
    y: Pair


class Forward(NamedTuple):
    """Factored beliefs before and after each observation, and log p(y_t | y_1:t-1) as far as it has a density."""

    predicted: Factored
    filtered: Factored
    log_terms: Array


def beliefs(
    system: LinearGaussian, smooth: bool, units: LinearGaussian | None = None
) -> tuple[Belief, Corrected, Smoothed | None, Array]:
    """Predicted, filtered and (if asked for) smoothed beliefs in floats, and whether a diffuse first state stays undetermined.

    Until the data determine a diffuse first state, the log predictive is zero. The step that determines it has the density of all
    observations up to it.
    """
    found, moves = forward(system, units)
    open_, terms = found.filtered.unseen > 0, found.log_terms
    until = jnp.where(open_, 0.0, terms.cumsum())
    starts = jnp.concatenate([jnp.ones(1, bool), open_[:-1]])
    terms = jnp.where(open_, 0.0, jnp.where(starts, until, terms))
    terms = terms.at[-1].add(jnp.where(open_[-1], jnp.nan, 0.0))
    corrected = Corrected(*moments(found.filtered), terms)
    past = None
    if smooth:
        smoothed, gains = backward(found, moves)
        past = Smoothed(*moments(smoothed), gains.high)
    return Belief(*moments(found.predicted)), corrected, past, open_[-1]


def forward(system: LinearGaussian, units: LinearGaussian | None = None) -> tuple[Forward, Moves]:
    """Factored beliefs for every t.

    units  perturbations of every input, in units of its last place (of some 32 digits): see `exact.digits`
    """
    initial, moves = _prepared(system, units)

    def step(filtered: Factored, move: Moves) -> tuple[Factored, tuple]:
        predicted = _predict(filtered, move)
        filtered, log_term = _observe(predicted, move)
        return filtered._replace(root=compressed(filtered.root)), (predicted, filtered, log_term)

    return Forward(*lax.scan(step, initial, moves)[1]), moves


def backward(found: Forward, moves: Moves) -> tuple[Factored, Pair]:
    """Factored beliefs given all observations for every t, and the gains from t + 1 back to t."""
    last = jax.tree.map(lambda series: series[-1], found.filtered)
    last = last._replace(root=compressed(last.root))
    size = last.root.shape[0]

    def step(following: Factored, inputs: tuple[Factored, Factored, Moves]) -> tuple[Factored, tuple[Factored, Pair]]:
        filtered, ahead, move = inputs
        gain, given = _given_next(filtered, move)
        across = dd.join([following.root, following.reach, dd.subtract(following.mean, ahead.mean)[:, None]], axis=1)
        across = dd.product(gain, across)
        root = compressed(dd.join([across[:, :size], given.root], axis=1))
        reach = dd.add(across[:, size:-1], given.reach)
        smoothed = Factored(dd.add(filtered.mean, across[:, -1]), reach, root, following.unseen)
        return smoothed, (smoothed, gain)

    _, (earlier, gains) = lax.scan(step, last, _backwards(found, moves), reverse=True)
    last = jax.tree.map(lambda end: end[None], last)
    return jax.tree.map(lambda series, end: jnp.concatenate([series, end]), earlier, last), gains


def sample(found: Forward, moves: Moves, key: Array, num_paths: int) -> Array:
    """Draws of x_1:T given all observations, (draw, time, dim_x): the last state, then each one given the next."""
    last = jax.tree.map(lambda series: series[-1], found.filtered)
    keys = jax.random.split(key, found.log_terms.shape[0])

    def drawn(mean: Pair, root: Pair, key: Array) -> Pair:
        noise = jax.random.normal(key, (num_paths, root.shape[1]))
        return dd.add(mean, dd.pair(noise @ root.high.T))

    def step(following: Pair, inputs: tuple) -> tuple[Pair, Array]:
        (filtered, ahead, move), key = inputs
        gain, given = _given_next(filtered, move)
        shift = dd.product(dd.subtract(following, ahead.mean[None]), dd.transpose(gain))
        state = drawn(dd.add(filtered.mean[None], shift), given.root, key)
        return state, state.high

    end = drawn(last.mean[None], last.root, keys[-1])
    _, earlier = lax.scan(step, end, (_backwards(found, moves), keys[:-1]), reverse=True)
    return jnp.swapaxes(jnp.concatenate([earlier, end.high[None]]), 0, 1)


def moments(belief: Factored) -> tuple[Array, Array]:
    """Means and covariances in floats of beliefs, time first; NaN until delta is determined."""
    gap = belief.unseen > 0
    covariance = dd.product(belief.root, dd.transpose(belief.root)).high
    return jnp.where(gap[:, None], jnp.nan, belief.mean.high), jnp.where(gap[:, None, None], jnp.nan, covariance)


def factor(covariance: Array, other: Array | float = 0.0) -> Pair:
    """A lower triangular matrix with L L' = covariance, also where the covariance is singular; several have leading axes.

    A covariance that rounding has made indefinite has a negative pivot. The pivot counts as zero, or as its size times `other`:
    if the results of the two differ, digits are lost.
    """
    size, whole = covariance.shape[-1], jnp.abs(jnp.diagonal(covariance, axis1=-2, axis2=-1))
    one, none = dd.pair(jnp.ones_like(whole[..., 0])), dd.pair(jnp.zeros_like(covariance[..., 0]))

    def eliminate(i: Array, carry: tuple[Pair, Pair]) -> tuple[Pair, Pair]:
        rest, found = carry
        pivot = rest[..., i, i]
        pivot = dd.select(pivot.high < 0, dd.pair(-other * pivot.high), pivot)
        positive = pivot.high > rank() * whole[..., i]
        root = dd.square_root(dd.select(positive, pivot, one))
        column = dd.multiply(rest[..., :, i], dd.divide(one, root)[..., None])
        column = dd.select((jnp.arange(size) >= i) & positive[..., None], column, none)
        rest = dd.subtract(rest, dd.multiply(column[..., :, None], column[..., None, :]))
        return rest, jax.tree.map(lambda all, one: all.at[..., :, i].set(one), found, column)

    start = dd.pair(covariance), dd.pair(jnp.zeros_like(covariance))
    return lax.fori_loop(0, size, eliminate, start)[1]


def _prepared(system: LinearGaussian, units: LinearGaussian | None) -> tuple[Factored, Moves]:
    """The belief before the first move, and the moves, as pairs. Where the emission comes first, the first move does nothing."""
    varying, steps, size = system.structure.varying, system.observations.shape[0], system.initial_mean.shape[-1]

    def off(value: Pair, name: str) -> Pair:
        if units is None:
            return value
        return dd.Pair(value.high, value.low + jnp.finfo(value.high.dtype).eps ** 2 * getattr(units, name) * value.high)

    other = 0.0 if units is None else jnp.minimum(jnp.abs(units.initial_mean).max(), 1.0)
    push, noise, root = _factors([system.Q, system.R, system.initial_covariance], other)
    arrays = {name: off(dd.pair(getattr(system, name)), name) for name in "AbCd"}
    arrays |= {"push": off(push, "Q"), "noise": off(noise, "R")}
    named = {"push": "Q", "noise": "R"}
    series = {
        name: jax.tree.map(
            lambda part, name=name: kalman.each_step(part, named.get(name, name) in varying, steps), value
        )
        for name, value in arrays.items()
    }
    if system.structure.order == "emission first":
        idle = {"A": jnp.eye(size), "b": jnp.zeros(size), "push": jnp.zeros((size, size))}
        for name, start in idle.items():
            series[name] = dd.join([dd.pair(start[None]), series[name][:-1]], axis=0)
    mean, y = off(dd.pair(system.initial_mean), "initial_mean"), off(dd.pair(system.observations), "observations")
    reach = dd.pair(jnp.zeros((size, 0))) if system.diffuse is None else off(dd.pair(system.diffuse), "diffuse")
    initial = Factored(mean, reach, off(root, "initial_covariance"), jnp.asarray(reach.shape[-1]))
    return initial, Moves(**series, y=y)


def _factors(covariances: list[Array], other: Array | float) -> list[Pair]:
    """The factors of several covariances, computed in one loop, so that less code is compiled."""
    size = max(each.shape[-1] for each in covariances)
    stacked = [each.reshape(-1, *each.shape[-2:]) for each in covariances]
    padded = [jnp.pad(each, [(0, 0), *[(0, size - each.shape[-1])] * 2]) for each in stacked]
    found, parts, start = factor(jnp.concatenate(padded), other), [], 0
    for each, rows in zip(covariances, stacked, strict=True):
        part = found[start : start + len(rows), : each.shape[-1], : each.shape[-1]]
        parts.append(jax.tree.map(lambda leaf, each=each: leaf.reshape(each.shape), part))
        start += len(rows)
    return parts


def _predict(filtered: Factored, move: Moves) -> Factored:
    """A x + b + push noise; rows that are only rounding error are zero."""
    noises = filtered.root.shape[1]
    moved = dd.product(move.A, dd.join([filtered.root, filtered.reach, filtered.mean[:, None]], axis=1))
    root = dd.join([moved[:, :noises], move.push], axis=1)
    root = cleaned(root, reference(move.A, filtered.root, move.push))
    reach = cleaned(moved[:, noises:-1], reference(move.A, filtered.reach))
    return Factored(dd.add(moved[:, -1], move.b), reach, root, filtered.unseen)


def _backwards(found: Forward, moves: Moves) -> tuple[Factored, Factored, Moves]:
    """For all t but the last: the belief at t, the predicted one at t + 1, and the move between them."""
    return (
        jax.tree.map(lambda each: each[:-1], found.filtered),
        *jax.tree.map(lambda each: each[1:], (found.predicted, moves)),
    )


def _given_next(filtered: Factored, move: Moves) -> tuple[Pair, Factored]:
    """The state at t conditioned on all coordinates of the next one: the gain, and the belief that remains."""
    size, moved = filtered.root.shape[0], _predict(filtered, move)
    still = dd.pair(jnp.zeros_like(move.push.high))
    rows = Factored(
        dd.pair(jnp.zeros((2 * size, size))),
        dd.join([moved.reach, filtered.reach], axis=0),
        dd.join([moved.root, dd.join([filtered.root, still], axis=1)], axis=0),
        filtered.unseen,
    )
    sizes = reference(move.A, filtered.root, move.push), reference(move.A, filtered.reach)
    given, _ = condition(rows, dd.pair(jnp.eye(size)), jnp.ones(size, bool), sizes)
    return given.mean[size:], Factored(filtered.mean, given.reach[size:], given.root[size:], given.unseen)


def _observe(predicted: Factored, move: Moves) -> tuple[Factored, Array]:
    """p(x | y) of one step and log p(y), of the components that are present."""
    present, (dim_y, dim_x), noises = ~jnp.isnan(move.y.high), move.C.shape, predicted.root.shape[1]
    y = dd.select(present, move.y, dd.pair(jnp.zeros(dim_y)))
    seen = dd.product(move.C, dd.join([predicted.root, predicted.reach, predicted.mean[:, None]], axis=1))
    silent = dd.pair(jnp.zeros((dim_x, dim_y)))
    rows = Factored(
        dd.join([dd.add(seen[:, -1], move.d), predicted.mean], axis=0)[:, None],
        dd.join([seen[:, noises:-1], predicted.reach], axis=0),
        dd.join([dd.join([seen[:, :noises], move.noise], axis=1), dd.join([predicted.root, silent], axis=1)], axis=0),
        predicted.unseen,
    )
    sizes = reference(move.C, predicted.root, move.noise), reference(move.C, predicted.reach)
    given, log_density = condition(rows, y[:, None], present, sizes)
    return Factored(given.mean[dim_y:, 0], given.reach[dim_y:], given.root[dim_y:], given.unseen), log_density
