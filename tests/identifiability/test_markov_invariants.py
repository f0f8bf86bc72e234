"""Are the invariants of a chain what their definitions say, and blind to the names of the states?  Limiting cases, too."""

from dataclasses import replace
from fractions import Fraction
from itertools import permutations
from math import log

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ppl_worldmodel.exact.system import FiniteState, Order
from ppl_worldmodel.identifiability import markov_invariants

from ..agreement import assert_logs_close, assert_probabilities_close
from ..exact.systems import FINITE_ORDERS, list_paths, random_finite

long_run = jax.jit(markov_invariants.long_run)
every_order = pytest.mark.parametrize("order", FINITE_ORDERS)


def system(T: list[list[float]], initial: list[float] | None = None) -> FiniteState:
    """A chain with six observations that say nothing."""
    states = len(T)
    start = jnp.ones(states) / states if initial is None else jnp.array(initial)
    return FiniteState(start, jnp.array(T), jnp.zeros((6, states)))


def rational_stationary(T: np.ndarray) -> np.ndarray:
    """share' T = share', sum 1, of an irreducible chain: elimination in fractions, of the moves between different states."""
    states = len(T)
    rows = [[Fraction(value) for value in row] for row in T.tolist()]
    for s, row in enumerate(rows):
        row[s] = 1 - sum(value for other, value in enumerate(row) if other != s)
    equations = [[rows[i][j] - (i == j) for i in range(states)] + [Fraction(0)] for j in range(states - 1)]
    equations.append([Fraction(1)] * (states + 1))
    for k in range(states):
        pivot = next(i for i in range(k, states) if equations[i][k])
        equations[k], equations[pivot] = equations[pivot], equations[k]
        equations[k] = [value / equations[k][k] for value in equations[k]]
        for i in range(states):
            if i != k:
                equations[i] = [a - equations[i][k] * b for a, b in zip(equations[i], equations[k], strict=True)]
    return np.array([float(equation[-1]) for equation in equations])


def characteristic_roots(T: np.ndarray) -> np.ndarray:
    """The eigenvalues, as roots of the characteristic polynomial, whose coefficients are exact (Faddeev & LeVerrier)."""
    matrix = np.array([[Fraction(value) for value in row] for row in T.tolist()])
    eye, power, coefficients = np.eye(len(T), dtype=int).astype(object), np.zeros_like(matrix), [Fraction(1)]
    for k in range(1, len(T) + 1):
        power = matrix @ power + coefficients[-1] * eye
        coefficients.append(-(matrix @ power).trace() / k)
    return np.roots([float(value) for value in coefficients])


def entropy(row: np.ndarray) -> float:
    return -sum(p * log(p) for p in row if p > 0)


@every_order
@pytest.mark.parametrize("seed", range(3))
def test_every_quantity_is_what_its_definition_says(order: Order, seed: int) -> None:
    one = random_finite(seed, order)
    found, T, listed = markov_invariants.invariants(one), np.asarray(one.transition), list_paths(one)
    roots = characteristic_roots(T)
    others = np.delete(roots, np.abs(roots - 1.0).argmin())
    others = others[np.argsort(-np.abs(others))]
    np.testing.assert_allclose(found["persistence"], np.abs(others), rtol=1e-10)
    np.testing.assert_allclose(found["angle"], np.abs(np.angle(others)), atol=1e-10)
    np.testing.assert_allclose(found["relaxation_time"], -1.0 / log(np.abs(others).max()), rtol=1e-10)
    share = rational_stationary(T)
    assert_probabilities_close(found["stationary"], np.sort(share)[::-1], "stationary")
    stays = np.array([sum(n * stay ** (n - 1) * (1.0 - stay) for n in range(1, 5000)) for stay in np.diag(T)])
    np.testing.assert_allclose(found["dwell_time"], np.sort(stays)[::-1], rtol=1e-10)
    np.testing.assert_allclose(found["entropy_rate"], share @ [entropy(row) for row in T], rtol=1e-10)
    moves = listed.filtered
    if order != "emission first":
        moves = np.concatenate([np.asarray(one.initial)[None], moves[:-1]])
    np.testing.assert_allclose(found["move_entropy"], np.mean(moves @ [entropy(row) for row in T]), rtol=1e-10)
    assert_logs_close(found["log_evidence"], listed.log_predictive.sum(), "log evidence")


@every_order
@pytest.mark.parametrize("varying", [False, True])
def test_the_names_of_the_states_do_not_matter(order: Order, varying: bool) -> None:
    one = random_finite(5, order, varying)
    expected, always = markov_invariants.invariants(one), {"move_entropy", "log_evidence"}
    assert set(expected) == (always if varying else always | set(markov_invariants.OF_ONE_MATRIX))
    assert set(markov_invariants.undefined(one.structure)) == (
        set(markov_invariants.OF_ONE_MATRIX) if varying else set()
    )
    for names in permutations(range(3)):
        new = jnp.array(names)
        seen = one.log_likelihood[..., new]
        called = one._replace(
            initial=one.initial[new],
            transition=one.transition[..., new, :][..., new],
            log_likelihood=seen[:, new] if order == "both states" else seen,
        )
        for name, value in markov_invariants.invariants(called).items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-11, atol=1e-13, err_msg=name)


