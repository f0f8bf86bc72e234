"""The main job on a user's own file: several series, states of several parts, no parameters, nothing but a function."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from ppl_worldmodel.cli.main import main

from .test_check import fails

HEAD = """import jax.numpy as jnp
import numpyro, numpyro.distributions as dist
from numpyro import handlers
from numpyro.contrib.control_flow import scan

"""
CITIES = (
    HEAD
    + '''
def model(y=None, num_steps=12):
    """Counts in three cities, each calm or busy."""
    T = numpyro.sample("T", dist.Dirichlet(2.0 * jnp.ones((2, 2))).to_event(1))
    def step(s, y):
        with numpyro.plate("city", 3):
            s = numpyro.sample("s", dist.Categorical(T[s]))
            numpyro.sample("y", dist.Poisson(1.0 + 4.0 * s), obs=y)
        return s, None
    scan(step, jnp.zeros(3, int), y, length=num_steps if y is None else None)
'''
)
PRODUCT = (
    HEAD
    + """
def model(y):
    stay = numpyro.sample("stay", dist.Beta(2.0, 2.0))
    def step(carry, y):
        weather, market = carry
        weather = numpyro.sample("weather", dist.Bernoulli(jnp.where(weather == 1, stay, 0.2)))
        market = numpyro.sample("market", dist.Bernoulli(jnp.where(market == 1, 0.9, 0.1)))
        numpyro.sample("y", dist.Normal(2.0 * weather - 3.0 * market, 1.0), obs=y)
        return (weather, market), None
    scan(step, (0, 0), y)
"""
)
RAGGED = (
    HEAD
    + """
def model(lengths, y=None, num_steps=8):
    T = numpyro.sample("T", dist.Dirichlet(2.0 * jnp.ones((2, 2))).to_event(1))
    def step(carry, y):
        s, time = carry
        with numpyro.plate("series", 2, dim=-2), handlers.mask(mask=(time < lengths)[:, None]):
            s = numpyro.sample("s", dist.Categorical(T[s]))
            with numpyro.plate("tones", 2, dim=-1):
                numpyro.sample("y", dist.Normal(s * jnp.array([2.0, -2.0]), 1.0), obs=y)
        return (s, time + 1), None
    scan(step, (jnp.zeros((2, 1), int), 0), y, length=num_steps if y is None else None)

truth = {"T": [[0.9, 0.1], [0.2, 0.8]]}
coords = {"sequence": ["Aswan", "Cairo"], "state": ["low", "high"]}
"""
)
WALK = (
    HEAD
    + """
def model(y=None, num_steps=10):
    def step(x, y):
        x = numpyro.sample("x", dist.Normal(0.9 * x, 1.0))
        numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None
    scan(step, 0.0, y, length=num_steps if y is None else None)
