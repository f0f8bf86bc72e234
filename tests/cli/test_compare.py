"""Does `worldmodel compare` say which model, or that one cannot tell, and does it refuse wrong calls with one clear message?"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from ppl_worldmodel.cli.main import main

from .test_check import OWN_MODEL, fails

SETTING = OWN_MODEL.replace("num_steps=20", "num_steps=20, width=2.0").replace("HalfNormal(2.0)", "HalfNormal(width)")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(SETTING)
    rows = "\n".join(f"{1900 + i},{np.sin(i / 3):.3f}" for i in range(30))
    (tmp_path / "own.csv").write_text(f"year,flow\n{rows}\n")
    return tmp_path


@pytest.mark.slow
def test_two_priors_that_are_nearly_the_same_cannot_be_told_apart(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = [
        "compare",
        "own.py:width=2.0",
        "own.py:width=2.5",
        "--data",
        "own.csv",
        "--column",
        "flow",
        "--fast",
        "--out",
        "here",
    ]
    assert main([*call, "--no-windows", "--json"]) == 1  # cannot tell
    printed = json.loads(capsys.readouterr().out)
    assert printed["ahead"] is None
    assert "cannot tell" in printed["by_evidence"]
    assert "cannot tell" in printed["by_prediction"]
    assert {row["model"] for row in printed["models"]} == {"own width=2.0", "own width=2.5"}
    page = (own / "here" / "comparison.html").read_text()
    # The few draws of --fast may not have converged; then the page says that first.
    reason = (
        "cannot be trusted, or something failed." if printed["doubts"] else "neither by evidence nor by prediction."
    )
    (headline,) = re.findall(r'class="sentence">([^<]*)<', page)
    assert headline.startswith("One cannot tell")
    assert headline.endswith(reason)
    assert "enough to see that it runs" in page  # of --fast
    assert "<script" not in page
    assert 'src="http' not in page
    tree = xr.open_datatree(own / "here" / "comparison.nc", engine="h5netcdf")
    assert set(tree["models"].children) == {"own width=2.0", "own width=2.5"}
    # The page can be drawn again from the file, and says the same.
    assert main(["report", "here/comparison.nc", "--out", "again.html"]) == 1
    assert (own / "again.html").read_text() == page
    assert "own width=2.5" in capsys.readouterr().out


def test_wrong_calls(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ("--data", "own.csv", "--column", "flow")
    assert "given twice" in fails(capsys, "compare", "own.py", "own.py", *data)
    assert "takes no argument 'height'" in fails(capsys, "compare", "own.py:height=2", "own.py", *data)
    assert "no shipped model 'nil'" in fails(capsys, "compare", "nil", "own.py", *data)
    assert "--data" in fails(capsys, "compare", "own.py", "nile", "--column", "flow")
    assert "comes with real data" in fails(capsys, "compare", "nile", "own.py", "--steps", "20")
    assert "neither data nor a truth" in fails(capsys, "compare", "own.py", "nile")


def test_models_of_different_observations_are_not_compared(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own / "other.py").write_text(SETTING.replace("obs=y", "obs=None if y is None else y + 1.0"))
    said = fails(capsys, "compare", "own.py", "other.py", "--data", "own.csv", "--column", "flow", "--fast")
    assert "'own' and 'other' observe different data" in said
