"""Does every script run, at toy size?  Each asserts its own claim."""

from importlib.resources import files
from pathlib import Path

import pytest

from ppl_worldmodel.analyses import (
    belief_or_window,
    belief_over_time,
    faults_and_ranks,
    first_observation,
    how_many_states,
    learned_T_and_O,
    nile_break,
)

SMALL = {
    "belief_or_window": lambda out: belief_or_window.main(out, num_steps=5000),
    "belief_over_time": lambda out: belief_over_time.main(out, num_scored=500),
    "faults_and_ranks": lambda out: faults_and_ranks.main(out, 30, ("the right program",)),
    "first_observation": lambda out: first_observation.main(out, num_sequences=20),
    "how_many_states": lambda out: how_many_states.main(out, 2, names=("old_faithful",), fast=True),
    "learned_T_and_O": lambda out: learned_T_and_O.main(out, lengths=(50, 1000), draws=300),
    "nile_break": lambda out: nile_break.main(out, fast=True),
}
LONG = {
    "how_many_states",
    "nile_break",
    "learned_T_and_O",
    "faults_and_ranks",
}  # minutes, nearly all of them compilation


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.nightly] if name in LONG else []) for name in SMALL]
)
def test_a_script_runs_and_draws_its_figure(name: str, tmp_path: Path) -> None:
    figure = SMALL[name](tmp_path)
    assert figure.stat().st_size > 1000


def test_every_script_is_here() -> None:
    scripts = {
        entry.name.removesuffix(".py")
        for entry in files("ppl_worldmodel.analyses").iterdir()
        if entry.name.endswith(".py")
    }
    assert scripts - {"__init__"} == set(SMALL)
