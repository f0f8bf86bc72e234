"""Are the invariants of a linear-Gaussian system what their definitions say, and the same in any coordinates of its state?"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

from ppl_worldmodel.exact import gaussian
from ppl_worldmodel.exact.system import LinearGaussian
from ppl_worldmodel.identifiability import gaussian_invariants

from ..exact.systems import GAUSSIAN_ORDERS, random_gaussian
from .systems import change_basis, filtered_by_hand, matrices, of, stationary

HORIZON = 6
SEEN = np.array([[1.0, 0.3]])


def found_of(system: LinearGaussian) -> dict[str, np.ndarray]:
    found = gaussian_invariants.invariants(system, horizon=HORIZON, num_frequencies=5)
    return {name: np.asarray(value) for name, value in found.items()}


def forecasts(system: LinearGaussian, observations: np.ndarray) -> np.ndarray:
    """E[y_t+k | y_1:t] for k = 0 ... HORIZON after all observations, the filter run by hand in NumPy; k = 0: of C x + d."""
    A, C, Q, R = matrices(system)
    b, d = np.asarray(system.b), np.asarray(system.d)
    mean, P = np.asarray(system.initial_mean), np.asarray(system.initial_covariance)
    for t, y in enumerate(observations):
        if t > 0 or system.structure.order == "transition first":
            mean, P = A @ mean + b, A @ P @ A.T + Q
        gain = P @ C.T @ np.linalg.inv(C @ P @ C.T + R)
        mean, P = mean + gain @ (y - C @ mean - d), P - gain @ C @ P
    ahead = []
    for _ in range(HORIZON + 1):
        ahead.append(C @ mean + d)
        mean = A @ mean + b
    return np.array(ahead)


@pytest.mark.parametrize("order", GAUSSIAN_ORDERS)
def test_the_response_is_what_a_surprise_does_to_the_forecasts(order: Any) -> None:
    system = stationary(0, order)
    found = found_of(system)
    y = np.random.default_rng(0).normal(size=(400, 2))
    before = forecasts(system, y)
    for component in range(2):
        surprised = y.copy()
        surprised[-1, component] += 1.0
        moved = forecasts(system, surprised) - before
        np.testing.assert_allclose(found["response"][:, :, component], moved, rtol=1e-10, atol=1e-11)
    np.testing.assert_array_equal(found["gain"], found["response"][0])
    A, C, Q, R = matrices(system)
    P, gain = filtered_by_hand(A, C, Q, R)
    np.testing.assert_allclose(found["innovation_covariance"], C @ P @ C.T + R, rtol=1e-10)
    np.testing.assert_allclose(found["gain"], C @ gain, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found["log_evidence"], gaussian.filter(system).log_evidence, rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_spectrum_is_the_fourier_sum_of_the_autocovariances(seed: int) -> None:
    system = stationary(seed)
    found = found_of(system)
    A, C, Q, R = matrices(system)
    S, power, lags = solve_discrete_lyapunov(A, Q), np.eye(3), []
    for _ in range(400):
        lags.append(C @ power @ S @ C.T)
        power = power @ A
    lags[0] = lags[0] + R
    np.testing.assert_allclose(found["autocovariance"], lags[: HORIZON + 1], rtol=1e-10, atol=1e-10 * np.max(lags[0]))
    for j, frequency in enumerate(np.asarray(gaussian_invariants.frequencies(5))):
        assert frequency == pytest.approx(np.pi * (2 * j + 1) / 10)
        waves = [2.0 * np.cos(k * frequency) * np.diag(lag) for k, lag in enumerate(lags)]
        np.testing.assert_allclose(found["spectrum"][j], np.sum(waves, axis=0) - np.diag(lags[0]), rtol=1e-10)


@pytest.mark.parametrize("order", GAUSSIAN_ORDERS)
@pytest.mark.parametrize("seed", range(4))
def test_coordinates_do_not_matter(seed: int, order: Any) -> None:
    """Also of systems that explode (seeds above 1), whose autocovariance has no limit."""
    system = stationary(seed, order) if seed < 2 else random_gaussian(seed, order)
    expected = found_of(system)
    random = np.random.default_rng(seed)
    for _ in range(3):
        M = random.normal(size=(3, 3))
        for name, value in found_of(change_basis(system, M)).items():
            size = np.abs(expected[name][np.isfinite(expected[name])]).max(initial=0.0)
            np.testing.assert_allclose(value, expected[name], rtol=1e-8, atol=1e-9 * size, err_msg=name)
    assert np.isnan(expected["autocovariance"]).all() == (np.abs(np.linalg.eigvals(system.A)).max() > 1)
    assert all(np.isfinite(expected[name]).all() for name in ("response", "spectrum", "innovation_covariance"))


def test_another_system_is_told_apart() -> None:
    """The eigenvalues of A alone do not: with other noise they stay, and what the filter does with a surprise does not."""
    plain = of(np.diag([0.8, -0.5]), SEEN, np.eye(2), 4.0)
    expected, found = found_of(plain), found_of(plain._replace(Q=4.0 * plain.Q, R=plain.R / 4.0))
    np.testing.assert_array_equal(found["persistence"], expected["persistence"])
    for name in ("gain", "response", "innovation_covariance", "autocovariance", "spectrum", "log_evidence"):
        assert np.abs(found[name] - expected[name]).max() > 0.1, name


def test_half_lives_and_periods() -> None:
    turn = np.array([[np.cos(0.1), np.sin(0.1)], [-np.sin(0.1), np.cos(0.1)]])
    cases = {
        "turns in 20 pi steps": (0.5**0.125 * turn, [8.0, 8.0], [20 * np.pi] * 2),
        "alternates, and is gone": (np.diag([0.0, -0.5]), [1.0, 0.0], [2.0, np.inf]),
        "a trend": (np.array([[1.0, 1.0], [0.0, 1.0]]), [np.inf] * 2, [np.inf] * 2),
        "a trend, mixed": (np.array([[1.5, 0.25], [-1.0, 0.5]]), [np.inf] * 2, [np.inf] * 2),
        "explodes": (np.diag([0.25, 1.5]), [np.inf, 0.5], [np.inf] * 2),
    }
    for name, (A, half_life, period) in cases.items():
        found = found_of(of(A, SEEN, np.eye(2), 1.0))
        np.testing.assert_allclose(found["half_life"], half_life, rtol=1e-12, err_msg=name)
        np.testing.assert_allclose(found["period"], period, rtol=1e-12, err_msg=name)


def test_a_random_walk_has_a_spectrum_and_no_autocovariance() -> None:
    """A fast mode that is not seen beside it changes nothing."""
    found = found_of(of(np.diag([1.0, 0.5]), [[1.0, 0.0]], 2.0 * np.eye(2), 3.0))
    expected = 2.0 / np.abs(np.exp(1j * np.asarray(gaussian_invariants.frequencies(5))) - 1.0) ** 2 + 3.0
    np.testing.assert_allclose(found["spectrum"][:, 0], expected, rtol=1e-12)
    assert np.isnan(found["autocovariance"]).all()
    P = (2.0 + np.sqrt(2.0**2 + 4 * 2.0 * 3.0)) / 2
    np.testing.assert_allclose(found["response"], np.full((HORIZON + 1, 1, 1), P / (P + 3.0)), rtol=1e-12)


def test_a_random_walk_that_nobody_sees_is_not_filtered() -> None:
    found = found_of(of(np.diag([1.0, 0.5]), [[0.0, 1.0]], np.eye(2), 1.0))
    assert all(np.isnan(found[name]).all() for name in ("innovation_covariance", "gain", "response"))
    assert all(np.isfinite(found[name]).all() for name in ("persistence", "spectrum", "log_evidence"))


@pytest.mark.parametrize(
    ("varying", "left"),
    [("bd", {*gaussian_invariants.NEEDS}), ("C", {"persistence", "angle", "half_life", "period"}), ("AQ", set())],
)
def test_what_varies_in_time_leaves_out_what_needs_it(varying: str, left: set[str]) -> None:
    system = random_gaussian(0, "emission first", varying)
    assert set(found_of(system)) == left | {"log_evidence"}
    assert set(gaussian_invariants.undefined(system.structure)) == {*gaussian_invariants.NEEDS} - left
    if varying == "AQ":
        assert gaussian_invariants.undefined(system.structure)["half_life"] == "A varies in time"
        assert gaussian_invariants.undefined(system.structure)["response"] == "A, Q vary in time"


def test_several_series_come_one_after_the_other() -> None:
    each = [stationary(seed) for seed in range(3)]
    stacked: LinearGaussian = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    found = found_of(stacked._replace(structure=replace(stacked.structure, sequences=3)))
    for i, one in enumerate(each):
        for name, value in found_of(one).items():
            np.testing.assert_allclose(found[name][i], value, rtol=1e-9, atol=1e-10, err_msg=name)
