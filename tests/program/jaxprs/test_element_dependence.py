"""Element-wise dependence against finite differences by brute force: what moves when one input moves must be said."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.scipy.special import betainc, gammaln

from ppl_worldmodel.program.jaxprs.element_dependence import element_labels
from ppl_worldmodel.program.jaxprs.element_rules import MIXED, NOTHING

N = 4
X = np.random.default_rng(0).normal(size=(N, 3))
TABLE = np.random.default_rng(1).normal(size=(5, 2))
K = np.array([3, 1, 0, 2])


def loop(x: Any) -> Any:
    return lax.scan(lambda c, row: (c + row.sum(), c), 0.0, x)[1]


def each_row(x: Any) -> Any:
    return lax.fori_loop(0, 3, lambda _, c: jnp.sin(c) + x, x)


FUNCTIONS: dict[str, tuple[Callable, bool]] = {  # the function, and whether it keeps the rows apart
    "elementwise": (lambda x: jnp.exp(x) * 2.0 - jnp.maximum(x, 0.3), True),
    "row sums": (lambda x: x.sum(axis=1), True),
    "column sums": (lambda x: x.sum(axis=0), False),
    "softmax": (lambda x: jax.nn.softmax(x, axis=-1), True),
    "logsumexp": (lambda x: jax.scipy.special.logsumexp(x, axis=1), True),
    "transpose": (lambda x: (x.T + 1.0)[:2], True),
    "reshape": (lambda x: x.reshape(2, 2, 3).reshape(-1), True),
    "product with a matrix": (lambda x: x @ TABLE[:3], True),
    "product from the left": (lambda x: jnp.arange(4.0) @ x, False),
    "gram": (lambda x: x @ x.T, False),
    "product of vectors": (lambda x: x[:, 0] @ x[:, 1] + x[:, 2], False),
    "product of a row with itself": (lambda x: x[0] @ x[0], True),
    "batched product": (lambda x: jnp.einsum("ni,nij->nj", x, jnp.broadcast_to(TABLE[:3], (N, 3, 2)) * x[:, :, None]), True),
    "table": (lambda x: jnp.asarray(TABLE)[(x[:, 0] > 0).astype(int)], True),
    "table of rows": (lambda x: jnp.take_along_axis(x, (x[:, :1] > 0).astype(int), axis=1), True),
    "permuted": (lambda x: x[jnp.array([2, 0, 3, 1])], True),
    "picked by what is known": (lambda x: x[K, 1], True),
    "picked by each other": (lambda x: x[(x[:, 0] > 0).astype(int)], False),
    "shifted sum": (lambda x: x[1:] + x[:-1], False),
    "concatenated": (lambda x: jnp.concatenate([x, x[::-1]]), True),
    "padded": (lambda x: jnp.pad(x, ((1, 0), (0, 2))), True),
    "where": (lambda x: jnp.where(x > 0, x, jnp.zeros(3)), True),
    "jit": (lambda x: jax.jit(jnp.tanh)(x), True),
    "vmap": (lambda x: jax.vmap(lambda row: row @ row)(x), True),
    "cond": (lambda x: lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x), False),
    "switch by vmap": (lambda x: jax.vmap(lambda row: lax.cond(row[0] > 0, jnp.sin, jnp.cos, row))(x), True),
    "loop over rows": (loop, False),
    "loop": (each_row, True),
    "cholesky": (lambda x: jnp.linalg.cholesky(jnp.eye(3) * 9.0 + x[:, :, None] * x[:, None, :]), True),
    "sort in rows": (lambda x: jnp.sort(x, axis=1), True),
    "sort": (lambda x: jnp.sort(x, axis=0), False),
    "cumsum": (lambda x: jnp.cumsum(x, axis=0), False),
    "cumsum in rows": (lambda x: jnp.cumsum(x, axis=1), True),
    "set": (lambda x: jnp.zeros((N, 3)).at[K].set(x), True),
    "set one": (lambda x: x.at[:, 0].set(0.0).at[1, 1].add(x[1, 2]), True),
    "set another": (lambda x: x.at[0].add(x[1]), False),
    "one hot": (lambda x: jax.nn.one_hot((x[:, 0] > 0).astype(int), 3) * x, True),
    "custom rule": (lambda x: jax.nn.relu(x) + jax.nn.softplus(x), True),
    "special functions": (lambda x: gammaln(x**2 + 1) + betainc(1.0, 2.0, jax.nn.sigmoid(x)), True),
    "mean": (lambda x: x - x.mean(), False),
    "one row": (lambda x: x[2] * jnp.ones((2, 3)), True),
    "nothing": (lambda x: jnp.ones(3) * jnp.arange(3), True),
    "inverse": (lambda x: jnp.linalg.solve(jnp.eye(3) * 9.0 + x[0][:, None] * x[1], x[2]), False),
}  # fmt: skip


def moved(function: Callable, x: np.ndarray) -> list[np.ndarray]:
    """For each row: which entries of the result move when it does, at several large moves."""
    found = []
    for row in range(N):
        changes = []
        for size in (0.7, -1.3, 5.0, -6.0):
            other = x.copy()
            other[row] += size * np.array([1.0, -0.4, 0.3])
            changes.append(np.asarray(function(jnp.asarray(other))) != np.asarray(function(jnp.asarray(x))))
        found.append(np.any(changes, axis=0))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_dependence_is_missed_and_what_is_apart_is_proven_so(name: str) -> None:
    function, apart = FUNCTIONS[name]
    labels = np.broadcast_to(np.arange(N)[:, None], X.shape)
    found = element_labels(function, [labels], X)
    by_row = moved(function, X)
    for row, changed in enumerate(by_row):
        allowed = (found == row) | (found == MIXED)
        assert np.all(allowed | ~changed), f"{name}: row {row} moves entries that are not said to depend on it"
    assert bool((found != MIXED).all()) == apart
    if name == "nothing":
        assert (found == NOTHING).all()


def test_what_has_no_rule_mixes() -> None:
    def function(x: Any) -> Any:
        return jax.pure_callback(lambda x: np.asarray(x), jax.ShapeDtypeStruct((N, 3), jnp.float64), x)

    labels = np.broadcast_to(np.arange(N)[:, None], X.shape)
    assert (element_labels(function, [labels], X) == MIXED).all()


def test_arguments_that_are_not_labelled_count_for_nothing() -> None:
    found = element_labels(
        lambda x, y: (x.sum(axis=1) + y, y), [np.arange(3 * N).reshape(N, 3) // 3, None], X, np.ones(N)
    )
    np.testing.assert_array_equal(found[0], np.arange(N))
    assert (found[1] == NOTHING).all()
