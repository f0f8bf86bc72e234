"""Is every option that would have no effect refused, and does a file's time reach the result?"""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ppl_worldmodel.cli.data_of_call import checked
from ppl_worldmodel.cli.main import main
from ppl_worldmodel.files.load import load
from ppl_worldmodel.program.unused_arguments import is_ignored

from .test_check import OWN_MODEL, fails

# A length that is used beside the data: the prior's width.
USED = OWN_MODEL.replace("HalfNormal(2.0)", "HalfNormal(2.0 / num_steps)")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN_MODEL)
    (tmp_path / "used.py").write_text(USED)
    (tmp_path / "own.csv").write_text(
        "date,observations,flow\n2020-01-01,1,2\n2020-01-02,2,3\n2020-01-04,3,4\n2020-01-05,3,4\n"
    )
    return tmp_path


FILE = ("--data", "own.csv")


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (("check", "own.py", *FILE, "--steps", "5"), "--steps sets the length of a simulation, but the data come from a file"),
        (("check", "own.py", *FILE, "--set", "num_steps=5"), "--set num_steps changes nothing here: the series has 4 steps"),
        (("check", "own.py", *FILE, "--set", "observations=[1,2]"), "'observations' is given twice, by --set and by 'own.csv'"),
        (("check", "own.py", "--series", "city"), "--series chooses columns of a file: add --data"),
        (("check", "nile", "--set", "num_steps=5"), "--set num_steps changes nothing here: the series has 100 steps"),
        (("check", "nile", "--set", "observations=[1,2]"), "in the place of those that come with the model"),
        (("check", "two_state_pomdp", "--set", "num_steps=5"), "--steps N is the length of a simulation"),
        (("check", "two_state_pomdp", "--set", "observations=[1,0]"), "in the place of those that are simulated"),
        (("check", "two_state_pomdp", "--steps", "5", "--set", "num_steps=5"), "say the same thing"),
        (("simulate", "two_state_pomdp", "--steps", "5", "--set", "num_steps=5"), "say the same thing"),
        (("calibrate", "two_state_pomdp", "--steps", "5", "--set", "num_steps=5"), "say the same thing"),
        (("compare", "own.py", "used.py", *FILE, "--steps", "5"), "the data come from a file"),
        (("compare", "own.py:num_steps=3", "used.py", *FILE), "--set num_steps changes nothing here"),
        (("compare", "own.py", "used.py", *FILE, "--column", "obs=flow"), "none of the programs takes an argument 'obs'"),
        (("compare", "nile", "own.py:num_steps=3"), "--set num_steps changes nothing here"),
        (("compare", "nile", "own.py:observations=[1]"), "in the place of those that come with the model"),
    ],
)  # fmt: skip
def test_options_without_effect(
    own: Path, capsys: pytest.CaptureFixture[str], call: tuple[str, ...], told: str
) -> None:
    assert told in fails(capsys, *call)


def test_a_length_that_the_program_uses_is_no_idle_setting(own: Path) -> None:
    data = {"observations": np.arange(4.0), "num_steps": 7}
    assert is_ignored(load("own.py").model, data, "num_steps")
    assert not is_ignored(load("used.py").model, data, "num_steps")
    assert not is_ignored(load("own.py").model, {"observations": None, "num_steps": 7}, "num_steps")


@pytest.mark.slow
def test_dates_and_names_reach_the_result_and_the_page(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = [
        "check",
        "own.py",
        *FILE,
        "--column",
        "flow",
        "--known",
        "--parameters",
        '{"scale": 1.0}',
        "--engines",
        "exact",
    ]
    status = main([*call, "--fast", "--json"])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert status == 1, captured.err  # of the exact engine alone nothing is checked
    assert "columns: observations = flow; time = date, 2020-01-01 to 2020-01-05; not used: observations" in captured.err
    assert "2020-01-03 is missing" in captured.err
    result = xr.open_datatree(json.loads(captured.out)["result"], engine="h5netcdf").load()
    beliefs = result["engines/exact/beliefs"]
    assert beliefs["time"].values.astype("datetime64[D]").astype(str).tolist() == [
        "2020-01-01", "2020-01-02", "2020-01-04", "2020-01-05",
    ]  # fmt: skip
    assert "2020-01-03 is missing" in result.attrs["data_from"]
    assert result["engines/exact/observed_data"]["flow"].attrs["column"] == "flow"
    page = Path(json.loads(captured.out)["report"]).read_text()
    assert "2020-01-03 is missing" in page


def test_observations_that_end_early_are_a_forecast_and_it_is_said(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own / "driven.py").write_text(
        OWN_MODEL.replace("observations=None", "x, observations=None")
        .replace("def step(level, y):", "def step(level, now):\n        y, x = now")
        .replace("dist.Normal(level, scale)", "dist.Normal(level + x, scale)")
        .replace("scan(step, start, observations, length=num_steps if observations is None else len(observations))",
                 "scan(step, start, (observations, x))")
    )  # fmt: skip
    data = {"x": np.arange(4.0), "observations": np.array([1, 2])}
    found = checked(load("driven.py"), data, {})
    np.testing.assert_array_equal(found["observations"], [1.0, 2.0, np.nan, np.nan])
    assert "'observations' has 2 of 4 steps: the steps beyond are unobserved" in capsys.readouterr().err
