"""Forward and backward recursion of a finite chain in logarithms, with a scale of its own for each target state.

A transition of 1e-300 stays possible, a zero stays impossible, and no belief underflows, however long the series is. An impossible
observation has log predictive -inf. It cannot be conditioned on, so the belief at that step stays as predicted. All of it is slower
than `exact.probability_recursion`, which says when that loses nothing.

Source: Rabiner (1989), Proc. IEEE 77; Cappe, Moulines & Ryden (2005), Inference in Hidden Markov Models, ch. 3.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from ppl_worldmodel.exact.system import FiniteState


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


def forward(system: FiniteState) -> tuple[Array, Array, Array]:
    """log predicted, log filtered (time, state) and log predictive (time,).

    The logarithm of an initial probability of exactly zero has no derivative; zero is given for it.
    """
    order, varying = system.structure.order, "transition" in system.structure.varying

    def step(log_belief, inputs):
        transition, log_likelihood = inputs if varying else (system.transition, inputs)
        predicted = log_belief if order == "emission first" else _move(log_belief, transition)
        both = order == "both states"
        joint = _move(log_belief, transition, log_likelihood) if both else predicted + log_likelihood
        log_predictive = _log_sum(joint)
        possible = jnp.isfinite(log_predictive)
        filtered = jnp.where(possible, joint - jnp.where(possible, log_predictive, 0.0), predicted)
        carried = _move(filtered, transition) if order == "emission first" else filtered
        return carried, (predicted, filtered, log_predictive)

    inputs = (system.transition, system.log_likelihood) if varying else system.log_likelihood
    return lax.scan(jax.checkpoint(step), log(system.initial), inputs)[1]


def backward(system: FiniteState, log_predictive: Array) -> Array:
    """log p(y_t+1:T | s_t) - log p(y_t+1:T | y_1:t), (time, state)."""
    scale = jnp.where(jnp.isfinite(log_predictive), log_predictive, 0.0)[1:]

    def step(ahead, inputs):
        move, scale = inputs
        transition, log_pair = pair(system, move)
        ahead = _move(ahead, transition.T, log_pair.T) - scale
        return ahead, ahead

    last = jnp.zeros_like(system.initial)
    _, earlier = lax.scan(jax.checkpoint(step), last, (moves(system, log_predictive), scale), reverse=True)
    return jnp.concatenate([earlier, last[None]], axis=0)


def moves(system: FiniteState, log_predictive: Array) -> tuple[Array | None, Array]:
    """Of each move from t to t + 1: its transition, None where it is the same for all, and log p(y_t+1 | s_t+1), or of both states.

    The likelihood is one where the observation is impossible and hence left out.
    """
    transition, log_likelihood = None, system.log_likelihood[1:]
    if "transition" in system.structure.varying:
        transition = system.transition[:-1] if system.structure.order == "emission first" else system.transition[1:]
    possible = jnp.isfinite(log_predictive)[1:].reshape(-1, *[1] * (log_likelihood.ndim - 1))
    return transition, jnp.where(possible, log_likelihood, 0.0)


def pair(system: FiniteState, move: tuple[Array | None, Array]) -> tuple[Array, Array]:
    """p(s_t+1 | s_t) and log p(y_t+1 | s_t, s_t+1) of one move, (state, state) each."""
    transition, log_likelihood = move
    transition = system.transition if transition is None else transition
    return transition, jnp.broadcast_to(log_likelihood, transition.shape)


def first(system: FiniteState, log_predictive: Array) -> Array:
    """log p(s_1, y_1), (state,); log p(s_1) where y_1 is impossible and hence left out."""
    transition = system.transition[0] if "transition" in system.structure.varying else system.transition
    log_initial, log_likelihood = log(system.initial), system.log_likelihood[0]
    log_likelihood = jnp.where(jnp.isfinite(log_predictive[0]), log_likelihood, 0.0)
    if system.structure.order == "both states":
        return _move(log_initial, transition, log_likelihood)
    predicted = log_initial if system.structure.order == "emission first" else _move(log_initial, transition)
    return predicted + log_likelihood
