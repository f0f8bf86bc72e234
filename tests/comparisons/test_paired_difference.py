"""Do paired differences have honest errors, and does the bridge know a normal's integral?"""

import numpy as np
import pytest
from scipy import stats

from ppl_worldmodel.comparisons.bridge_sampling import bridged
from ppl_worldmodel.comparisons.paired_difference import difference, error_of_sum


def test_independent_differences_have_the_plain_error() -> None:
    series = np.random.default_rng(0).normal(size=4000)
    assert error_of_sum(series) == pytest.approx(np.sqrt(4000) * series.std(), rel=0.1)


def test_dependent_differences_have_a_larger_one() -> None:
    """An AR(1) with coefficient 0.8 has three times the standard error of its variance: sqrt((1 + a) / (1 - a))."""
    rng = np.random.default_rng(1)
    series = np.zeros(20_000)
    for t in range(1, series.size):
        series[t] = 0.8 * series[t - 1] + rng.normal()
    assert error_of_sum(series) / (np.sqrt(series.size) * series.std()) == pytest.approx(3.0, rel=0.2)


def test_the_steps_that_both_have_are_compared() -> None:
    here, there = np.array([np.nan, *np.arange(10.0)]), np.array([*np.arange(10.0), np.nan])
    found = difference(here, there)
    assert (found.total, found.error, found.steps) == (-9.0, 0.0, 9)
    assert found.tells


@pytest.mark.parametrize("seed", range(5))
def test_the_bridge_finds_the_integral_of_a_normal(seed: int) -> None:
    """exp(-x^2 / 2) integrates to sqrt(2 pi); the proposal is too wide and off centre."""
    rng = np.random.default_rng(seed)
    draws, proposed = rng.normal(size=(4, 1000)), rng.normal(0.5, 1.5, size=4000)

    def ratio(x: np.ndarray) -> np.ndarray:
        return -0.5 * x**2 - stats.norm.logpdf(x, 0.5, 1.5)

    found = bridged(ratio(draws), ratio(proposed))
    assert abs(found.log_evidence - 0.5 * np.log(2 * np.pi)) < 4 * found.error
    assert 0.001 < found.error < 0.05
