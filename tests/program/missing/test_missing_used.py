"""What is missing and used later is an unknown: every random program is right to 1e-8, or refused with the site and the step."""

import re

import numpy as np
import pytest

from ppl_worldmodel import read
from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.program.system import log_predictive

from .grammar_missing import log_evidence, program, random_shape

EVERY_DAY = range(8)
SLOW = range(8, 40)
NIGHTLY = range(40, 540)
MASKED_COUNTS = (72, 86, 122, 156, 166)  # counts that obs_mask leaves out, and that are used later
NAMED = re.compile(
    r"observation of site 'y0?' is missing (at time step \d|before the scan)|input of the scan is NaN at time step \d"
    r"|observation of site 'y0?' is missing where its obs_mask is False"
    r"|'x' \(Bernoulli\), 'y_unobserved' \(Normal\): it is a switching system"
)


def check(seed: int) -> str:
    """'right', or 'refused'; no program is refused that has one kind of state and finitely many values, or only Gaussian ones."""
    shape = random_shape(seed)
    made, refusal = program(shape), ""
    try:
        found = float(log_predictive(read(made.model(shape.obs_mask), made.data, {}).system).sum())
    except NotExactlySolvable as error:
        refusal = str(error)
    if refusal:
        assert NAMED.search(refusal), (shape, refusal)
        assert shape.state == "chain" or shape.law == "Poisson" or shape.hands == "shifted", (shape, refusal)
        return "refused"
    expected = log_evidence(shape, made)
    assert np.isclose(found, expected, rtol=1e-8, atol=1e-8), (shape, found, expected)
    return "right"


@pytest.mark.slow
@pytest.mark.parametrize("seed", EVERY_DAY)
def test_a_random_program(seed: int) -> None:
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [*SLOW, *MASKED_COUNTS])
def test_more_random_programs(seed: int) -> None:
    check(seed)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", NIGHTLY)
def test_many_random_programs(seed: int) -> None:
    check(seed)
