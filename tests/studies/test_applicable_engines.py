"""Are the engines that can answer the ones that are asked?  And is a wrong name told from an inapplicable one?"""

from typing import Any

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan

from ppl_worldmodel import read
from ppl_worldmodel.errors import WorldModelError
from ppl_worldmodel.files.load import default_data, load
from ppl_worldmodel.studies.applicable_engines import answering, same_observations

from ..program import written_finite, written_gaussian

LEARNERS = ["nuts", "gibbs", "svi", "svi_full_rank"]
SAMPLERS = ["nuts", "smc", "svi", "svi_full_rank"]


def answers(written: Any, known: bool = True, engines: tuple[str, ...] = ()) -> tuple[list[str], str]:
    said: list[str] = []
    found = answering(engines, known, read(written.model, written.data), said.append)
    return found, " ".join(said)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["factorial", "second order", "semi-Markov", "plate", "ragged"])
def test_gibbs_answers_about_every_finite_state(name: str) -> None:
    assert answers(written_finite.WRITTEN[name])[0] == ["exact", "gibbs", "smc"]
    assert answers(written_finite.WRITTEN[name], known=False)[0] == LEARNERS


@pytest.mark.slow
@pytest.mark.parametrize("name", ["companion form", "plate", "singular noise"])
def test_nuts_and_svi_answer_about_continuous_states(name: str) -> None:
    assert answers(written_gaussian.WRITTEN[name]) == (["exact", *SAMPLERS], "")
    assert answers(written_gaussian.WRITTEN[name], engines=("svi", "exact"))[0] == ["exact", "svi"]


@pytest.mark.slow
def test_svi_has_no_draws_of_a_flat_density() -> None:
    flat = written_gaussian.WRITTEN["diffuse trend"]
    found, said = answers(flat)
    assert found == ["exact", "nuts"]
    assert "flat density" in said
    assert answers(flat, known=False)[0] == LEARNERS  # the first state is integrated out then
    with pytest.raises(WorldModelError, match=r"'svi' does not answer .* flat density.*: choose from exact, nuts$"):
        answers(flat, engines=("svi",))


def test_an_infinite_variance_is_no_density() -> None:
    def model(y: Any) -> None:
        def step(x: Any, y: Any) -> Any:
            x = numpyro.sample("x", dist.Normal(x, 1.0))
            numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
            return x, None

        scan(step, numpyro.sample("x0", dist.Normal(0.0, np.inf)), y)

    found, said = answers(written_gaussian.Written(model, {"y": np.arange(4.0)}, ("x0", "x")))
    assert found == ["exact"]
    assert "write ImproperUniform" in said


def test_wrong_names() -> None:
    plate = written_finite.WRITTEN["plate"]
    with pytest.raises(WorldModelError, match="there is no engine 'nutz'"):
        answers(plate, engines=("nutz",))
    with pytest.raises(
        WorldModelError,
        match=r"'nuts' does not answer about a finite state at known parameters: choose from exact, gibbs, smc$",
    ):
        answers(plate, engines=("nuts",))
    with pytest.raises(WorldModelError, match="'smc' does not answer about a finite state when parameters are learned"):
        answers(plate, known=False, engines=("smc",))


@pytest.mark.slow
def test_series_that_all_have_the_same_observations_are_noticed() -> None:
    plate = written_gaussian.WRITTEN["plate"]
    for y, expected in ((plate.data["y"], []), (plate.data["y"][:, 0], ["y"]), (np.zeros((6, 2)), ["y"])):
        assert same_observations(read(plate.model, {"y": y})) == expected
    one = written_gaussian.WRITTEN["companion form"]
    assert same_observations(read(one.model, one.data)) == []


def test_the_exact_engine_alone_learns_nothing_and_is_refused_before_any_work() -> None:
    with pytest.raises(WorldModelError, match=r"parameters, and these are to be learned: add --known .*\(nuts, gibbs"):
        answers(written_finite.WRITTEN["plate"], known=False, engines=("exact",))
    assert answers(written_finite.WRITTEN["plate"], engines=("exact",))[0] == ["exact"]


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        pytest.param("two_state_pomdp", False, ["gibbs"], marks=pytest.mark.slow),
        pytest.param("nile", False, ["nuts"], marks=pytest.mark.slow),
        ("two_state_pomdp", True, ["exact", "gibbs"]),
        ("nile", True, ["exact", "nuts"]),
    ],
)
def test_auto_is_gibbs_where_everything_is_conjugate(name: str, known: bool, expected: list[str]) -> None:
    loaded, said = load(name), []
    reading = read(loaded.model, default_data(loaded, 0)[0])
    assert answering(("auto",), known, reading, said.append) == expected
    assert ("full conditional" in " ".join(said)) is (expected == ["gibbs"])


def test_auto_stands_alone() -> None:
    with pytest.raises(WorldModelError, match="'auto' chooses the engines by itself"):
        answers(written_finite.WRITTEN["plate"], known=False, engines=("auto", "svi"))
