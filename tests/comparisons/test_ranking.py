"""Does the table name a winner only where one can tell?  On scores made up for the purpose."""

import numpy as np

from ppl_worldmodel.comparisons.bridge_sampling import Estimate
from ppl_worldmodel.comparisons.compare import Comparison
from ppl_worldmodel.comparisons.leave_future_out import Scores
from ppl_worldmodel.comparisons.ranking import Row, rows_of, verdicts
from ppl_worldmodel.comparisons.score import Score

STEPS, FIRST = 120, 20


def score(ahead: float, evidence: float, error: float = 0.01, seed: int = 0) -> Score:
    """A model that is so many nats a step better than noise which all models share, give or take its own."""
    shared, own = (
        np.random.default_rng(99).normal(-1.0, 0.3, STEPS),
        np.random.default_rng(seed).normal(0.0, 0.1, STEPS),
    )
    elpd = shared + own + ahead
    elpd[:FIRST] = np.nan
    seen = np.where(np.isnan(elpd), 0, STEPS)
    scores = Scores(elpd, np.where(np.isnan(elpd), np.nan, 1e-4), np.zeros(STEPS), seen, FIRST, 1)
    return Score(4, Estimate(evidence, error, "bridge sampling"), scores, None, None, "not asked")


def compared(*scores: Score) -> Comparison:
    tree = rows_of({f"model {i}": each for i, each in enumerate(scores)}, {}, FIRST, 1)
    tree.attrs = verdicts(tree)
    return Comparison(Row.all_of(tree), tree)


def test_a_clear_winner_is_named_and_comes_first() -> None:
    found = compared(score(0.0, -120.0, seed=1), score(0.3, -100.0, seed=2))
    assert found.tree.attrs["by_evidence"].startswith("model 1: 20.0")
    assert found.tree.attrs["by_prediction"].startswith("model 1:")
    first, second = found.rows
    assert (first.model, first.behind, second.model) == ("model 1", 0.0, "model 0")
    assert second.behind < -2.0 * second.behind_error
    assert first.weight > 0.95


def test_noise_is_no_winner() -> None:
    found = compared(score(0.0, -100.0, seed=1), score(0.0, -100.4, seed=2))
    assert found.tree.attrs["by_evidence"].startswith("cannot tell")
    assert found.tree.attrs["by_prediction"].startswith("cannot tell")


def test_a_large_difference_with_a_larger_error_is_no_winner() -> None:
    found = compared(score(0.0, -100.0, error=5.0, seed=1), score(0.0, -110.0, error=5.0, seed=2))
    assert found.tree.attrs["by_evidence"].startswith("cannot tell")


def test_it_prints_as_a_table() -> None:
    printed = repr(compared(score(0.0, -120.0, seed=1), score(0.3, -100.0, seed=2)))
    assert printed.index("model 1") < printed.index("model 0")
    assert "by evidence: model 1" in printed


def test_models_without_a_state_are_in_the_same_table() -> None:
    window = np.full(STEPS, -3.0)
    tree = rows_of({"model": score(0.0, -100.0)}, {"window of 1": window}, FIRST, 1)
    row = Row.all_of(tree)[1]
    assert (row.model, row.state, row.evidence) == ("window of 1", False, -360.0)
    assert row.lfo == -3.0 * (STEPS - FIRST)


def test_a_score_that_is_not_a_number_wins_nothing_and_hides_nothing() -> None:
    good, bad = score(0.0, -120.0, seed=1), score(0.3, -100.0, seed=2)
    bad.lfo.elpd[FIRST + 5] = np.nan
    found = compared(good, bad)
    assert "cannot tell: some scores of model 1 are not numbers" in found.tree.attrs["by_prediction"]
    assert found.rows[-1].model == "model 1"
    assert np.isnan([found.rows[-1].lfo, found.rows[-1].behind]).all()


def test_an_evidence_of_unknown_error_tells_nothing() -> None:
    found = compared(score(0.0, -120.0, seed=1), score(0.3, -100.0, error=np.nan, seed=2))
    assert found.tree.attrs["by_evidence"].startswith("cannot tell")
