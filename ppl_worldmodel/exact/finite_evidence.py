"""The log evidence of a finite system, with its gradient by Fisher's identity: one forward and one backward pass, O(T K) memory.

With f_t-1 = p(s_t-1 | y_1:t-1) and u_t(j) = p(y_t:T | s_t = j) / p(y_t:T | y_1:t-1),

    d log p(y_1:T) / d T[i, j]        = sum_t f_t-1(i) u_t(j)
    d log p(y_1:T) / d log p(y_t | i) = p(s_t = i | y_1:T)
    d log p(y_1:T) / d initial(i)     = p(y_1:T | s_0 = i) / p(y_1:T)

The transition enters linearly, so that the derivative at a transition of exactly zero is the true one.

Source: Cappe, Moulines & Ryden (2005), Inference in Hidden Markov Models, section 10.1.3 (Fisher's identity).
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ppl_worldmodel.exact import log_recursion, probability_recursion
from ppl_worldmodel.exact.probability_recursion import backward, forward
from ppl_worldmodel.exact.system import FiniteState
from ppl_worldmodel.exact.whole_batch import whole_batch

Gradient = tuple[Array, Array, Array]
WITH_RESPECT_TO = ("initial", "transition", "log_likelihood")


def log_evidence(system: FiniteState) -> Float[Array, ""]:
    """log p(y_1:T); -inf where an observation is impossible."""
    return _total(system) if probability_recursion.used(system) else _in_logarithms(system)


@jax.custom_jvp
def _total(system: FiniteState) -> Array:
    found = forward(system, filtered=False)
    return lax.cond(whole_batch(found.safe), lambda: found.log_predictive.sum(), lambda: _in_logarithms(system))


@_total.defjvp
def _total_jvp(primals: tuple[FiniteState], tangents: tuple[FiniteState]) -> tuple[Array, Array]:
    (system,), (along,) = primals, tangents
    value, gradient = _with_gradient(system)
    parts = [jnp.vdot(part, getattr(along, name)) for part, name in zip(gradient, WITH_RESPECT_TO, strict=True)]
    return value, jnp.stack(parts).sum()


def _with_gradient(system: FiniteState) -> tuple[Array, Gradient]:
    ahead = forward(system)
    back = backward(system, ahead, pairs=True)

    def in_probabilities() -> tuple[Array, Gradient]:
        of_T, of_likelihood = back.pairs, back.smoothed
        if system.structure.order == "both states":
            top = ahead.log_scale[:, None, None]
            of_T = back.pairs * jnp.exp(system.log_likelihood - top)
            of_likelihood = of_T * system.transition
            of_T = of_T if "transition" in system.structure.varying else of_T.sum(axis=0)
        return ahead.log_predictive.sum(), (back.start, of_T, of_likelihood)

    def in_logarithms() -> tuple[Array, Gradient]:
        value, gradient = jax.value_and_grad(_in_logarithms)(system)
        return value, (gradient.initial, gradient.transition, gradient.log_likelihood)

    return lax.cond(whole_batch(back.safe), in_probabilities, in_logarithms)


def _in_logarithms(system: FiniteState) -> Array:
    return log_recursion.forward(system)[2].sum()