def test_another_chain_is_told_apart() -> None:
    """A transposed T has the same eigenvalues, and the long run gives it away; with one rate changed nothing is the same."""
    T = [[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.05, 0.05, 0.9]]
    plain = markov_invariants.invariants(system(T))
    rows = np.array(T).T
    turned = long_run(jnp.ones(3) / 3, jnp.array(rows / rows.sum(axis=1, keepdims=True)))
    assert np.abs(np.sort(turned)[::-1] - plain["stationary"]).max() > 0.05
    other = markov_invariants.invariants(system([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.05, 0.1, 0.85]]))
    for name in ("persistence", "stationary", "dwell_time", "relaxation_time", "entropy_rate", "move_entropy"):
        assert np.abs(other[name] - plain[name]).max() > 1e-3, name


def test_rare_moves_are_rare_and_not_impossible() -> None:
    """A perturbation of 1e-12 has a long run of its own, to the last digits; the chain hardly ever forgets, but it does."""
    T = [[1.0 - 3e-12, 3e-12, 0.0], [1e-12, 0.5, 0.5 - 1e-12], [0.0, 1e-9, 1.0 - 1e-9]]
    found = markov_invariants.invariants(system(T, [0.0, 0.0, 1.0]))
    assert_probabilities_close(found["stationary"], np.sort(rational_stationary(np.array(T)))[::-1], "stationary")
    assert np.isfinite(found["relaxation_time"])
    assert found["relaxation_time"] > 1e11
    np.testing.assert_allclose(found["dwell_time"][0], 1.0 / 3e-12, rtol=1e-10)


def test_one_state_has_nothing_to_forget() -> None:
    found = markov_invariants.invariants(system([[1.0]]))
    assert found["persistence"].shape == found["angle"].shape == (0,)
    assert found["relaxation_time"] == found["entropy_rate"] == found["move_entropy"] == 0.0
    np.testing.assert_array_equal(found["stationary"], [1.0])
    assert np.isinf(found["dwell_time"]).all()


def test_two_closed_classes_depend_on_the_start() -> None:
    """From state 1 the chain ends in state 0 three times in four, else in state 2."""
    T = [[1.0, 0.0, 0.0], [0.6, 0.2, 0.2], [0.0, 0.0, 1.0]]
    for start, expected in [
        ([0.0, 1.0, 0.0], [0.75, 0.0, 0.25]),
        ([0.0, 0.0, 1.0], [0.0, 0.0, 1.0]),
        ([0.5, 0.5, 0.0], [0.875, 0.0, 0.125]),
    ]:
        shares = long_run(jnp.array(start), jnp.array(T))
        assert_probabilities_close(shares, expected, "long run")
        average = np.linalg.matrix_power((np.eye(3) + T) / 2.0, 2**12)  # without cycles, and so with a limit
        np.testing.assert_allclose(shares, np.array(start) @ average, rtol=0, atol=1e-12)
    found = markov_invariants.invariants(system(T, [0.0, 1.0, 0.0]))
    assert found["persistence"][0] == 1.0
    assert found["relaxation_time"] == np.inf
    np.testing.assert_allclose(found["dwell_time"], [np.inf, np.inf, 1.25], rtol=1e-14)


def test_a_cycle_never_forgets_where_it_started() -> None:
    found = markov_invariants.invariants(system([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], [1.0, 0.0, 0.0]))
    np.testing.assert_allclose(found["stationary"], np.full(3, 1 / 3), rtol=1e-14)
    np.testing.assert_allclose(found["persistence"], [1.0, 1.0], rtol=1e-14)
    np.testing.assert_allclose(found["angle"], np.full(2, 2 * np.pi / 3), rtol=1e-14)
    assert found["relaxation_time"] == np.inf
    assert found["entropy_rate"] == 0.0
    alternating = markov_invariants.invariants(system([[0.0, 0.5, 0.5], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(alternating["persistence"], [1.0, 0.0], atol=1e-14)
    np.testing.assert_allclose(alternating["angle"], [np.pi, 0.0], rtol=1e-14)
    np.testing.assert_allclose(alternating["stationary"], [0.5, 0.25, 0.25], rtol=1e-14)


def test_equal_rows_forget_at_once() -> None:
    found = markov_invariants.invariants(system([[0.2, 0.3, 0.5]] * 3, [1.0, 0.0, 0.0]))
    np.testing.assert_allclose(found["persistence"], 0.0, atol=1e-15)
    assert found["relaxation_time"] == 0.0
    np.testing.assert_array_equal(found["angle"], 0.0)
    np.testing.assert_allclose(found["stationary"], [0.5, 0.3, 0.2], rtol=1e-14)


def test_several_series_come_one_after_the_other() -> None:
    each = [random_finite(seed, "transition first") for seed in range(3)]
    stacked: FiniteState = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    found = markov_invariants.invariants(stacked._replace(structure=replace(stacked.structure, sequences=3)))
    for i, one in enumerate(each):
        for name, value in markov_invariants.invariants(one).items():
            np.testing.assert_allclose(found[name][i], value, rtol=1e-12, atol=1e-14, err_msg=name)
