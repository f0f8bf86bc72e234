"""A series indexed by a time that is carried along is that series as an input: from Python, and by the command."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.contrib.control_flow import scan
from numpyro.infer.util import log_density

from ppl_worldmodel import marginalize, read
from ppl_worldmodel.cli.main import main
from ppl_worldmodel.exact import gaussian
from ppl_worldmodel.program.jax_arrays import as_program_takes

from ..agreement import assert_logs_close

Y = np.array([0.3, 1.5, np.nan, -0.4, 0.1])
FILE = """
import numpyro
import numpyro.distributions as dist
from numpyro.contrib.control_flow import scan

def model(y):
    s = numpyro.sample("s", dist.HalfNormal(1.0))

    def step(carry, _):
        x, last, t = carry
        x = numpyro.sample("x", dist.Normal(0.8 * x, s))
        last = numpyro.sample("y", dist.Normal(x + 0.5 * last, 0.7), obs=y[t])
        return (x, last, t + 1), None

    scan(step, (0.0, 0.2, 0), None, length=len(y))
"""


def by_input(y: Any) -> None:
    s = numpyro.sample("s", dist.HalfNormal(1.0))

    def step(carry: Any, y: Any) -> Any:
        x, last = carry
        x = numpyro.sample("x", dist.Normal(0.8 * x, s))
        return (x, numpyro.sample("y", dist.Normal(x + 0.5 * last, 0.7), obs=y)), None

    scan(step, (0.0, 0.2), y)


def by_time(y: Any) -> None:
    s = numpyro.sample("s", dist.HalfNormal(1.0))

    def step(carry: Any, _: Any) -> Any:
        x, last, t = carry
        x = numpyro.sample("x", dist.Normal(0.8 * x, s))
        last = numpyro.sample("y", dist.Normal(x + 0.5 * last, 0.7), obs=y[t])
        return (x, last, t + 1), None

    scan(step, (0.0, 0.2, 0), None, length=len(y))


def of_a_number(y: Any) -> None:
    """What is no longer a number in JAX: the largest category of the data."""
    kinds = int(y.max()) + 1

    def step(z: Any, y: Any) -> Any:
        z = numpyro.sample("z", dist.Categorical(jnp.array([[0.9, 0.1], [0.2, 0.8]])[z]))
        numpyro.sample("y", dist.Categorical(jnp.ones(kinds) / kinds), obs=y)
        return z, None

    scan(step, 0, y)


@pytest.mark.slow
def test_both_ways_of_writing_it_are_read_alike() -> None:
    """A missing value is carried on: it is a further unknown, whichever way it is found."""
    y = jnp.asarray(Y)
    one, other = (read(model, {"y": y}, {"s": 1.3}).system for model in (by_input, by_time))
    assert "y_unobserved" in repr(other)
    assert_logs_close(gaussian.evidence(other), gaussian.evidence(one), "log predictive")
    densities = [
        log_density(marginalize(model), (), {"y": y}, {"s": jnp.asarray(0.9)})[0] for model in (by_input, by_time)
    ]
    assert_logs_close(densities[1], densities[0], "log density")


def test_arrays_become_those_of_jax_where_the_program_needs_it() -> None:
    counts = np.array([0, 2, 1])
    assert isinstance(as_program_takes(by_time, {"y": Y})["y"], jax.Array)
    for model, y in ((by_input, Y), (of_a_number, counts)):
        assert as_program_takes(model, {"y": y})["y"] is y
    text = as_program_takes(lambda y, of: by_time(y), {"y": Y, "of": np.array(["north"])})
    assert isinstance(text["y"], jax.Array)
    assert isinstance(text["of"], np.ndarray)


@pytest.mark.slow
def test_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "by_time.py").write_text(FILE)
    (tmp_path / "y.csv").write_text("y\n0.3\n1.5\n\n-0.4\n0.1\n")
    call = ["check", str(tmp_path / "by_time.py"), "--data", str(tmp_path / "y.csv"), "--known", "--fast", "--json"]
    more = ["--parameters", '{"s": 1.3}', "--engines", "exact", "--out", str(tmp_path / "out")]
    assert main([*call, *more]) == 1  # the exact engine alone is compared with nothing
    said = json.loads(capsys.readouterr().out)
    assert not [row["why"] for row in said["checks"] if "failed" in row["why"]]
    result = xr.open_datatree(said["result"], engine="h5netcdf").load()
    expected = gaussian.evidence(read(by_input, {"y": Y}, {"s": 1.3}).system).sum()
    assert_logs_close(result["engines/exact"].attrs["log_evidence"], float(expected), "log evidence")
