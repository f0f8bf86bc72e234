"""Does `check` find each planted fault, and leave the right program alone?  One data set and one key for each.

How often it does over a hundred of each is measured by `make rates`.
"""

import numpy as np
import pytest

from ppl_worldmodel import check

from .planted import PLANTED, Planted, results, right_answers, sizes
from .programs import cases

SEED = 5


def named(planted: Planted) -> str:
    return f"{planted.fault}, {planted.model}, {planted.engine}"


def marked(planted: list[Planted], slow: tuple[str, ...] = ()) -> list:
    """Each with its name; left to the nightly run if it says so itself, and to the slow one if `slow` names it."""

    def marks(p: Planted) -> list[pytest.MarkDecorator]:
        return [pytest.mark.nightly] if p.slow else [pytest.mark.slow] if named(p) in slow else []

    return [pytest.param(p, id=named(p), marks=marks(p)) for p in planted]


@pytest.mark.slow
@pytest.mark.parametrize("planted", marked(list(PLANTED)))
def test_a_planted_fault_is_found(planted: Planted) -> None:
    (case,) = cases(planted.model, range(SEED, SEED + 1))
    (size,) = sizes(planted, [case])
    assert np.isnan(size) or size > 1e-6, "the fault makes no difference in these data"
    (reference,) = right_answers(planted.model, [case], learned=planted.learns)
    (result,) = results(planted.engine, planted.model, [planted.question(case)], SEED)
    verdicts = {finding.quantity: finding.verdict for finding in check(planted.afterwards(result), against=reference)}
    if "stopped" in planted.engine:
        assert verdicts["convergence"] != "agrees"
        assert "agrees" not in [verdict for quantity, verdict in verdicts.items() if "beliefs" in quantity]
    else:
        assert "disagrees" in verdicts.values(), verdicts


RIGHT = {(p.model, p.engine): p for p in sorted(PLANTED, key=lambda p: not p.slow)}
SOUND = [
    p
    for (_, engine), p in RIGHT.items()
    if not any(word in engine for word in ("svi", "float32", "stopped", "relabelled"))
]


@pytest.mark.parametrize("planted", marked(SOUND, slow=("action one step late, tiger, smc",)))
def test_the_right_program_is_left_alone(planted: Planted) -> None:
    (case,) = cases(planted.model, range(SEED, SEED + 1))
    (reference,) = right_answers(planted.model, [case], learned=planted.learns)
    (result,) = results(planted.engine, planted.model, [case], SEED)
    found = check(result, against=reference)
    assert len(found) > 1
    assert "disagrees" not in [finding.verdict for finding in found], found
