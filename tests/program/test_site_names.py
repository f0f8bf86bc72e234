"""Do programs with `handlers.scope` say the same as without, under names that files can hold?"""

import inspect
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro import handlers
from numpyro.contrib.control_flow import scan

from ppl_worldmodel import exact_engine, read
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.exact import gaussian
from ppl_worldmodel.files.load import load
from ppl_worldmodel.program.site_names import with_dotted_sites

Y = np.array([0.3, -0.2, np.nan, 1.1, 0.4])
DATA = {"y": Y}


def plain(y: Any = None) -> None:
    scale = numpyro.sample("scale", dist.HalfNormal(2.0))

    def step(level: Any, y: Any) -> tuple:
        level = numpyro.sample("level", dist.Normal(level, scale))
        numpyro.sample("flow", dist.Normal(level, 1.0), obs=y)
        return level, None

    scan(step, numpyro.sample("start", dist.Normal(0.0, 5.0)), y)


def inside(y: Any = None) -> None:
    """Scopes around single sites, inside and outside of the step."""
    with handlers.scope(prefix="width"):
        scale = numpyro.sample("scale", dist.HalfNormal(2.0))

    def step(level: Any, y: Any) -> tuple:
        with handlers.scope(prefix="river"):
            level = numpyro.sample("level", dist.Normal(level, scale))
            numpyro.sample("flow", dist.Normal(level, 1.0), obs=y)
        return level, None

    scan(step, numpyro.sample("start", dist.Normal(0.0, 5.0)), y)


def around(y: Any = None) -> None:
    """Two scopes around the whole program."""
    with handlers.scope(prefix="outer"), handlers.scope(prefix="inner"):
        plain(y)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "scale", "state"),
    [(inside, "width.scale", "river.level"), (around, "outer.inner.scale", "outer.inner.level")],
)
def test_a_scope_changes_names_only(model: Any, scale: str, state: str) -> None:
    expected = float(gaussian.evidence(read(plain, DATA, {"scale": 0.7}).system).sum())
    program = with_dotted_sites(model)
    assert inspect.signature(program) == inspect.signature(model)
    system = read(program, DATA, {scale: 0.7}).system
    assert float(gaussian.evidence(system).sum()) == pytest.approx(expected, rel=1e-12)
    assert system.structure.states == (state,)
    with handlers.trace() as trace, handlers.seed(rng_seed=0):
        program(np.nan_to_num(Y))
    assert scale in trace
    assert state in trace
    assert not [name for name in trace if "/" in name]


@pytest.mark.slow
def test_an_engine_takes_a_program_with_slashes(tmp_path: Path) -> None:
    result = exact_engine()(read(inside, DATA, {"width/scale": 0.7}), jax.random.key(0))
    assert result["observed_data"]["river.flow"].dims == ("time",)
    result.to_netcdf(tmp_path / "result.nc", engine="h5netcdf")
    again = xr.open_datatree(tmp_path / "result.nc", engine="h5netcdf").load()
    np.testing.assert_array_equal(again["observed_data"]["river.flow"], Y)


def test_a_model_file_with_slashes(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(
        "import numpyro, numpyro.distributions as dist\n"
        "from numpyro import handlers\n"
        "def model(y=None):\n"
        "    with handlers.scope(prefix='a'):\n"
        "        numpyro.sample('scale', dist.HalfNormal(1.0))\n"
        "truth = {'a/scale': 0.5}\n"
        "units = {'a/scale': 'm'}\n"
    )
    loaded = load(str(path))
    assert loaded.truth == {"a.scale": 0.5}
    assert loaded.units == {"a.scale": "m"}
    with handlers.trace() as trace, handlers.seed(rng_seed=0):
        loaded.model()
    assert list(trace) == ["a.scale"]


def test_names_that_differ_by_the_slash_alone_are_refused() -> None:
    def model() -> None:
        numpyro.sample("a/b", dist.Normal())
        numpyro.sample("a.b", dist.Normal())

    with (
        pytest.raises(DataError, match=r"two sites 'a\.b' and 'a/b', which are both 'a\.b' in results"),
        handlers.seed(rng_seed=0),
    ):
        with_dotted_sites(model)()


@pytest.mark.slow
def test_the_step_still_depends_on_the_program(tmp_path: Path) -> None:
    """A scope is no way to lose a dependence: other data, other evidence."""
    program = with_dotted_sites(around)
    evidence = [
        float(gaussian.evidence(read(program, {"y": jnp.asarray(y)}, {"outer.inner.scale": 0.7}).system).sum())
        for y in (np.zeros(3), np.ones(3))
    ]
    assert evidence[0] != evidence[1]
