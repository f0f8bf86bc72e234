"""The public study: one look at the program for its structure, the same page as the command's, saved and loaded."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan

import ppl_worldmodel
from ppl_worldmodel import load_result, read, study
from ppl_worldmodel.cli.main import main
from ppl_worldmodel.comparisons.compare import _check_models
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.models import two_state_pomdp
from ppl_worldmodel.program import examine as looks
from ppl_worldmodel.program import reading
from ppl_worldmodel.program.arguments import check_call, random_key

Y = np.array([0, 1, 1, 0, 1, 1, 1, 0, 0, 1])


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What every look at a program for its structure was given."""
    met: list[Any] = []

    def look(model: Any, data: Mapping[str, Any], parameters: Any) -> Any:
        met.append(parameters)
        return looks.examine(model, data, parameters)

    monkeypatch.setattr(reading, "examine", look)
    return met


@pytest.mark.slow
def test_at_given_parameters_a_program_is_looked_at_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    met = counted(monkeypatch)
    found = study(
        two_state_pomdp.model,
        {"observations": Y},
        parameters=two_state_pomdp.truth,
        engines=["exact", "smc"],
        fast=True,
    )
    assert len(met) == 2
    assert set(found.engines) == {"exact", "smc"}
    found.save(tmp_path / "result.nc")
    again = load_result(tmp_path / "result.nc")
    assert repr(again) == repr(found)
    assert "<table>" in found._repr_html_()
    assert again.report(tmp_path / "page.html").read_text() == found.report(tmp_path / "other.html").read_text()


@pytest.mark.slow
def test_learned_parameters_take_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    met = counted(monkeypatch)
    found = study(two_state_pomdp.model, {"observations": Y}, engines=["nuts", "svi", "exact"], fast=True)
    assert len(met) == 2  # to learn, and at the posterior mean for the exact beliefs
    assert "T[0, 0] = " in repr(found)


@pytest.mark.slow
def test_the_page_is_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for provenance, and what only a file says: its name, source and docstring."""
    monkeypatch.chdir(tmp_path)
    main(["check", "two_state_pomdp", "--known", "--engines", "exact,smc", "--fast", "--steps", "10", "--seed", "3"])
    command = load_result(tmp_path / "out" / "two_state_pomdp_known" / "result.nc")
    data = {"observations": command.engines["exact"]["observed_data"]["observation"].values.astype(int)}
    own = study(
        two_state_pomdp.model, data, known=True, truth=two_state_pomdp.truth, coords=two_state_pomdp.coords,
        engines=["exact", "smc"], fast=True, key=3,
    )  # fmt: skip
    drawn = []
    for result in (command, own):
        for name in ("name", "source", "about", "data_from", "parameters_from", "command", "created"):
            result.tree.attrs[name] = ""
        result.tree.attrs["seconds"] = 1.0
        for engine in result.engines.values():
            engine.attrs["seconds"] = 1.0
        text = result.report(tmp_path / "page.html").read_text()
        drawn.append(re.sub(r"20\d\d-\d\d-\d\d[T ][\d:.+Z]*", "", text))
    assert drawn[0] == drawn[1]


def test_wrong_calls_are_told() -> None:
    with pytest.raises(
        DataError, match=r"the program cannot be called with \['observatons'\].*did you mean 'observations'"
    ):
        read(two_state_pomdp.model, {"observatons": Y})
    with pytest.raises(DataError, match="the data are a list: expected a dict"):
        check_call(two_state_pomdp.model, [Y])
    with pytest.raises(DataError, match="expected a NumPyro program"):
        check_call(two_state_pomdp, {"observations": Y})
    with pytest.raises(DataError, match=r"expected \{name: program\}"):
        _check_models(two_state_pomdp.model)
    with pytest.raises(DataError, match="expected a whole number or a JAX random key"):
        random_key(np.float64(0.5))


def test_what_is_no_saved_result(tmp_path: Path) -> None:
    (tmp_path / "text.nc").write_text("nothing")
    with pytest.raises(DataError, match="is not a saved result"):
        load_result(tmp_path / "text.nc")


def test_public_names_only() -> None:
    assert set(dir(ppl_worldmodel)) == {*ppl_worldmodel.__all__, "__version__"}
    assert {"study", "calibrate", "compare", "report", "read", "marginalize", "load_result"} <= set(dir(ppl_worldmodel))
    for name in ppl_worldmodel.__all__:
        assert callable(getattr(ppl_worldmodel, name)), name


def test_a_value_before_the_first_observation_is_read_at_given_parameters_too() -> None:
    """Without a value for it, it is a parameter, and the program is read all the same."""

    def autoregression(y=None):
        first = numpyro.sample("first", dist.Normal(0.0, 1.0))

        def step(carry, y):
            level, last = carry
            level = numpyro.sample("level", dist.Normal(level, 0.5))
            numpyro.sample("y", dist.Normal(level + 0.5 * last, 1.0), obs=y)
            return (level, y), None

        start = numpyro.sample("start", dist.Normal(0.0, 1.0))
        scan(step, (start, first), y)

    data = {"y": np.array([0.3, -0.2, 0.5])}
    for values in (None, {"first": 0.1}):
        assert read(autoregression, data, values, exactly=False).family == "LinearGaussian"
