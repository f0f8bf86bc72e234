"""Does every script run, at toy size?  Each asserts its own claim."""

from importlib.resources import files
from pathlib import Path

import pytest

from ppl_worldmodel.analyses import belief_over_time, faults_and_ranks, first_observation

SMALL = {
    "belief_over_time": lambda out: belief_over_time.main(out, num_scored=500),
    "faults_and_ranks": lambda out: faults_and_ranks.main(out, 30, ("the right program",)),
    "first_observation": lambda out: first_observation.main(out, num_sequences=20),
}


@pytest.mark.parametrize("name", SMALL)
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
