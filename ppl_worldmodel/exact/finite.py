"""Exact inference in hidden Markov models: forward filter, forward-backward smoother, Viterbi path, draws of paths (FFBS).

The recursions run in probabilities (`probability_recursion`) where that provably loses nothing, else in logarithms
(`log_recursion`): a transition of 1e-300 stays possible, a zero stays impossible, and no belief underflows, however long the series
is. An impossible observation has log predictive -inf. It cannot be conditioned on, so the belief at that step stays as predicted
(`first_impossible` returns the step).

Source: Rabiner (1989), Proc. IEEE 77; Cappe, Moulines & Ryden (2005), Inference in Hidden Markov Models, ch. 3; for paths,
Fruhwirth-Schnatter (1994), J. Time Series Analysis 15.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from ppl_worldmodel.exact import finite_evidence, log_recursion, probability_recursion
from ppl_worldmodel.exact.arguments import takes
from ppl_worldmodel.exact.drawn_states import drawn
from ppl_worldmodel.exact.log_recursion import log, moves, pair
from ppl_worldmodel.exact.sequences import each_sequence
from ppl_worldmodel.exact.shapes import shapes
from ppl_worldmodel.exact.system import FiniteState
from ppl_worldmodel.exact.whole_batch import whole_batch

ALGORITHM = "forward and backward recursion"
SMALL = 1_000_000  # numbers: up to so many, all moves of drawn paths are looked at at once


class Beliefs(NamedTuple):
    """predicted p(s_t | y_1:t-1), filtered p(s_t | y_1:t), log_predictive log p(y_t | y_1:t-1), log_evidence log p(y_1:T)."""

    predicted: Float[Array, "time state"]
    filtered: Float[Array, "time state"]
    log_predictive: Float[Array, " time"]
    log_evidence: Float[Array, ""]

    def __repr__(self) -> str:
        return shapes(self)


class SmoothedBeliefs(NamedTuple):
    """smoothed p(s_t | y_1:T), beside the fields of `Beliefs`."""

    smoothed: Float[Array, "time state"]
    predicted: Float[Array, "time state"]
    filtered: Float[Array, "time state"]
    log_predictive: Float[Array, " time"]
    log_evidence: Float[Array, ""]

    def __repr__(self) -> str:
        return shapes(self)


def predict(belief: Float[Array, " state"], transition: Float[Array, "state state"]) -> Float[Array, " state"]:
    """p(s') = sum_s p(s) p(s' | s): the belief before the next observation, one step, online."""
    return belief @ transition


def correct(belief: Float[Array, " state"], likelihood: Float[Array, " state"]) -> Float[Array, " state"]:
    """p(s | o) proportional to p(s) p(o | s): Bayes' rule, one step, online.

    Raises ValueError if the observation has probability zero under the belief (NaN where the values are traced by JAX).
    """
    joint = belief * likelihood
    total = joint.sum()
    if not isinstance(total, jax.core.Tracer) and not total > 0:
        raise ValueError(
            f"the observation is impossible under this belief: the belief {belief} times the likelihood {likelihood} "
            f"sums to {total}, not to something positive"
        )
    return joint / total


@takes(FiniteState)
@jax.jit
@each_sequence
def filter(system: FiniteState) -> Beliefs:
    """p(s_t | y_1:t) for every t, with the predicted beliefs and the evidence. One forward pass, O(T K^2)."""

    def in_logarithms() -> Beliefs:
        log_predicted, log_filtered, log_predictive = log_recursion.forward(system)
        return Beliefs(jnp.exp(log_predicted), jnp.exp(log_filtered), log_predictive, log_predictive.sum())

    def in_probabilities() -> tuple[Array, Beliefs]:
        found = probability_recursion.forward(system, predicted=True)
        total = found.log_predictive.sum()
        return found.safe, Beliefs(found.predicted, found.filtered, found.log_predictive, total)

    return _either(system, in_probabilities, in_logarithms)


@takes(FiniteState)
@jax.jit
@each_sequence
def evidence(system: FiniteState) -> Float[Array, " time"]:
    """log p(y_t | y_1:t-1) for every t; the sum is the log evidence. -inf at an impossible observation."""

    def in_probabilities() -> tuple[Array, Array]:
        found = probability_recursion.forward(system, filtered=False)
        return found.safe, found.log_predictive

    return _either(system, in_probabilities, lambda: log_recursion.forward(system)[2])


@takes(FiniteState)
@jax.jit
@each_sequence
def log_evidence(system: FiniteState) -> Float[Array, ""]:
    """log p(y_1:T), the sum of `evidence`, with a gradient by one forward and one backward pass, O(T K) memory."""
    return finite_evidence.log_evidence(system)


def first_impossible(log_predictive: Float[Array | np.ndarray, " time"]) -> int | None:
    """The first time step whose observation is impossible (log predictive -inf), or None. Values must be concrete."""
    impossible = jnp.isneginf(log_predictive)
    return int(jnp.argmax(impossible)) if bool(impossible.any()) else None


@takes(FiniteState)
@jax.jit
@each_sequence
def smooth(system: FiniteState) -> SmoothedBeliefs:
    """p(s_t | y_1:T) for every t. One forward and one backward pass, O(T K^2)."""

    def in_logarithms() -> SmoothedBeliefs:
        log_predicted, log_filtered, log_predictive = log_recursion.forward(system)
        smoothed = jax.nn.softmax(log_filtered + log_recursion.backward(system, log_predictive), axis=-1)
        predicted, filtered = jnp.exp(log_predicted), jnp.exp(log_filtered)
        return SmoothedBeliefs(smoothed, predicted, filtered, log_predictive, log_predictive.sum())

    def in_probabilities() -> tuple[Array, SmoothedBeliefs]:
        found = probability_recursion.forward(system, predicted=True)
        back = probability_recursion.backward(system, found)
        total = found.log_predictive.sum()
        return back.safe, SmoothedBeliefs(back.smoothed, found.predicted, found.filtered, found.log_predictive, total)

    return _either(system, in_probabilities, in_logarithms)


@takes(FiniteState)
@jax.jit
@each_sequence
def pairwise(system: FiniteState) -> Float[Array, "pair state state"]:
    """p(s_t = i, s_t+1 = j | y_1:T) for t = 1 ... T-1; the last two axes sum to one."""
    _, log_filtered, log_predictive = log_recursion.forward(system)
    ahead = log_recursion.backward(system, log_predictive)

    def joint(log_belief, move, log_ahead):
        transition, log_likelihood = pair(system, move)
        return jax.nn.softmax((log_belief[:, None] + log(transition) + log_likelihood + log_ahead).ravel())

    found = jax.vmap(joint)(log_filtered[:-1], moves(system, log_predictive), ahead[1:])
    return found.reshape(-1, system.num_states, system.num_states)


@takes(FiniteState)
@partial(jax.jit, static_argnames="num_paths")
@each_sequence
def sample_paths(system: FiniteState, key: Array, num_paths: int) -> Int[Array, "draw time"]:
    """Draws of s_1:T from p(s_1:T | y_1:T), by forward filtering and backward sampling."""

    def in_probabilities() -> tuple[Array, tuple[Array, Array]]:
        found = probability_recursion.forward(system)
        return found.safe, (log(found.filtered), found.log_predictive)

    log_filtered, log_predictive = _either(system, in_probabilities, lambda: log_recursion.forward(system)[1:])
    steps = log_filtered.shape[0]
    u = jax.random.uniform(key, (steps, num_paths))
    last = drawn(jnp.broadcast_to(log_filtered[-1], (num_paths, system.num_states)), u[-1])
    inputs = log_filtered[:-1], moves(system, log_predictive), u[:-1]

    def before(log_belief: Array, move: tuple[Array | None, Array], following: Array, u: Array) -> Array:
        """The state before each of these states, of each path."""
        transition, log_likelihood = pair(system, move)
        return drawn(log_belief + (log(transition) + log_likelihood)[:, following].T, u)

    if num_paths * steps * system.num_states**2 <= SMALL:
        # Before every state that there is, of all steps at once; then only the path is followed.
        every = jnp.tile(jnp.arange(system.num_states), num_paths)
        origins = jax.vmap(lambda l, move, u: before(l, move, every, jnp.repeat(u, system.num_states)))(*inputs)
        origins = origins.reshape(steps - 1, num_paths, system.num_states)
        path = jnp.arange(num_paths)
        _, earlier = lax.scan(lambda state, origin: (origin[path, state],) * 2, last, origins, reverse=True)
    else:
        _, earlier = lax.scan(
            lambda state, given: (before(*given[:2], state, given[2]),) * 2, last, inputs, reverse=True
        )
    return jnp.concatenate([earlier, last[None]], axis=0).T


@takes(FiniteState)
@jax.jit
@each_sequence
def most_likely_path(system: FiniteState) -> Int[Array, " time"]:
    """argmax over s_1:T of p(s_1:T | y_1:T) (Viterbi). The path is jointly most likely; its single states need not be."""
    log_predictive = evidence(system)

    def ahead(best, move):
        transition, log_likelihood = pair(system, move)
        through = best[:, None] + log(transition) + log_likelihood
        return through.max(axis=0), through.argmax(axis=0)

    best, origins = lax.scan(ahead, log_recursion.first(system, log_predictive), moves(system, log_predictive))
    last = best.argmax()
    _, earlier = lax.scan(lambda state, origin: (origin[state], origin[state]), last, origins, reverse=True)
    return jnp.concatenate([earlier, last[None]])


def _either[Result](
    system: FiniteState, in_probabilities: Callable[[], tuple[Array, Result]], in_logarithms: Callable[[], Result]
) -> Result:
    """The result in probabilities where these are used and safe, for a whole batch at once; else that in logarithms, which keeps
    nothing for a gradient.
    """
    if not probability_recursion.used(system):
        return in_logarithms()
    safe, found = in_probabilities()
    return lax.cond(whole_batch(safe), lambda: found, jax.checkpoint(in_logarithms))


def settled(system: FiniteState, question: str = "evidence") -> FiniteState:
    """The system itself: sums of products of positive numbers keep their digits in the one form that there is."""
    return system


def keeps_digits(system: FiniteState) -> bool:
    """Does the log evidence keep six digits?  Always."""
    return True
