"""States drawn from unnormalised log probabilities by the inverse of their cumulative sums; an impossible state is never drawn."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def drawn(log_weights: Float[Array, "*batch state"], u: Float[Array, "*batch"]) -> Int[Array, "*batch"]:
    """The first state whose cumulative probability is above u, which is uniform on [0, 1)."""
    top = log_weights.max(axis=-1, keepdims=True)
    weights = jnp.exp(log_weights - jnp.where(jnp.isfinite(top), top, 0.0))
    above = weights.cumsum(axis=-1) > u[..., None] * weights.sum(axis=-1, keepdims=True)
    possible = weights > 0
    # Where rounding leaves none above, the last possible one.
    last = weights.shape[-1] - 1 - jnp.argmax(possible[..., ::-1], axis=-1)
    return jnp.where((above & possible).any(axis=-1), jnp.argmax(above & possible, axis=-1), last)
