"""Are leave-future-out scores those of refitting?  Against a conjugate model, where every predictive is known in closed form.

y_t ~ N(theta, 1) with theta ~ N(0, 4): p(y_t | y_1:t-1) is normal, and so is every posterior, from which exact draws are taken.
"""

import numpy as np
import pytest
from scipy import stats

from ppl_worldmodel.comparisons.leave_future_out import PARETO_K, default_first, leave_future_out
from ppl_worldmodel.errors import DataError

STEPS, VARIANCE = 60, 4.0


def series() -> np.ndarray:
    return np.random.default_rng(5).normal(1.0, 1.0, size=STEPS)


def posterior(y: np.ndarray, n: int) -> tuple[float, float]:
    """Mean and variance of theta given the first n observations."""
    precision = 1.0 / VARIANCE + n
    return float(y[:n].sum() / precision), 1.0 / precision


def refitter(y: np.ndarray, asked: list[int], seed: int = 6):
    rng = np.random.default_rng(seed)

    def refit(n: int) -> np.ndarray:
        asked.append(n)
        mean, variance = posterior(y, n)
        theta = rng.normal(mean, np.sqrt(variance), size=(4, 1000))
        return stats.norm.logpdf(y, theta[..., None], 1.0)

    return refit


def exact(y: np.ndarray, t: int, horizon: int) -> float:
    mean, variance = posterior(y, t)
    covariance = np.eye(horizon) + variance
    return float(stats.multivariate_normal.logpdf(y[t : t + horizon], np.full(horizon, mean), covariance))


@pytest.mark.parametrize("horizon", [1, 4])
@pytest.mark.parametrize("whole", [False, True])
def test_scores_are_those_of_refitting_within_their_errors(horizon: int, whole: bool) -> None:
    y, asked = series(), []
    refit = refitter(y, asked)
    first = default_first(STEPS)
    found = leave_future_out(refit, STEPS, first=first, horizon=horizon, whole=refit(STEPS) if whole else None)
    scored = range(first, STEPS - horizon + 1)
    right = np.array([exact(y, t, horizon) for t in scored])
    z = (found.elpd[scored] - right) / found.error[scored]
    assert np.isnan(np.delete(found.elpd, list(scored))).all()
    assert np.abs(z).max() < 5.0
    assert abs(found.total - right.sum()) < 4.0 * found.total_error
    assert len(asked) <= 6, "most steps are served by weighting"
    assert np.nanmax(found.pareto_k) <= 0.5


@pytest.mark.slow
def test_errors_are_as_large_as_they_say_while_weights_have_a_variance() -> None:
    """Backwards from the whole series, the root mean square of z over independent samples; with larger k-hat the error hides."""

    def typical(most_k: float) -> float:
        z = []
        for seed in range(25):
            y = np.random.default_rng(100 + seed).normal(1.0, 1.0, size=STEPS)
            refit = refitter(y, [], seed)
            found = leave_future_out(refit, STEPS, first=12, whole=refit(STEPS), most_k=most_k)
            weighted = [t for t in range(12, STEPS) if found.seen[t] == STEPS]
            z += [(found.elpd[t] - exact(y, t, 1)) / found.error[t] for t in weighted]
        return float(np.sqrt(np.mean(np.square(z))))

    assert typical(PARETO_K) < 1.3
    assert typical(1.0) > 1.8


def test_without_weights_the_scores_would_be_wrong() -> None:
    """Draws that have seen all of the series, used as they are: the bias is far beyond the error."""
    y = series()
    terms = refitter(y, [])(STEPS)
    first = default_first(STEPS)
    used_as_they_are = np.log(np.exp(terms).mean(axis=(0, 1)))[first:].sum()
    right = sum(exact(y, t, 1) for t in range(first, STEPS))
    found = leave_future_out(refitter(y, []), STEPS, first=first)
    assert used_as_they_are - right > 5.0 * found.total_error


@pytest.mark.parametrize(("first", "horizon"), [(0, 1), (STEPS, 1), (STEPS - 3, 4)])
def test_a_start_without_past_or_future_is_refused(first: int, horizon: int) -> None:
    with pytest.raises(DataError, match="give a first step"):
        leave_future_out(refitter(series(), []), STEPS, first=first, horizon=horizon)
