"""Does the doubling end where the Kalman filter ends, and does it say so where there is no end?"""

import jax
import numpy as np
import pytest
from scipy.linalg import solve_discrete_are, solve_discrete_lyapunov

from ppl_worldmodel.identifiability import riccati

from .systems import filtered_by_hand, matrices, stationary

predicted, settled = jax.jit(riccati.predicted), jax.jit(riccati.settled)

ONE, TREND, TURN = np.eye(1), np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[0.8, 0.6], [-0.6, 0.8]])
FIRST, BOTH = np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]])
MOVING = np.array([[1.0, 0.5], [0.5, 0.25]])


@pytest.mark.parametrize("seed", range(4))
def test_stationary_systems(seed: int) -> None:
    A, C, Q, R = matrices(stationary(seed))
    P = np.asarray(predicted(A, C, Q, R))
    np.testing.assert_allclose(P, filtered_by_hand(A, C, Q, R)[0], rtol=1e-10, atol=1e-10 * P.max())
    np.testing.assert_allclose(P, solve_discrete_are(A.T, C.T, Q, R), rtol=1e-10, atol=1e-10 * P.max())
    S = solve_discrete_lyapunov(A, Q)
    np.testing.assert_allclose(settled(A, Q), S, rtol=1e-10, atol=1e-10 * S.max())


DIFFICULT = {
    "trend": (TREND, FIRST, np.diag([0.1, 0.001]), 1.0),
    "smooth trend": (TREND, FIRST, np.diag([0.0, 1e-8]), 1.0),
    "trend, no noise": (TREND, FIRST, np.diag([0.0, 1.0]), 0.0),
    "two scales": (np.diag([0.9, 0.8]), BOTH, np.diag([1e6, 1e-6]), 1.0),
    "ARMA": (np.array([[1.2, 1.0], [-0.5, 0.0]]), FIRST, np.outer([1.0, 0.4], [1.0, 0.4]), 0.0),
    "not invertible": (np.array([[1.2, 1.0], [-0.5, 0.0]]), FIRST, np.outer([1.0, 2.0], [1.0, 2.0]), 0.0),
    "explosive": (1.2 * TURN, FIRST, MOVING, 1e-6),
    "blind": (np.diag([0.9, 0.5]), 0.0 * FIRST, np.eye(2), 1.0),
}


@pytest.mark.parametrize("name", DIFFICULT)
def test_difficult_systems(name: str) -> None:
    A, C, Q, R = DIFFICULT[name]
    P = np.asarray(predicted(A, C, Q, np.array([[R]])))
    expected = solve_discrete_are(A.T, C.T, Q, np.array([[R]]))
    np.testing.assert_allclose(P, expected, rtol=1e-10, atol=1e-10 * expected.max())


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_what_nothing_drives_is_known_in_the_end(scale: float) -> None:
    """Constants, a line, an oscillation; and a level that moves beside a slope that does not."""
    for A in (np.diag([1.0, 0.5]), TREND, TURN):
        np.testing.assert_array_equal(predicted(A, FIRST, 0.0 * MOVING, scale * ONE), 0.0)
    moved = scale * np.diag([0.1, 0.0])
    found = np.asarray(predicted(TREND, FIRST, moved, scale * ONE))
    level = scale * (0.1 + np.sqrt(0.1**2 + 4 * 0.1)) / 2
    np.testing.assert_allclose(found, np.diag([level, 0.0]), rtol=1e-12, atol=1e-12 * level)
    found = np.asarray(predicted(np.diag([1.0, 1.0]), BOTH, moved, scale * ONE))
    np.testing.assert_allclose(found, np.diag([level, 0.0]), rtol=1e-12, atol=1e-12 * level)


def test_at_the_border_of_invertibility_it_is_nearly_right() -> None:
    """y = w + w_before: the filter finds w, but only in the limit."""
    A, noise = np.array([[0.0, 1.0], [0.0, 0.0]]), np.ones((2, 2))
    np.testing.assert_allclose(predicted(A, FIRST, noise, 0.0 * ONE), noise, rtol=1e-7)


@pytest.mark.parametrize("basis", [np.eye(2), np.array([[2.0, -1.0], [0.5, 1.5]])], ids=["as it is", "mixed"])
@pytest.mark.parametrize("root", [1.0, -1.0, 1.5])
def test_what_is_driven_and_neither_fades_nor_is_seen_has_no_limit(root: float, basis: np.ndarray) -> None:
    back = np.linalg.inv(basis)
    A, Q = basis @ np.diag([root, 0.5]) @ back, basis @ basis.T
    seen, unseen = FIRST @ back, np.array([[0.0, 1.0]]) @ back
    assert np.isnan(predicted(A, unseen, Q, ONE)).all()
    assert np.isnan(settled(A, Q)).all()
    assert np.isfinite(predicted(A, seen, Q, ONE)).all()
    # If nothing drives it, it does not matter that it is not seen; unless it explodes.
    of_the_other = basis @ np.diag([0.0, 1.0]) @ basis.T
    quiet = np.asarray(predicted(A, unseen, of_the_other, ONE))
    if root == 1.5:
        assert np.isnan(quiet).all()
    else:
        alone = (0.25 + np.sqrt(0.25**2 + 4)) / 2  # P = P / 4 / (1 + P) + 1
        np.testing.assert_allclose(unseen @ quiet @ unseen.T, [[alone]], rtol=1e-12)
        np.testing.assert_allclose(unseen @ np.asarray(settled(A, of_the_other)) @ unseen.T, [[4 / 3]], rtol=1e-12)


def test_two_levels_of_which_only_the_sum_is_seen() -> None:
    assert np.isnan(predicted(np.eye(2), BOTH, np.eye(2), ONE)).all()
    assert np.isfinite(predicted(np.diag([1.0, 0.999]), BOTH, np.eye(2), ONE)).all()
