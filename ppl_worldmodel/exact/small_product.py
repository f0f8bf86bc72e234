"""Products of small matrices as sums of products, which XLA fuses with their surroundings: a library is called anew each time."""

from jax import Array

SMALL = 12  # rows and columns; above, the library is faster


def product(*factors: Array) -> Array:
    """factors[0] @ factors[1] @ ..., from left to right; the last may be a vector. Leading axes are broadcast."""
    total = factors[0]
    for factor in factors[1:]:
        total = _two(total, factor)
    return total


def _two(left: Array, right: Array) -> Array:
    if max(*left.shape[-2:], *right.shape[-2:]) > SMALL:
        return left @ right
    if right.ndim == 1:
        return (left * right).sum(axis=-1)
    return (left[..., :, :, None] * right[..., None, :, :]).sum(axis=-2)
