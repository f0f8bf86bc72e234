"""Programs with a fault in them end in a reading or in words, never in a traceback of ours."""

import warnings

import pytest

from .mutated_programs import mutants, outcome


def faults(number: int, seed: int) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a faulty program may warn of anything
        found = [(mutant, outcome(mutant)) for mutant in mutants(number, seed)]
    return [f"{mutant.name} {mutant.kinds}: {came}" for mutant, came in found if came.startswith("FAULT")]


@pytest.mark.slow
def test_some_mutated_programs() -> None:
    assert not faults(18, seed=1)


@pytest.mark.nightly
def test_two_thousand_mutated_programs() -> None:
    assert not faults(2000, seed=2)
