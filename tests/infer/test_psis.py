"""Are weights smoothed in the right tail, and does k-hat tell it?"""

import numpy as np
import pytest

from ppl_worldmodel.infer.psis import psis


@pytest.mark.parametrize("k", [0.3, 0.7, 1.2])
def test_k_hat_is_the_tail_of_the_ratio(k: float) -> None:
    """The exponential of k times an exponential draw is a Pareto draw of shape k."""
    draws = np.random.default_rng(3).exponential(size=100_000)
    tail = 3 * np.sqrt(draws.size)  # as many draws tell k, with a standard error of (1 + k) / sqrt(tail)
    assert abs(psis(k * draws)[1] - k) < 4 * (1 + k) / np.sqrt(tail)


def test_a_narrower_density_has_no_heavy_tail() -> None:
    draws = np.random.default_rng(3).normal(size=20_000)
    assert psis(-(draws**2))[1] < 0.1


def test_the_weights_are_those_of_the_ratio() -> None:
    """Draws of N(0, 1) for N(0.3, 1): the weighted mean is 0.3."""
    draws = np.random.default_rng(4).normal(size=(4, 20_000))
    log_weight, k = psis(0.3 * draws)
    weight = np.exp(log_weight)
    error = np.sqrt((weight**2 * (draws - 0.3) ** 2).sum())
    assert weight.sum() == pytest.approx(1.0, rel=1e-12)
    assert abs((weight * draws).sum() - 0.3) < 4 * error
    assert abs((np.exp(-0.3 * draws) * draws).mean() - 0.3) > 10 * error, "the other sign would be noticed"
    assert k < 0.4


def test_equal_and_impossible_ratios() -> None:
    log_weight, k = psis(np.zeros((2, 5)))
    np.testing.assert_allclose(log_weight, -np.log(10))
    assert k == 0.0
    assert psis(np.array([0.0, -np.inf, 1.0]))[1] == np.inf
