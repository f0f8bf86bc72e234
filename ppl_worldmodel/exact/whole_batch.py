"""A condition for all entries of a batch at once, so that `jax.lax.cond` on it stays a branch under `jax.vmap`."""

from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool


def whole_batch(condition: Bool[Array, ""]) -> Bool[Array, ""]:
    """The condition, for all entries of a batch at once under `jax.vmap`: `lax.cond` on it then stays one branch, and runs one."""
    return _all(lax.stop_gradient(condition))


@custom_vmap
def _all(condition: Array) -> Array:
    return condition


@_all.def_vmap
def _all_of_batch(size: int, batched: list[bool], condition: Array) -> tuple[Array, bool]:
    del size, batched
    return _all(condition.all(axis=0)), False
