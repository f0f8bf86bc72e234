"""Degrees of functions, proven on their jaxprs, against what their values say at many points.

Every rule has a right and a wrong use. The oracle evaluates the function: independent if no value of x changes it, affine if a
value between two points (off any ray) is the same mixture of theirs, neither else.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from ppl_worldmodel.program.jaxprs.affine import Proof, prove
from ppl_worldmodel.program.jaxprs.degrees import worst

U = jnp.array([0.7, -1.2, 2.0])
POSITIVE = jnp.array([[2.0, 0.3, 0.1], [0.3, 1.5, 0.2], [0.1, 0.2, 1.0]])
I = jnp.array([2, 0])
TABLE = jnp.array([1.0, 4.0, 9.0, 16.0])


def bent_later(x: Any, u: Any) -> Any:
    """Affine for two rounds of the loop, and then no longer."""
    return lax.scan(lambda carry, _: ((carry[1], carry[2], carry[0] ** 2), None), (x, 2.0 * x, u), None, length=4)[0][0]


def shifted(x: Any, u: Any) -> Any:
    """A shift register, through which an affine value takes three rounds."""
    return lax.scan(lambda carry, _: ((u, carry[0], carry[1]), carry[2]), (x, u, u), None, length=5)[1]


def summed(x: Any, u: Any, until: Callable[[Any], Any]) -> Any:
    """A sum of x in a loop that ends when `until` says."""
    return lax.while_loop(lambda s: until(s), lambda s: (s[0] + 1, s[1] + u * x), (0, jnp.zeros(3)))[1]


@jax.custom_jvp
def own_rule(x: Any) -> Any:
    return 2.0 * x


own_rule.defjvp(lambda primals, tangents: (own_rule(*primals), 3.0 * tangents[0]))


@jax.custom_vjp
def own_reverse_rule(x: Any) -> Any:
    return 2.0 * x


own_reverse_rule.defvjp(lambda x: (2.0 * x, None), lambda _, g: (2.0 * g,))


def apart(x: Any, u: Any) -> Any:
    """Mean and scale in one array: only the first of them depends on x."""
    location, scale = jnp.stack([x[0], jnp.exp(u[0])])
    return scale * location, scale


# {name: (function of x and u, what each of its outputs is, the operation to be named)}
Case = tuple[Callable, str | tuple[str, ...], str]
CASES: dict[str, Case] = {
    "sum": (lambda x, u: x + u - 2.0 * x - jnp.cos(u), "affine", ""),
    "of others": (lambda x, u: jnp.abs(u) * jnp.exp(u) + 1.0, "independent", ""),
    "product with others": (lambda x, u: x * u**2 * 0.0 + u * x, "affine", ""),
    "product with itself": (lambda x, u: x * u * x, "neither", "mul"),
    "product of parts": (lambda x, u: x[0] * x[1] + x, "neither", "mul"),
    "division by others": (lambda x, u: x / u, "affine", ""),
    "division by itself": (lambda x, u: u / (x + 50.0), "neither", "div"),
    "power one": (lambda x, u: x**1 + x**1.0 + jnp.power(x, 1.0), "affine", ""),
    "square": (lambda x, u: x**2, "neither", "integer_pow"),
    "jnp.square": (lambda x, u: jnp.square(x), "neither", "square"),
    "real power": (lambda x, u: jnp.power(x, 2.0), "neither", "pow"),
    "power by x": (lambda x, u: 2.0**x, "neither", "pow"),
    "abs": (lambda x, u: jnp.abs(x), "neither", "`abs`"),
    "abs of others": (lambda x, u: jnp.abs(u) + x, "affine", ""),
    "maximum": (lambda x, u: jnp.maximum(x, 0.0), "neither", "max"),
    "maximum far away": (lambda x, u: jnp.minimum(x, 40.0), "neither", "min"),
    "maximum of nothing": (lambda x, u: jnp.maximum(x, -jnp.inf), "affine", ""),
    "clip": (lambda x, u: jnp.clip(x, -3.0, 3.0), "neither", "`clip` (max)"),
    "clip of nothing": (lambda x, u: jnp.clip(x, -jnp.inf, jnp.inf), "affine", ""),
    "clamp": (lambda x, u: lax.clamp(-jnp.inf, x, jnp.inf), "affine", ""),
    "relu": (lambda x, u: jax.nn.relu(x), "neither", "`relu` (max)"),
    "leaky relu": (lambda x, u: jax.nn.leaky_relu(x), "neither", "leaky_relu"),
    "logistic": (lambda x, u: jax.nn.sigmoid(x), "neither", "logistic"),
    "floor": (lambda x, u: jnp.floor(x), "neither", "floor"),
    "whole numbers": (lambda x, u: x.astype(int), "neither", "whole numbers"),
    "comparison": (lambda x, u: x > u, "neither", "comparison"),
    "choice by others": (lambda x, u: jnp.where(u > 0, x, 3.0 * x + u), "affine", ""),
    "choice by itself": (lambda x, u: jnp.where(x > 0, x, 0.3 * x), "neither", "comparison"),
    "choice that is known": (lambda x, u: jnp.where(True, x, x**2), "affine", ""),
    "choice that is known by a number": (
        lambda x, u: lax.select(lax.convert_element_type(0.7, bool), x**2, x), "neither", "integer_pow"
    ),
    "matrix": (lambda x, u: POSITIVE @ x + u, "affine", ""),
    "matrix of x": (lambda x, u: jnp.outer(x, u) @ x, "neither", "dot_general"),
    "rows and columns": (lambda x, u: jnp.einsum("ij,kj->ik", jnp.outer(u, x), POSITIVE), "affine", ""),
    "quadratic form": (lambda x, u: x @ POSITIVE @ x, "neither", "dot_general"),
    "batched product": (lambda x, u: jnp.einsum("bi,bij->bj", jnp.stack([x, u]), jnp.stack([POSITIVE] * 2)), "affine", ""),
    "solve": (lambda x, u: jnp.linalg.solve(POSITIVE, x), "affine", ""),
    "solve by x": (lambda x, u: jnp.linalg.solve(POSITIVE + 0.01 * jnp.diag(x), u), "neither", "solve"),
    "triangular solve": (lambda x, u: lax.linalg.triangular_solve(jnp.tril(POSITIVE), x[:, None], left_side=True), "affine", ""),
    "inverse of others": (lambda x, u: jnp.linalg.inv(jnp.diag(u)) @ x, "affine", ""),
    "Cholesky of others": (lambda x, u: jnp.linalg.cholesky(POSITIVE * u[0]) @ x, "affine", ""),
    "Cholesky": (lambda x, u: jnp.linalg.cholesky(50.0 * POSITIVE + 0.01 * jnp.diag(x)), "neither", "cholesky"),
    "norm": (lambda x, u: jnp.linalg.norm(x), "neither", "norm"),
    "sort": (lambda x, u: jnp.sort(x), "neither", "sort"),
    "largest": (lambda x, u: x.max(), "neither", "reduce_max"),
    "largest of one": (lambda x, u: x[:1].max(), "affine", ""),
    "place of the largest": (lambda x, u: jnp.argmax(x), "neither", "argmax"),
    "sum over an axis": (lambda x, u: (x[:, None] * u).sum(axis=0) + x.mean(), "affine", ""),
    "variance": (lambda x, u: x.var(), "neither", "square"),
    "running sum": (lambda x, u: jnp.cumsum(x) + jnp.cumsum(x[::-1])[::-1] + jnp.flip(x), "affine", ""),
    "running product": (lambda x, u: jnp.cumprod(x), "neither", "cumprod"),
    "shapes": (lambda x, u: jnp.tile(jnp.roll(x, 1)[:, None], (1, 2)).T.reshape(3, 2).squeeze(), "affine", ""),
    "padding": (lambda x, u: jnp.pad(x, 2)[1:-1:2], "affine", ""),
    "put together": (lambda x, u: jnp.concatenate([x, u, jnp.ones(1)]), "affine", ""),
    "index": (lambda x, u: x[I] + x[-1] + x[jnp.argmax(u)], "affine", ""),
    "index by x": (lambda x, u: TABLE[x.astype(int)[0] % 4], "neither", "whole numbers"),
    "dynamic slice": (lambda x, u: lax.dynamic_slice(x, (jnp.argmax(u),), (2,)), "affine", ""),
    "put in": (lambda x, u: jnp.zeros(4).at[1].set(x[0]).at[I].add(x[1]).at[0].multiply(u[0]), "affine", ""),
    "put in and multiplied": (lambda x, u: x.at[0].multiply(x[1]), "neither", "scatter"),
    "largest put in": (lambda x, u: jnp.zeros(3).at[0].max(x[1]), "neither", "scatter"),
    "put where x says": (lambda x, u: jnp.zeros(4).at[x.astype(int)[0] % 4].set(1.0), "neither", "whole numbers"),
    "written in place": (lambda x, u: lax.dynamic_update_slice(u, x[:1], (1,)), "affine", ""),
    "convolution": (lambda x, u: jnp.convolve(x, u), "affine", ""),
    "convolution with itself": (lambda x, u: jnp.convolve(x, x), "neither", "conv"),
    "Fourier transform": (lambda x, u: jnp.fft.ifft(jnp.fft.fft(x) * jnp.fft.fft(u)).real, "affine", ""),
    "spectrum": (lambda x, u: jnp.abs(jnp.fft.fft(x)), "neither", "`abs`"),
    "jit": (jax.jit(lambda x, u: u * x), "affine", ""),
    "in a jit": (lambda x, u: jax.jit(lambda z: jax.jit(jnp.sin)(z))(x), "neither", "sin"),
    "vmap": (jax.vmap(lambda x, u: u * x + jnp.sin(u)), "affine", ""),
    "in a vmap": (jax.vmap(lambda x, u: u + jnp.sin(x)), "neither", "sin"),
    "checkpoint": (lambda x, u: jax.checkpoint(lambda z: 2.0 * z)(x), "affine", ""),
    "in a checkpoint": (lambda x, u: jax.checkpoint(lambda z: z**2)(x), "neither", "integer_pow"),
    "cond": (lambda x, u: lax.cond(u[0] > 0, lambda z: 2.0 * z, lambda z: z - u, x), "affine", ""),
    "one branch": (lambda x, u: lax.cond(u[0] < 0.8, lambda z: z, lambda z: jnp.tanh(z), x), "neither", "tanh"),
    "branch by x": (lambda x, u: lax.cond(x[0] > 0, lambda z: z, lambda z: 2.0 * z, x), "neither", "comparison"),
    "switch": (lambda x, u: lax.switch(I[0], [lambda z: z, lambda z: -z, lambda z: z + u], x), "affine", ""),
    "scan": (lambda x, u: lax.scan(lambda c, v: (0.5 * c + v * x, c), u, u)[0], "affine", ""),
    "shift register": (shifted, "affine", ""),
    "bent in the loop": (bent_later, "neither", "integer_pow"),
    "running maximum": (lambda x, u: lax.scan(lambda c, v: (jnp.maximum(c, v), c), x[0], x)[1], "neither", "max"),
    "fori": (lambda x, u: lax.fori_loop(0, 3, lambda i, c: c + u * x + i, u), "affine", ""),
    "while": (lambda x, u: summed(x, u, lambda s: s[0] < 3), "affine", ""),
    "while until x": (lambda x, u: summed(x, u, lambda s: (s[1][0] < 3.0) & (s[0] < 4)), "neither", "loop"),
    "apart": (apart, ("affine", "independent"), ""),
    "other entries": (lambda x, u: jnp.stack([x[0], u[0] ** 2])[1] ** 3, "independent", ""),
    "exp of other entries": (lambda x, u: jnp.exp(jnp.stack([x[0], u[0]]))[1], "independent", ""),
    "no entries": (lambda x, u: jnp.concatenate([x[:0], u]), "independent", ""),
}  # fmt: skip


def degrees_of(function: Callable) -> tuple[Proof, list[str]]:
    proof = prove(function, jax.ShapeDtypeStruct((3,), jnp.float_), U)
    leaves = jax.tree.leaves(proof.degrees, is_leaf=lambda leaf: leaf is None)
    return proof, [("independent", "affine", "neither")[min(worst(leaf), 2)] for leaf in leaves]


def measured(function: Callable) -> list[str]:
    """What the values say, at points of several sizes and with several u."""
    rng = np.random.default_rng(0)
    size = np.repeat([0.1, 1.0, 10.0, 45.0], 10)[:, None]
    low, high = (jnp.asarray(size * rng.normal(size=(40, 3))) for _ in range(2))
    share = jnp.asarray(rng.uniform(0.2, 0.8, size=(40, 1)))
    others = U * jnp.asarray(rng.uniform(0.5, 1.5, size=(40, 3)))
    each = jax.jit(jax.vmap(function))
    at_low, at_high, at_zero = each(low, others), each(high, others), each(jnp.zeros_like(low), others)
    between = each(share * low + (1.0 - share) * high, others)
    found = []
    for parts in zip(*map(jax.tree.leaves, (at_low, at_high, between, at_zero)), strict=True):
        a, b, c, zero = (
            np.asarray(part).reshape(40, -1).astype(complex if part.dtype.kind == "c" else float) for part in parts
        )
        width = 1.0 + np.abs(a) + np.abs(b)
        if a.size == 0 or max(np.abs(a - zero).max(), np.abs(b - zero).max()) == 0.0:
            found.append("independent")
        else:
            bend = np.abs(c - share * a - (1.0 - np.asarray(share)) * b) / width
            found.append("affine" if bend.max() < 1e-12 else "neither")
            assert found[-1] == "affine" or bend.max() > 1e-6, "too near to tell"
    return found


@pytest.mark.parametrize("name", CASES)
def test_the_degree_is_what_the_values_say(name: str) -> None:
    function, expected, operation = CASES[name]
    proof, found = degrees_of(function)
    one = (expected,) if isinstance(expected, str) else expected
    assert set(found) == set(one)
    assert set(measured(function)) == set(one)
    blamed = [proof.blame(leaf) for leaf in jax.tree.leaves(proof.degrees)]
    words = [each.words() for each in blamed if each]
    assert all(operation in text for text in words)
    assert bool(words) == (expected == "neither")


@pytest.mark.parametrize(
    ("function", "operation"),
    [
        (lambda x, u: own_rule(x), "custom_jvp"),
        (lambda x, u: own_reverse_rule(x), "custom_vjp"),
        (lambda x, u: lax.stop_gradient(x), "stop_gradient"),
        (lambda x, u: jax.pure_callback(lambda z: 2.0 * z, jax.ShapeDtypeStruct((3,), jnp.float_), x), "pure_callback"),
    ],
)
def test_affine_values_that_are_refused(function: Callable, operation: str) -> None:
    """Their derivative is not that of their values, or nobody can look into them."""
    proof, found = degrees_of(function)
    assert found == ["neither"]
    blame = proof.blame(proof.degrees)
    assert blame is not None
    assert operation in blame.words()


def test_the_line_is_that_of_the_operation() -> None:
    def function(x: Any, u: Any) -> Any:
        y = 2.0 * x + u
        return y + jnp.abs(y)  # the line

    proof, _ = degrees_of(function)
    blame = proof.blame(proof.degrees)
    assert blame is not None
    assert str(blame.line()).endswith("(`return y + jnp.abs(y)  # the line`)")


def test_of_several_operations_each_entry_names_its_own_and_an_array_the_first() -> None:
    def function(x: Any, u: Any) -> Any:
        both = jnp.stack([jnp.sin(x[0]), jnp.exp(x[1])])
        return both, both[0], both[1]

    proof, _ = degrees_of(function)
    blames = [proof.blame(leaf) for leaf in proof.degrees]
    assert [blame.words() if blame else None for blame in blames] == ["`sin`", "`sin`", "`exp`"]


def test_a_value_that_is_rounded_is_said() -> None:
    proof, found = degrees_of(lambda x, u: x.astype(jnp.float32) + u.astype(jnp.float32))
    assert found == ["affine"]
    assert len(proof.rounded) == 1


def test_what_is_written_into_a_reference_is_never_believed() -> None:
    def function(x: Any, u: Any) -> Any:
        kept = jax.new_ref(u)
        kept[0] = x[0] ** 2
        return kept[...]

    assert degrees_of(function)[1] == ["neither"]
