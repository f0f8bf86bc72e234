"""Are the windows' predictives exact?  Evidence of whole counts, quadrature over the parameters, and sums over all series."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import gammaln, logsumexp

from ppl_worldmodel.comparisons.window_models import counts, symbols

from ..agreement import assert_logs_close

NAN = np.nan
SERIES = np.array([0, 2, 2, NAN, 1, 0, 2, 1, 1, NAN, NAN, 2, 0, 0, 2, 1, 2, 2, 0, 1], float)
ACTIONS = np.array([0, 1, 1, 0, 1, 0, 0, 0, 1, 1, 0, 1, 1, 1, 0, 0, 1, 0, 1, 0])
COUNTS = np.array([3, 0, 7, NAN, 2, 5, 9, 8, NAN, 1, 0, 4, 12, 6, 3], float)


def looked_at(series: np.ndarray, order: int, actions: np.ndarray | None) -> list[str]:
    """What stands before each step, as a word: the action and the last few values, `?` missing, `^` before the start."""
    words = ["^"] * order + ["?" if np.isnan(value) else str(int(value)) for value in series]
    window = ["".join(words[t : t + order]) for t in range(len(series))]
    return window if actions is None else [f"{a}:{word}" for a, word in zip(actions, window, strict=True)]


def by_gamma_functions(series: np.ndarray, order: int, size: int, alpha: float, actions: np.ndarray | None) -> float:
    """The Dirichlet-multinomial evidence of each context's total counts."""
    pairs = Counter(zip(looked_at(series, order, actions), series, strict=True))
    total = 0.0
    for context in {context for context, _ in pairs}:
        counted = np.array([pairs[context, float(symbol)] for symbol in range(size)])
        total += gammaln(size * alpha) - gammaln(size * alpha + counted.sum())
        total += (gammaln(alpha + counted) - gammaln(alpha)).sum()
    return total


@pytest.mark.parametrize("actions", [None, ACTIONS], ids=["no actions", "actions"])
@pytest.mark.parametrize("alpha", [0.5, 2.0])
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_the_sum_is_the_evidence_of_the_counts(order: int, alpha: float, actions: np.ndarray | None) -> None:
    found = symbols(SERIES, order=order, num_symbols=4, actions=actions, concentration=alpha)
    assert_logs_close(found.sum(), by_gamma_functions(SERIES, order, 4, alpha, actions), "evidence")
    np.testing.assert_array_equal(found[np.isnan(SERIES)], 0.0)


def test_a_bernoulli_series_by_quadrature() -> None:
    series = np.array([1.0, 0.0, 1.0, 1.0, 1.0])

    def density(angle: float) -> float:  # p = sin^2(angle) takes the poles off the Beta(1/2, 1/2) density
        p = np.sin(angle) ** 2
        return 2.0 / np.pi * p**4 * (1.0 - p)

    expected = np.log(integrate.quad(density, 0.0, np.pi / 2.0, epsrel=1e-13)[0])
    assert_logs_close(symbols(series, order=0, num_symbols=2).sum(), expected, "evidence")


@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_next_symbols_sum_to_one(order: int) -> None:
    for t in range(len(SERIES)):
        nexts = [np.append(SERIES[:t], symbol) for symbol in range(3)]
        each = [symbols(y, order=order, num_symbols=3, actions=ACTIONS[: t + 1])[-1] for y in nexts]
        assert_logs_close(logsumexp(each), 0.0, f"t = {t}")


@pytest.mark.parametrize("order", [0, 1, 2])
def test_all_series_sum_to_one(order: int) -> None:
    each = [symbols(np.array(y, float), order=order, num_symbols=2).sum() for y in product((0, 1), repeat=7)]
    assert_logs_close(logsumexp(each), 0.0, "over all series")


def test_a_missing_draw_of_independent_ones_is_summed_out() -> None:
    series = np.array([0, NAN, 2, 1, NAN, 1], float)
    filled = [np.array([0, a, 2, 1, b, 1], float) for a, b in product(range(3), repeat=2)]
    every = [symbols(y, order=0, num_symbols=3).sum() for y in filled]
    assert_logs_close(symbols(series, order=0, num_symbols=3).sum(), logsumexp(every), "evidence")


def test_names_of_symbols_do_not_matter() -> None:
    renamed = np.where(np.isnan(SERIES), NAN, (SERIES + 1) % 3)
    for order in range(3):
        assert_logs_close(
            symbols(renamed, order=order, num_symbols=3), symbols(SERIES, order=order, num_symbols=3), "renamed"
        )


def above_mean(series: np.ndarray, order: int) -> list[str]:
    """What stands before each step: of each of the last counts whether it is above the mean of those so far."""
    words = []
    for t in range(len(series)):
        known = [value for value in series[:t] if not np.isnan(value)]
        window = [series[t - lag] if lag <= t else None for lag in range(1, order + 1)]
        words.append(
            "".join(
                "^" if value is None else "?" if np.isnan(value) else "+" if value > np.mean(known) else "-"
                for value in window
            )
        )
    return words


@pytest.mark.parametrize("order", [0, 1, 2])
def test_counts_by_quadrature_over_the_rates(order: int) -> None:
    location, scale = 5.0, 3.0
    prior = stats.gamma((location / scale) ** 2, scale=scale**2 / location)
    contexts = np.array(above_mean(COUNTS, order))
    expected = 0.0
    for context in set(contexts):
        group = COUNTS[(contexts == context) & ~np.isnan(COUNTS)]
        expected += np.log(
            integrate.quad(
                lambda rate, group=group: prior.pdf(rate) * stats.poisson.pmf(group, rate).prod(),
                0.0, 60.0, epsrel=1e-12, epsabs=0.0, limit=500,
            )[0]
        )  # fmt: skip
    found = counts(COUNTS, order=order, location=location, scale=scale)
    assert_logs_close(found.sum(), expected, "evidence")
    np.testing.assert_array_equal(found[np.isnan(COUNTS)], 0.0)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_next_counts_sum_to_one(order: int) -> None:
    for t in (0, 5, len(COUNTS) - 1):
        nexts = [np.append(COUNTS[:t], count) for count in range(150)]
        every = [counts(y, order=order, location=5.0, scale=3.0)[-1] for y in nexts]
        assert_logs_close(logsumexp(every), 0.0, f"t = {t}")


def test_contexts_of_counts_that_looked_ahead_would_be_found() -> None:
    """Over all series the densities sum to one; with a context that knows the count itself they no longer do."""
    every = [np.array(y, float) for y in product(range(10), repeat=3)]
    fair = [counts(y, order=1, location=0.5, scale=0.5).sum() for y in every]
    unfair = [counts(y, order=0, location=0.5, scale=0.5, actions=(y > 0).astype(int)).sum() for y in every]
    assert abs(logsumexp(fair)) < 1e-2  # what lies beyond 9 is left out
    assert logsumexp(unfair) > 0.1


def test_an_action_is_a_context_of_its_own() -> None:
    split = [counts(COUNTS[ACTIONS[:15] == a], order=0, location=5.0, scale=3.0).sum() for a in (0, 1)]
    together = counts(COUNTS, order=0, location=5.0, scale=3.0, actions=ACTIONS[:15])
    assert_logs_close(together.sum(), sum(split), "evidence")
