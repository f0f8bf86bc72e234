"""Exact inference in hidden Markov models: forward filter, forward-backward smoother, Viterbi path, draws of paths (FFBS).

Everything runs in logarithms, with a scale of its own for each target state. A transition of 1e-300 stays possible, a zero stays
impossible, and no belief underflows, however long the series is. An impossible observation has log predictive -inf. It cannot be
conditioned on, so the belief at that step stays as predicted (`first_impossible` returns the step).

Source: Rabiner (1989), Proc. IEEE 77; Cappe, Moulines & Ryden (2005), Inference in Hidden Markov Models, ch. 3; for paths,
Fruhwirth-Schnatter (1994), J. Time Series Analysis 15.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from ppl_worldmodel.exact.arguments import takes
from ppl_worldmodel.exact.sequences import each_sequence
from ppl_worldmodel.exact.shapes import shapes
from ppl_worldmodel.exact.system import FiniteState

ALGORITHM = "forward and backward recursion"


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
    log_predicted, log_filtered, log_predictive = _forward(system)
    return Beliefs(jnp.exp(log_predicted), jnp.exp(log_filtered), log_predictive, log_predictive.sum())


@takes(FiniteState)
@jax.jit
@each_sequence
def evidence(system: FiniteState) -> Float[Array, " time"]:
    """log p(y_t | y_1:t-1) for every t; the sum is the log evidence. -inf at an impossible observation."""
    return _forward(system)[2]


def first_impossible(log_predictive: Float[Array | np.ndarray, " time"]) -> int | None:
    """The first time step whose observation is impossible (log predictive -inf), or None. Values must be concrete."""
    impossible = jnp.isneginf(log_predictive)
    return int(jnp.argmax(impossible)) if bool(impossible.any()) else None


@takes(FiniteState)
@jax.jit
@each_sequence
def smooth(system: FiniteState) -> SmoothedBeliefs:
    """p(s_t | y_1:T) for every t. One forward and one backward pass, O(T K^2)."""
    log_predicted, log_filtered, log_predictive = _forward(system)
    smoothed = jax.nn.softmax(log_filtered + _backward(system, log_predictive), axis=-1)
    return SmoothedBeliefs(
        smoothed, jnp.exp(log_predicted), jnp.exp(log_filtered), log_predictive, log_predictive.sum()
    )


@takes(FiniteState)
@jax.jit
@each_sequence
def pairwise(system: FiniteState) -> Float[Array, "pair state state"]:
    """p(s_t = i, s_t+1 = j | y_1:T) for t = 1 ... T-1; the last two axes sum to one."""
    _, log_filtered, log_predictive = _forward(system)
    ahead = _backward(system, log_predictive)
    log_weight = log(_between(system)) + _pair_likelihood(system, log_predictive) + ahead[1:, None, :]
    log_joint = log_filtered[:-1, :, None] + log_weight
    return jax.nn.softmax(log_joint.reshape(*log_joint.shape[:1], -1), axis=-1).reshape(log_joint.shape)


@takes(FiniteState)
@partial(jax.jit, static_argnames="num_paths")
@each_sequence
def sample_paths(system: FiniteState, key: Array, num_paths: int) -> Int[Array, "draw time"]:
    """Draws of s_1:T from p(s_1:T | y_1:T), by forward filtering and backward sampling."""
    _, log_filtered, log_predictive = _forward(system)
    key_last, key_back = jax.random.split(key)
    last = jax.random.categorical(key_last, log_filtered[-1], shape=(num_paths,))
    log_move = log(_between(system)) + _pair_likelihood(system, log_predictive)

    def back(following, inputs):
        log_belief, log_step, key = inputs
        logits = log_belief + log_step[:, following].T
        state = jax.random.categorical(key, logits, axis=-1)
        return state, state

    keys = jax.random.split(key_back, log_move.shape[0])
    _, earlier = lax.scan(back, last, (log_filtered[:-1], log_move, keys), reverse=True)
    return jnp.concatenate([earlier, last[None]], axis=0).T


@takes(FiniteState)
@jax.jit
@each_sequence
def most_likely_path(system: FiniteState) -> Int[Array, " time"]:
    """argmax over s_1:T of p(s_1:T | y_1:T) (Viterbi). The path is jointly most likely; its single states need not be."""
    log_predictive = _forward(system)[2]
    log_move = log(_between(system)) + _pair_likelihood(system, log_predictive)
    log_first = _first(system, log_predictive)

    def ahead(best, log_step):
        through = best[:, None] + log_step
        return through.max(axis=0), through.argmax(axis=0)

    best, origins = lax.scan(ahead, log_first, log_move)
    last = best.argmax()
    _, earlier = lax.scan(lambda state, origin: (origin[state], origin[state]), last, origins, reverse=True)
    return jnp.concatenate([earlier, last[None]])


def settled(system: FiniteState, question: str = "evidence") -> FiniteState:
    """The system itself: sums of products of positive numbers keep their digits in the one form that there is."""
    return system


def keeps_digits(system: FiniteState) -> bool:
    """Does the log evidence keep six digits?  Always."""
    return True


def log(probability: Array) -> Array:
    """The logarithm; of zero -inf, with gradient zero."""
    possible = probability > 0
    return jnp.where(possible, jnp.log(jnp.where(possible, probability, 1.0)), -jnp.inf)


def _log_sum(terms: Array) -> Array:
    """log sum exp over the last axis; -inf, with gradient zero, where every term is -inf."""
    top = lax.stop_gradient(terms.max(axis=-1))
    top = jnp.where(jnp.isfinite(top), top, 0.0)
    total = jnp.exp(terms - top[..., None]).sum(axis=-1)
    return log(total) + top


def _move(log_belief: Array, transition: Array, log_pair: Array | float = 0.0) -> Array:
    """log sum_s exp(log_belief[s] + log_pair[s, s']) T[s, s'], each target scaled by its own largest term.

    T enters linearly, so that the gradient at a transition of exactly zero is the true one, if another source reaches the
    target. If none does, log 0 has no derivative and the gradient is zero.
    """
    log_from = log_belief[:, None] + log_pair
    top = lax.stop_gradient(jnp.where(transition > 0, log_from, -jnp.inf).max(axis=0))
    top = jnp.where(jnp.isfinite(top), top, 0.0)
    # Only sources with T = 0 can lie above `top`; the bound keeps their (zero) term from becoming inf * 0.
    total = (jnp.exp(jnp.minimum(log_from - top, 600.0)) * transition).sum(axis=0)
    return log(total) + top


def _forward(system: FiniteState) -> tuple[Array, Array, Array]:
    """log predicted, log filtered (time, state) and log predictive (time,)."""
    order, varying = system.structure.order, "transition" in system.structure.varying

    def step(log_belief, inputs):
        transition, log_likelihood = inputs if varying else (system.transition, inputs)
        predicted = log_belief if order == "emission first" else _move(log_belief, transition)
        pair = order == "both states"
        joint = _move(log_belief, transition, log_likelihood) if pair else predicted + log_likelihood
        log_predictive = _log_sum(joint)
        possible = jnp.isfinite(log_predictive)
        filtered = jnp.where(possible, joint - jnp.where(possible, log_predictive, 0.0), predicted)
        carried = _move(filtered, transition) if order == "emission first" else filtered
        return carried, (predicted, filtered, log_predictive)

    inputs = (system.transition, system.log_likelihood) if varying else system.log_likelihood
    return lax.scan(step, log(system.initial), inputs)[1]


def _backward(system: FiniteState, log_predictive: Array) -> Array:
    """log p(y_t+1:T | s_t) - log p(y_t+1:T | y_1:t), (time, state)."""
    scale = jnp.where(jnp.isfinite(log_predictive), log_predictive, 0.0)[1:]
    log_pair = _pair_likelihood(system, log_predictive)

    def step(ahead, inputs):
        transition, log_pair, scale = inputs
        ahead = _move(ahead, transition.T, log_pair.T) - scale
        return ahead, ahead

    last = jnp.zeros_like(system.initial)
    _, earlier = lax.scan(step, last, (_between(system), log_pair, scale), reverse=True)
    return jnp.concatenate([earlier, last[None]], axis=0)


def _between(system: FiniteState) -> Array:
    """The transition from the state of observation t to that of t + 1, (time - 1, state, state)."""
    if "transition" in system.structure.varying:
        return system.transition[:-1] if system.structure.order == "emission first" else system.transition[1:]
    steps, states = system.log_likelihood.shape[0], system.initial.shape[-1]
    return jnp.broadcast_to(system.transition, (steps - 1, states, states))


def _pair_likelihood(system: FiniteState, log_predictive: Array) -> Array:
    """log p(y_t+1 | s_t, s_t+1), (time - 1, state, state); zero where the observation is impossible and hence left out."""
    log_likelihood = system.log_likelihood[1:]
    if system.structure.order != "both states":
        states = system.initial.shape[-1]
        log_likelihood = jnp.broadcast_to(log_likelihood[:, None, :], (log_likelihood.shape[0], states, states))
    return jnp.where(jnp.isfinite(log_predictive)[1:, None, None], log_likelihood, 0.0)


def _first(system: FiniteState, log_predictive: Array) -> Array:
    """log p(s_1, y_1), (state,); log p(s_1) where y_1 is impossible and hence left out."""
    transition = system.transition[0] if "transition" in system.structure.varying else system.transition
    log_initial, log_likelihood = log(system.initial), system.log_likelihood[0]
    log_likelihood = jnp.where(jnp.isfinite(log_predictive[0]), log_likelihood, 0.0)
    if system.structure.order == "both states":
        return _move(log_initial, transition, log_likelihood)
    predicted = log_initial if system.structure.order == "emission first" else _move(log_initial, transition)
    return predicted + log_likelihood