"""
)
AT = json.dumps({"T": [[0.9, 0.1], [0.2, 0.8]]})


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, source in (("cities", CITIES), ("product", PRODUCT), ("ragged", RAGGED), ("walk", WALK)):
        Path(f"{name}.py").write_text(source)
    rng = np.random.default_rng(0)
    counts = rng.poisson(2.0, (12, 3)).astype(float)
    counts[3, 1] = np.nan
    pd.DataFrame(counts, columns=["paris", "rome", "oslo"]).to_csv("cities.csv", index=False)
    pd.DataFrame({"y": rng.normal(size=10)}).to_csv("one.csv", index=False)
    return tmp_path


def checked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict, str, xr.DataTree]:
    """A check that runs: its JSON, what it said, and its result."""
    assert main(["check", *arguments, "--json"]) in (0, 1)
    captured = capsys.readouterr()
    printed = json.loads(captured.out)
    assert "Traceback" not in captured.err
    assert Path(printed["report"]).stat().st_size > 10_000
    return printed, captured.err, xr.open_datatree(printed["result"], engine="h5netcdf").load()


@pytest.mark.slow
def test_columns_of_a_plate(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed, said, result = checked(
        capsys, "cities.py", "--data", "cities.csv", "--column", "y=paris,rome,oslo", "--known", "--parameters", AT
    )
    assert "data: y (12, 3)" in said
    assert "12 steps of each of 3 sequences" in said
    beliefs = result["engines/gibbs/beliefs"]["smoothed"]
    assert beliefs.dims == ("sequence", "time", "state")
    observed = result["engines/exact/observed_data"]["y"]
    assert observed.dims == ("time", "sequence")
    assert observed["sequence"].values.tolist() == ["paris", "rome", "oslo"]
    assert np.argwhere(np.isnan(observed.values)).tolist() == [[3, 1]]
    smoothed = next(row for row in printed["checks"] if row["quantity"] == "smoothed beliefs")
    assert smoothed["n"] == 36
    assert smoothed["verdict"] == "agrees", smoothed
    assert smoothed["worst"].startswith("series ")
    page = Path(printed["report"]).read_text()
    assert all(f"series {city}" in page for city in ("paris", "rome", "oslo"))  # the columns' names
    assert "p(s = 1)" in page


@pytest.mark.slow
def test_a_missing_column_is_told(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ("check", "cities.py", "--data", "cities.csv", "--column")
    message = fails(capsys, *call, "y=paris,rome")
    assert "the observation of site 'y' has shape (2,), and its distribution (3,)" in message
    assert "data: y (12, 2)" in message
    shared = ("--known", "--fast", "--engines", "exact", "--parameters", AT)
    _, said, _ = checked(capsys, "cities.py", "--data", "cities.csv", "--column", "y=paris", *shared)
    assert "all 3 series have the same observations of site 'y'" in said


@pytest.mark.nightly
def test_a_state_of_several_parts(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed, _, result = checked(
        capsys, "product.py", "--data", "one.csv", "--known", "--fast", "--parameters", '{"stay": 0.8}'
    )
    assert json.loads(result["engines/exact/beliefs"].attrs["factors"]) == ["weather", "market"]
    page = Path(printed["report"]).read_text()
    assert "p(market = 1)" in page
    assert "weather = 1, market = 0" in page
    assert main(["report", printed["result"], "--out", "again.html"]) in (0, 1)
    assert Path("again.html").read_text() == page
    capsys.readouterr()


@pytest.mark.nightly
def test_a_simulation_is_read_back(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lengths = ("--set", "lengths=[8,5]")
    assert main(["simulate", "ragged.py", *lengths, "--out", "ragged.csv"]) == 0
    header = pd.read_csv("ragged.csv").columns.tolist()
    assert header == ["time", "s_0_0", "s_1_0", "y_0_0", "y_0_1", "y_1_0", "y_1_1"]
    capsys.readouterr()
    printed, said, result = checked(capsys, "ragged.py", "--data", "ragged.csv", *lengths, "--known", "--fast")
    assert "data: y (8, 2, 2), lengths (2,)" in said
    observed = result["engines/exact/observed_data"]["y"]
    assert observed.dims == ("time", "sequence", "y_dim_2")
    assert np.isnan(observed.values[5:, 1]).all()
    assert result["engines/exact/beliefs"]["sequence"].values.tolist() == ["Aswan", "Cairo"]
    worst = {row["worst"].split(",")[0] for row in printed["checks"] if "beliefs" in row["quantity"]}
    assert worst <= {"series Aswan", "series Cairo"}
    assert "p(state = high)" in Path(printed["report"]).read_text()


def test_arguments_without_a_value_are_told(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("ragged.csv").write_text("y_0_0,y_0_1,y_1_0,y_1_1\n0,0,0,0\n")
    message = fails(capsys, "check", "ragged.py", "--data", "ragged.csv")
    assert "needs a value for its argument 'lengths'" in message
    assert "--set lengths=VALUE (a number, or a list such as [30,25])" in message
    assert "--set lengths=VALUE" in fails(capsys, "simulate", "ragged.py")
    assert "give --data FILE.csv" in fails(capsys, "check", "ragged.py")
    assert "neither data nor a truth" in fails(capsys, "check", "product.py")
    assert "needs a value for its argument 'y'" in fails(capsys, "simulate", "product.py")
    assert "no length without data" in fails(capsys, "simulate", "product.py", "--set", "y=null")


def test_parameters_of_a_simulation(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "its parameters are T" in fails(capsys, "simulate", "cities.py")
    assert "the parameters of the program are T" in fails(capsys, "simulate", "cities.py", "--parameters", '{"U": 1}')
    assert main(["simulate", "cities.py", "--parameters", AT, "--steps", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "time,s_0,s_1,s_2,y_0,y_1,y_2"
    assert len(lines) == 5


@pytest.mark.slow
def test_a_program_without_parameters_is_checked_as_it_is(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed, said, _ = checked(capsys, "walk.py", "--fast", "--engines", "exact,nuts")
    assert "the program has no parameters to learn" in said
    assert printed["mode"] == "known"
    assert "The program has no parameters." in Path(printed["report"]).read_text()
    assert main(["simulate", "walk.py", "--steps", "3"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "time,x,y"
