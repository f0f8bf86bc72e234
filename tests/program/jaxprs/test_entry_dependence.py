"""Which entries lead where: moves keep entries apart, arithmetic marks them, and what is not known marks all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ppl_worldmodel.program.jaxprs.entry_dependence import COMPUTED, MOVED, Entries

FIRST = np.array([True, False, False])
CASES = {
    "taken out": (lambda y: y[0], MOVED),
    "another": (lambda y: y[1], 0),
    "the last of it": (lambda y: y[1:], [0, 0]),
    "at known places": (lambda y: y[jnp.array([1, 0])], [0, MOVED]),
    "stacked": (lambda y: jnp.stack([y[2], y[0]]), [0, MOVED]),
    "joined": (lambda y: jnp.concatenate([y[1:], y[:1]]), [0, 0, MOVED]),
    "turned": (lambda y: y[::-1][None].T, [[0], [0], [MOVED]]),
    "arithmetic": (lambda y: 2 * y + jnp.exp(y), [COMPUTED, 0, 0]),
    "it cancels": (lambda y: 0 * y[0], COMPUTED),
    "compared": (lambda y: jnp.where(y > 0, 1, 0), [COMPUTED, 0, 0]),
    "in a compiled function": (jax.jit(lambda y: (y[1], y[0] + 1)), [0, COMPUTED]),
    "summed": (lambda y: y.sum(), COMPUTED),
    "in a matrix product": (lambda y: jnp.eye(3) @ y, [COMPUTED] * 3),
    "at a place that it says": (lambda y: jnp.arange(3)[y[0].astype(int)], COMPUTED),
    "in a loop": (lambda y: jax.lax.fori_loop(0, 3, lambda i, s: s + y[i], 0.0), COMPUTED),
    "in a branch": (lambda y: jax.lax.cond(y[0] > 0, lambda: 1.0, lambda: 2.0), COMPUTED),
}


@pytest.mark.parametrize("name", CASES)
def test_where_the_first_entry_leads(name: str) -> None:
    function, expected = CASES[name]
    found = Entries(function, jnp.ones(3)).reached({0: FIRST})
    marks = [mark.tolist() for mark in found.marks]
    assert (marks[0] if len(marks) == 1 else marks) == expected
    assert not found.asked


@pytest.mark.parametrize(
    ("function", "asked"),
    [
        (lambda y: jnp.isnan(y[0]), True),
        (lambda y: jnp.isfinite(y), True),
        (lambda y: jnp.nan_to_num(y), True),
        (lambda y: jnp.isnan(y[1]), False),
        (lambda y: jnp.isnan(2 * y[0]), False),
        (lambda y: y[0] != y[1], False),
    ],
)
def test_whether_it_is_asked_if_an_entry_is_a_number(function: object, asked: bool) -> None:
    assert Entries(function, jnp.ones(3)).reached({0: FIRST}).asked is asked  # type: ignore[arg-type]


def test_marks_agree_with_derivatives() -> None:
    """An output without a mark has derivative zero in the marked entries; random functions of moves and arithmetic."""
    rng = np.random.default_rng(0)
    moves = [
        lambda y: y[::-1],
        lambda y: jnp.roll(y, 1),
        lambda y: y.at[0].set(1.0),
        lambda y: y * y[2],
        lambda y: jnp.maximum(y, y[1]),
    ]
    for _ in range(20):
        chosen = rng.integers(len(moves), size=3)

        def function(y: jax.Array, chosen: np.ndarray = chosen) -> jax.Array:
            for which in chosen:
                y = moves[which](y)
            return y

        marks = Entries(function, jnp.ones(3)).reached({0: FIRST}).marks[0]
        slope = np.asarray(jax.jacfwd(function)(jnp.array([0.7, 0.3, 1.9])))[:, 0]
        assert not slope[marks == 0].any()
