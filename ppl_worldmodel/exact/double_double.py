"""Double-double arithmetic: a number as the unevaluated sum of two floats, of some 32 decimal digits.

The rounding error of a sum or a product of two floats is itself a float. All operations take and return pairs of arrays; they work
in a scan, in `jax.vmap` and under `jax.jit`. Their derivatives are those of the numbers that the pairs stand for, in floats.

Source: Dekker (1971), Numerische Mathematik 18; Hida, Li & Bailey (2001), Algorithms for Quad-Double Precision Floating Point
Arithmetic, section 3.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Pair:
    """high + low, where low is at most half a unit in the last place of high."""

    high: Any  # arrays; JAX also builds the tree with other leaves (shapes, names) for its error messages
    low: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return self.high.shape

    def __getitem__(self, index: Any) -> "Pair":
        return Pair(self.high[index], self.low[index])


def pair(value: Array) -> Pair:
    return Pair(value, jnp.zeros_like(value))


@jax.custom_jvp
def add(left: Pair, right: Pair) -> Pair:
    large, small = _two_sum(left.high, right.high), _two_sum(left.low, right.low)
    found = _renormalised(large.high, large.low + small.high)
    return _renormalised(found.high, found.low + small.low)


@add.defjvp
def _add_jvp(primals: tuple[Pair, Pair], tangents: tuple[Pair, Pair]) -> tuple[Pair, Pair]:
    return add(*primals), pair(tangents[0].high + tangents[1].high)


def negative(value: Pair) -> Pair:
    return Pair(-value.high, -value.low)


def subtract(left: Pair, right: Pair) -> Pair:
    return add(left, negative(right))


@jax.custom_jvp
def multiply(left: Pair, right: Pair) -> Pair:
    found = _two_product(left.high, right.high)
    return _renormalised(found.high, found.low + (left.high * right.low + left.low * right.high))


@multiply.defjvp
def _multiply_jvp(primals: tuple[Pair, Pair], tangents: tuple[Pair, Pair]) -> tuple[Pair, Pair]:
    (left, right), (of_left, of_right) = primals, tangents
    return multiply(left, right), pair(of_left.high * right.high + left.high * of_right.high)


@jax.custom_jvp
def divide(left: Pair, right: Pair) -> Pair:
    """Long division of two digits, each a float."""
    first = left.high / right.high
    rest = subtract(left, multiply(pair(first), right))
    return _renormalised(first, rest.high / right.high)


@divide.defjvp
def _divide_jvp(primals: tuple[Pair, Pair], tangents: tuple[Pair, Pair]) -> tuple[Pair, Pair]:
    (_, right), (of_left, of_right), found = primals, tangents, divide(*primals)
    return found, pair((of_left.high - found.high * of_right.high) / right.high)


@jax.custom_jvp
def square_root(value: Pair) -> Pair:
    """One step of Newton's method from the float's root (Karp & Markstein 1997); zero for zero."""
    positive = value.high > 0
    high = jnp.where(positive, value.high, 1.0)
    root = jnp.sqrt(high)
    rest = subtract(value, _two_product(root, root))
    return select(positive, _renormalised(root, rest.high / (2.0 * root)), pair(jnp.zeros_like(value.high)))


@square_root.defjvp
def _square_root_jvp(primals: tuple[Pair], tangents: tuple[Pair]) -> tuple[Pair, Pair]:
    """Zero at zero, where there is no derivative: a standard deviation that is zero stays zero."""
    found = square_root(*primals)
    positive = found.high > 0
    return found, pair(jnp.where(positive, 0.5 * tangents[0].high / jnp.where(positive, found.high, 1.0), 0.0))


def select(condition: Array, yes: Pair, no: Pair) -> Pair:
    return Pair(jnp.where(condition, yes.high, no.high), jnp.where(condition, yes.low, no.low))


@jax.custom_jvp
def total(value: Pair) -> Pair:
    """The sum over the last axis."""
    zero = jnp.zeros((), value.high.dtype)

    def added(left: tuple[Array, Array], right: tuple[Array, Array]) -> tuple[Array, Array]:
        found = add(Pair(*left), Pair(*right))
        return found.high, found.low

    return Pair(*lax.reduce((value.high, value.low), (zero, zero), added, (value.high.ndim - 1,)))


@total.defjvp
def _total_jvp(primals: tuple[Pair], tangents: tuple[Pair]) -> tuple[Pair, Pair]:
    return total(*primals), pair(tangents[0].high.sum(axis=-1))


def dot(matrix: Pair, vector: Pair) -> Pair:
    """A matrix times a vector (or, with more leading axes, sums of products over the last axis)."""
    return total(multiply(matrix, vector))


def product(left: Pair, right: Pair) -> Pair:
    """The product of two matrices."""
    return dot(left[..., :, None, :], transpose(right)[..., None, :, :])


def outer(left: Pair, right: Pair) -> Pair:
    return multiply(left[:, None], right[None, :])


def transpose(matrix: Pair) -> Pair:
    return Pair(jnp.swapaxes(matrix.high, -1, -2), jnp.swapaxes(matrix.low, -1, -2))


def join(parts: list[Pair], axis: int) -> Pair:
    return Pair(
        jnp.concatenate([part.high for part in parts], axis=axis),
        jnp.concatenate([part.low for part in parts], axis=axis),
    )


def _renormalised(high: Array, low: Array) -> Pair:
    """For |high| >= |low|."""
    found = high + low
    return Pair(found, low - (found - high))


def _two_sum(left: Array, right: Array) -> Pair:
    found = left + right
    shift = found - left
    return Pair(found, (left - (found - shift)) + (right - shift))


def _two_product(left: Array, right: Array) -> Pair:
    found = left * right
    (a, b), (c, d) = _split(left), _split(right)
    return Pair(found, ((a * c - found) + a * d + b * c) + b * d)


def _split(value: Array) -> tuple[Array, Array]:
    """Two halves of the digits (Veltkamp)."""
    bits = (jnp.finfo(value.dtype).nmant + 2) // 2
    shifted = value * (2.0**bits + 1.0)
    high = shifted - (shifted - value)
    return high, value - high
