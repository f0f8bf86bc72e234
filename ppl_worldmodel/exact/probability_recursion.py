"""Forward and backward recursion of a finite system in probabilities, rescaled at every step, and the proof that no digit is lost.

    a_t(j) = sum_i f_t-1(i) M_t[i, j] L_t(j),      c_t = sum a_t = p(y_t | y_1:t-1) / exp(max l_t),      f_t = a_t / c_t
    u_t(j) = L_t(j) b_t(j) / c_t,                  b_t-1 = M_t u_t,   b_T = 1,                             p(s_t | y_1:T) = f_t b_t

with L_t = exp(l_t - max l_t). All terms are products of positive numbers, so that the only loss is a number below the smallest
float. Nothing is lost that matters in two cases, of which `safe` says whether they hold:

(a) Every entry of M is at least 1e-100, and every c_t at least 1e-150. A weight that falls below 1e-300 would then have been less
    than 1e-50 of what each state receives from the others at the next step, whatever is observed; b_t is between 1e-100 and 1e100.
(b) Some moves are impossible (M has zeros), but every positive move is at least 1e-50, every likelihood at least 1e-100 of the
    largest of its step (or zero), every positive f_t and u_t at least 1e-150, and u_t at most 1e150: each product of the three is a
    float, so that every zero is one.

Where neither holds, `exact.log_recursion` gives the same in logarithms.

Source: Rabiner (1989), Proc. IEEE 77, section V.A (scaling).
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from ppl_worldmodel.exact.log_recursion import log
from ppl_worldmodel.exact.system import FiniteState
from ppl_worldmodel.exact.whole_batch import whole_batch

LEAST_SUM, LEAST_DENSE_MOVE, LEAST_MOVE, LEAST_LIKELIHOOD, LARGEST = 1e-150, 1e-100, 1e-50, 1e-100, 1e150
VECTORISED = (
    16  # up to so many states exp is taken of the whole series at once; above, in the step: the array would be large
)
LARGE = 2048  # from so many products, steps K^2, it is used
LONG = 1_000  # from so many steps 8 of them are one turn of the compiled loop, which takes longer to compile; below, 2
FUSED = 4  # up to so many states a product with the matrix is a sum that XLA fuses with its surroundings; above, a library call


class Forward(NamedTuple):
    """predicted p(s_t | y_1:t-1) and filtered p(s_t | y_1:t), empty if not asked for; sums c_t; log_scale max l_t.

    safe: was nothing lost?
    """

    predicted: Float[Array, "*time_state"]
    filtered: Float[Array, "*time_state"]
    sums: Float[Array, " time"]
    log_scale: Float[Array, " time"]
    safe: Bool[Array, ""]

    @property
    def log_predictive(self) -> Float[Array, " time"]:
        """log p(y_t | y_1:t-1)."""
        return log(self.sums) + self.log_scale


class Backward(NamedTuple):
    """smoothed p(s_t | y_1:T); start p(y_1:T | s_0) / p(y_1:T); pairs f_t-1(i) u_t(j); safe: was nothing lost?

    pairs (empty if not asked for) has one matrix for each move, zeros for a move after the last observation; or their sum, where
    the moves are the same at every step.
    """

    smoothed: Float[Array, "time state"]
    start: Float[Array, " state"]
    pairs: Float[Array, "*time state state"]
    safe: Bool[Array, ""]


class _Step(NamedTuple):
    """What a step is given: its transition, if it has one of its own; L_t, or, of a large state, log L_t; max l_t."""

    transition: Array | None
    likelihood: Array
    top: Array


def used(system: FiniteState) -> bool:
    """Is this recursion used for a system, as its structure says?"""
    if system.structure.recursion == "by size":
        return system.steps * system.num_states**2 >= LARGE
    return system.structure.recursion == "probabilities"


def forward(system: FiniteState, predicted: bool = False, filtered: bool = True) -> Forward:
    """One pass over the series; `predicted` and `filtered` say which beliefs are kept."""
    emission_first = system.structure.order == "emission first"

    def step(carry: tuple[Array, Array, Array], given: _Step) -> tuple[tuple[Array, Array, Array], Any]:
        (belief, total, least), (move, likelihood) = carry, _factors(system, given)
        scale = 1.0 / _positive(total)
        reached = belief if emission_first else _product(belief, move)
        weights = reached * (scale if likelihood is None else likelihood * scale)
        if likelihood is None and predicted:
            reached = _product(belief, _transition(system, given))
        total = weights.sum()
        least = jnp.minimum(least, jnp.where(weights > 0, lax.stop_gradient(weights), 1.0))
        none = jnp.zeros(0)
        kept = (reached * scale if predicted else none, weights / _positive(total) if filtered else none, total)
        return (_product(weights, move) if emission_first else weights, total, least), kept

    one, steps = jnp.ones_like(system.initial[0]), _steps(system)
    start = (system.initial, one, jnp.ones_like(system.initial))
    (*_, least), (ahead, now, sums) = lax.scan(step, start, steps, unroll=8 if system.steps >= LONG else 2)
    first = lax.stop_gradient(jnp.where(system.initial > 0, system.initial, 1.0))
    safe = _kept(system, steps.top, lax.stop_gradient(sums).min(), jnp.minimum(first, least).min(), jnp.ones(()))
    return Forward(ahead, now, sums, steps.top, safe)


def backward(system: FiniteState, found: Forward, pairs: bool = False) -> Backward:
    """One pass backward over the series, after `forward`."""
    emission_first = system.structure.order == "emission first"
    apart = "transition" in system.structure.varying or system.structure.order == "both states"
    together = pairs and not apart

    def step(carry: tuple[Any, ...], given: tuple[_Step, Array, Array, Array]) -> tuple[tuple[Any, ...], Any]:
        (b, u, total, least, most), (inputs, f, c, last) = carry, given
        move, likelihood = _factors(system, inputs)
        if emission_first:
            b = jnp.where(last, 1.0, _product(u, move.T))
        pair = f[:, None] * u if pairs else jnp.zeros((0, 0))
        scale = 1.0 / _positive(c)
        u = b * (scale if likelihood is None else likelihood * scale)
        least = jnp.minimum(least, jnp.where(u > 0, lax.stop_gradient(u), 1.0))
        most = jnp.maximum(most, lax.stop_gradient(u))
        earlier = u if emission_first else _product(u, move.T)
        return (earlier, u, total + pair, least, most), (f * b, pair if apart else jnp.zeros((0, 0)))

    one, steps = jnp.ones_like(system.initial), _steps(system)
    start = (one, 0.0 * one, jnp.zeros((one.size, one.size) if pairs else (0, 0)), one, one)
    last = jnp.arange(found.sums.size) == found.sums.size - 1
    inputs = (steps, found.filtered, found.sums, last)
    (b, u, total, least, most), (smoothed, each) = lax.scan(
        step, start, inputs, reverse=True, unroll=8 if system.steps >= LONG else 2
    )
    if pairs and not emission_first:
        first = system.initial[:, None] * u
        total, each = (total + first, each) if together else (total, jnp.concatenate([first[None], each[:-1]]))
    safe = found.safe & _kept(system, steps.top, jnp.ones(()), least.min(), most.max())
    return Backward(smoothed, b, total if together else each, safe)


def _steps(system: FiniteState) -> _Step:
    varying, l = "transition" in system.structure.varying, system.log_likelihood
    top = lax.stop_gradient(l.max(axis=tuple(range(1, l.ndim))))
    top = jnp.where(jnp.isneginf(top), 0.0, top)  # a step without a possible state keeps likelihoods of zero
    if system.num_states <= VECTORISED:
        l = jnp.exp(l - top.reshape(-1, *[1] * (l.ndim - 1)))
    return _Step(system.transition if varying else None, l, top)


def _transition(system: FiniteState, given: _Step) -> Array:
    return system.transition if given.transition is None else given.transition


def _factors(system: FiniteState, given: _Step) -> tuple[Array, Array | None]:
    """M_t and L_t; L_t is part of M_t where the observation depends on both states."""
    transition, likelihood = _transition(system, given), given.likelihood
    if system.num_states > VECTORISED:
        likelihood = jnp.exp(likelihood - given.top)
    return (transition * likelihood, None) if system.structure.order == "both states" else (transition, likelihood)


def _product(weights: Array, moves: Array) -> Array:
    return (weights[:, None] * moves).sum(axis=0) if weights.size <= FUSED else weights @ moves


def _positive(total: Array) -> Array:
    """The sum; one, where it is (nearly) zero, so that what is discarded later has finite derivatives."""
    return jnp.where(total > 1e-290, total, 1.0)


def _kept(system: FiniteState, top: Array, sums: Array, least: Array, most: Array) -> Array:
    """Was nothing lost? Given are the smallest sum, the smallest positive weight and the largest weight; NaN is False."""
    moves, l = lax.stop_gradient((system.transition, system.log_likelihood))
    if system.structure.order == "both states":
        # M is the product of a move and a likelihood
        lowest = (l - top[:, None, None]).min()
        dense = (moves.min() >= math.sqrt(LEAST_DENSE_MOVE)) & (lowest >= 0.5 * math.log(LEAST_DENSE_MOVE))
    else:
        dense = moves.min() >= LEAST_DENSE_MOVE

    def sparse() -> Array:
        positive = jnp.where(moves > 0, moves, 1.0).min() >= LEAST_MOVE
        relative = l - top.reshape(-1, *[1] * (l.ndim - 1))
        possible = jnp.where(jnp.isneginf(l), 0.0, relative).min() >= math.log(LEAST_LIKELIHOOD)
        return positive & possible & (least >= LEAST_SUM) & (most <= LARGEST)

    return (sums >= LEAST_SUM) & lax.cond(whole_batch(dense), lambda: jnp.array(True), sparse)
