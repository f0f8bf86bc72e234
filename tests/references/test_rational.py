"""Is the rational Kalman filter exact, and does it refuse what has no density?"""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from . import dense, rational


def scalar_walk(num_steps: int, *, level_variance: Any, noise_variance: Any) -> dict[str, Any]:
    """A random walk that is observed with noise, as 1 x 1 matrices."""
    one = {"A": [[1]], "b": [0], "Q": [[level_variance]], "C": [[1]], "d": [0], "R": [[noise_variance]]}
    return {name: [matrix] * num_steps for name, matrix in one.items()} | {"emission_first": True}


def test_rational_scalar_by_hand() -> None:
    # Prior N(0, 1), y = x + noise of variance 1/3, y = 2: S = 4/3, gain 3/4. Then x gains a variance of 1/4.
    system = scalar_walk(2, level_variance=Fraction(1, 4), noise_variance=Fraction(1, 3))
    found = rational.kalman_filter([[2], [None]], initial_mean=[0], initial_covariance=[[1]], **system)
    assert found.filtered_mean == [[Fraction(3, 2)], [Fraction(3, 2)]]
    assert found.filtered_covariance == [[[Fraction(1, 4)]], [[Fraction(1, 2)]]]
    assert found.predicted_covariance == [[[1]], [[Fraction(1, 2)]]]
    assert found.quadratic == [3, 0]
    assert found.log_evidence == pytest.approx(-(np.log(2 * np.pi * 4 / 3) + 3) / 2, rel=1e-15)


def test_rational_keeps_a_wide_prior_with_small_noise() -> None:
    system = scalar_walk(3, level_variance=0.0, noise_variance=1e-20)
    found = rational.kalman_filter([[1.0]] * 3, initial_mean=[0.0], initial_covariance=[[1e20]], **system)
    precision = 3 / Fraction(1e-20) + 1 / Fraction(1e20)
    assert found.filtered_covariance[-1] == [[1 / precision]]


def test_rational_inverse_changes_rows() -> None:
    swap = [[Fraction(0), Fraction(2)], [Fraction(1), Fraction(0)]]
    assert rational.invert(swap) == ([[0, 1], [Fraction(1, 2), 0]], -2)


def test_no_density_is_refused() -> None:
    system = scalar_walk(2, level_variance=0, noise_variance=0)
    start: dict[str, Any] = {"initial_mean": [0], "initial_covariance": [[1]]}
    with pytest.raises(ZeroDivisionError, match="singular"):
        rational.kalman_filter([[1], [1]], **start, **system)
    with pytest.raises(np.linalg.LinAlgError):
        dense.posterior(dense.joint(**start, **system), np.ones((2, 1)), dim_x=1, emission_first=True)
