"""Are the ingredients of a verdict right?  p-values against SciPy and against their own definition, verdicts at their borders."""

import numpy as np
import pytest
from scipy import stats

from ppl_worldmodel.checks.verdict import ALPHA, binomial_p, joint_p, judge, two_sided_p


@pytest.mark.parametrize(
    ("hits", "draws", "p"), [(0, 50, 0.01), (3, 50, 0.01), (25, 50, 0.5), (50, 50, 0.97), (7, 1000, 0.002)]
)
def test_binomial_p_is_scipys_at_whole_numbers(hits: int, draws: int, p: float) -> None:
    law = stats.binom(draws, p)
    expected = min(1.0, 2 * min(law.cdf(hits), law.sf(hits - 1)))
    np.testing.assert_allclose(
        binomial_p(np.array(hits / draws), np.array(p), np.array(float(draws))), expected, rtol=1e-9
    )


def test_a_state_that_is_impossible_must_not_be_visited() -> None:
    assert binomial_p(np.array(0.0), np.array(0.0), np.array(100.0)) == 1.0
    assert binomial_p(np.array(0.01), np.array(0.0), np.array(100.0)) == 0.0
    assert binomial_p(np.array(1.0), np.array(1.0), np.array(100.0)) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.95])
def test_the_joint_p_keeps_its_level_under_dependence(correlation: float) -> None:
    random = np.random.default_rng(0)
    shared = random.standard_normal((20_000, 1))
    z = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * random.standard_normal((20_000, 50))
    rejected = np.mean([joint_p(p) < 0.01 for p in two_sided_p(z)])
    assert (
        rejected < 0.01 + 4 * np.sqrt(0.01 * 0.99 / 20_000) + 0.003
    )  # Cauchy combination: level exact only as alpha -> 0


def test_the_joint_p_finds_one_large_deviation_among_many() -> None:
    z = np.r_[np.random.default_rng(1).standard_normal(999), 8.0]
    assert joint_p(two_sided_p(z)) < ALPHA


def test_values_that_are_exactly_one_do_not_hide_a_small_one() -> None:
    random = np.random.default_rng(2)
    probability, draws = random.uniform(0.05, 0.95, 480), np.full(480, 600.0)
    share = random.binomial(600, probability) / 600
    assert (binomial_p(share, probability, draws) == 1.0).any()
    assert joint_p(binomial_p(share, probability, draws)) > 0.01
    share[7] = probability[7] + 6 * np.sqrt(probability[7] * (1 - probability[7]) / 600)
    assert joint_p(binomial_p(share, probability, draws)) < ALPHA


def test_the_joint_p_of_shares_keeps_its_level() -> None:
    random = np.random.default_rng(3)
    probability = random.uniform(0.01, 0.99, (4000, 200))
    found = binomial_p(random.binomial(300, probability) / 300, probability, np.full(probability.shape, 300.0))
    rejected = np.mean([joint_p(p) < 0.01 for p in found])
    assert rejected < 0.01 + 4 * np.sqrt(0.01 * 0.99 / 4000)


def test_the_joint_p_of_what_is_not_a_number_is_none() -> None:
    assert np.isnan(joint_p(np.array([0.3, np.nan])))
    assert np.isnan(joint_p(np.array([])))


def judged(**changes):
    settings = {
        "p": 0.5, "distance": np.array([0.01]), "error": np.array([0.002]), "tolerance": 0.05, "exact_in_the_limit": True,
        "draws": 1000, "converged": "agrees",
    }  # fmt: skip
    return judge(**settings | changes)


def test_verdicts() -> None:
    assert judged()[0] == "agrees"
    assert judged(p=1e-6)[0] == "disagrees"  # an exact engine must not be off at all, however little it matters
    assert judged(p=1e-6, exact_in_the_limit=False)[0] == "agrees"  # an approximation may be, within the tolerance
    assert judged(distance=np.array([0.2]), p=1e-9, exact_in_the_limit=False)[0] == "disagrees"
    assert judged(converged="undecided")[0] == "undecided"
    assert judged(converged="undecided", p=1e-6)[0] == "disagrees"
    assert (
        judged(converged="disagrees", p=1e-6)[0] == "undecided"
    )  # chains that are apart say nothing about anything else


def test_undecided_says_how_many_draws_would_do() -> None:
    verdict, upper, why = judged(error=np.array([0.05]))
    assert verdict == "undecided"
    assert "about 3,500 draws would" in why, why
    # With that many draws both noise and error are smaller by the root of 3.5, and the limit is within the tolerance.
    assert judged(distance=np.array([0.01]) / np.sqrt(3.5), error=np.array([0.05]) / np.sqrt(3.5))[0] == "agrees"
    assert upper > 0.05


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    "wrong",
    [{"p": np.nan}, {"distance": np.array([0.01, np.nan]), "error": np.array([0.002, 0.002])}, {"error": np.array([np.nan])},
     {"error": np.array([-0.002])}, {"error": np.array([np.inf])}, {"distance": np.array([])}, {"doubt": "no basis"}],
    ids=lambda wrong: next(iter(wrong)),
)  # fmt: skip
def test_nothing_agrees_on_what_is_not_a_number_or_not_known(wrong: dict, exact: bool) -> None:
    verdict, _, why = judged(**wrong, exact_in_the_limit=exact)
    assert verdict == "undecided", why


def test_no_upper_limit_is_above_what_a_distance_can_be() -> None:
    verdict, upper, why = judged(error=np.array([0.9]), largest=1.0)
    assert (verdict, upper) == ("undecided", 1.0)
    assert "draws would" in why
