"""Does the sentence say what the numbers say, and nothing where they say nothing?  On scores made up for the purpose."""

import numpy as np

from ppl_worldmodel.comparisons.belief_or_window import belief_or_window
from ppl_worldmodel.comparisons.ranking import ahead, rows_of, verdicts

from .test_ranking import FIRST, STEPS, score


def said(of_window: float) -> str:
    """The sentence about a belief of -1 nat a step and a window that is so much better a step."""
    noise = np.random.default_rng(5).normal(0.0, 0.1, STEPS)
    shared = np.random.default_rng(99).normal(-1.0, 0.3, STEPS)
    tree = rows_of({"chain": score(0.0, -120.0)}, {"window of 2": shared + noise + of_window}, FIRST, 1)
    return belief_or_window(tree)


def test_the_better_one_is_named() -> None:
    assert said(-0.3).startswith("The belief of chain predicts better than a window of 2 observations, by ")
    assert said(+0.3).startswith("A window of 2 observations predicts better than the belief of chain, by ")


def test_one_cannot_tell_equals() -> None:
    assert said(0.0).startswith("By prediction one cannot tell the belief of chain from a window of 2 observations")


def test_nothing_is_said_without_a_window() -> None:
    assert belief_or_window(rows_of({"chain": score(0.0, -120.0)}, {}, FIRST, 1)) == ""


def test_a_model_is_ahead_if_one_criterion_says_so_and_none_another() -> None:
    clear = rows_of({"a": score(0.0, -120.0, seed=1), "b": score(0.3, -100.0, seed=2)}, {}, FIRST, 1)
    torn = rows_of({"a": score(0.0, -100.0, seed=1), "b": score(0.3, -120.0, seed=2)}, {}, FIRST, 1)
    open_ = rows_of({"a": score(0.0, -100.0, seed=1), "b": score(0.0, -100.0, seed=2)}, {}, FIRST, 1)
    evidence = rows_of({"a": score(0.0, -100.0, seed=1), "b": score(0.0, -120.0, seed=2)}, {}, FIRST, 1)
    assert [ahead(verdicts(tree)) for tree in (clear, torn, open_, evidence)] == ["b", "", "", "a"]
