"""Do the answers that the benchmark of exact inference times agree, and does it see one that does not?"""

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "analyses" / "benchmarks" / "exact_inference.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.mark.slow
def test_libraries_agree(script: dict[str, Any]) -> None:
    rows = [*script["hidden_markov"](3, 60), *script["many_hidden_markov"](4, 3, 30), *script["kalman"](2, 1, 60)]
    for row in rows:
        for found in script["measured"](row, 1):
            assert found["apart"] < 1e-6, found  # dynamax adds 1e-9 to covariances
            assert found["least_ms"] > 0


def test_a_difference_is_seen(script: dict[str, Any]) -> None:
    row = script["Row"]("a question", {script["OURS"]: lambda: np.ones(2), "a peer": lambda: np.array([1.0, 1.1])})
    assert [round(found["apart"], 3) for found in script["measured"](row, 1)] == [0.0, 0.091]
