"""Double-double arithmetic against fractions."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ppl_worldmodel.exact import double_double as dd
from ppl_worldmodel.exact.double_double import Pair

PRECISION = 2.0**-100


def numbers(seed: int) -> Pair:
    """Of all signs and of many sizes, with digits beyond those of a float."""
    random = np.random.default_rng(seed)
    high = random.normal(size=200) * 10.0 ** random.integers(-12, 12, 200)
    return dd.add(dd.pair(jnp.array(high)), dd.pair(jnp.array(high * 1e-17 * random.normal(size=200))))


def fractions(value: Pair) -> list[Fraction]:
    return [Fraction(float(h)) + Fraction(float(low)) for h, low in zip(value.high, value.low, strict=True)]


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide"])
def test_each_operation_is_right_to_thirty_digits(name: str) -> None:
    left, right = numbers(0), numbers(1)
    found = fractions(jax.jit(getattr(dd, name))(left, right))
    python = {"add": "__add__", "subtract": "__sub__", "multiply": "__mul__", "divide": "__truediv__"}[name]
    for a, b, c in zip(fractions(left), fractions(right), found, strict=True):
        exact = getattr(a, python)(b)
        assert abs(c - exact) <= PRECISION * abs(exact)


def test_roots_sums_and_products() -> None:
    value = numbers(2)
    positive = dd.multiply(value, value)
    for root, square in zip(fractions(jax.jit(dd.square_root)(positive)), fractions(positive), strict=True):
        assert abs(root * root - square) <= 4 * PRECISION * square
    whole = jax.jit(dd.total)(value)
    found = Fraction(float(whole.high)) + Fraction(float(whole.low))
    assert abs(found - sum(fractions(value))) <= 200 * PRECISION * sum(map(abs, fractions(value)))
    matrix, other = Pair(*(part.reshape(20, 10) for part in (value.high, value.low))), numbers(3)
    other = Pair(*(part.reshape(10, 20) for part in (other.high, other.low)))
    entry = jax.jit(dd.product)(matrix, other)[3, 4]
    terms = [a * b for a, b in zip(fractions(matrix[3]), fractions(other[:, 4]), strict=True)]
    assert abs(Fraction(float(entry.high)) + Fraction(float(entry.low)) - sum(terms)) <= 50 * PRECISION * sum(
        map(abs, terms)
    )


def test_the_root_of_zero() -> None:
    zero = dd.pair(jnp.zeros(1))
    assert dd.square_root(zero).high == 0
    assert jax.grad(lambda x: dd.square_root(dd.pair(x)).high)(jnp.zeros(())) == 0


def test_derivatives() -> None:
    def both(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        p = dd.pair(x)
        value = dd.divide(
            dd.multiply(p, dd.square_root(dd.add(p, dd.pair(jnp.ones(()))))), dd.subtract(p, dd.pair(jnp.array(3.0)))
        )
        return value.high, x * jnp.sqrt(x + 1.0) / (x - 3.0)

    found, expected = jax.jacrev(both)(jnp.array(1.7))
    np.testing.assert_allclose(found, expected, rtol=1e-14)
