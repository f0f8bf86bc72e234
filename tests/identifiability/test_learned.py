"""Does what is put beside a run say where it was measured, and why nothing is said where nothing can be?"""

from functools import partial
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

from ppl_worldmodel.identifiability.learned import learnable
from ppl_worldmodel.infer.result_tree import PARAMETERS, STATES
from ppl_worldmodel.program.reading import read
from ppl_worldmodel.reports.sections.learnable import learnable as section_of

KEY = jax.random.key(0)
DATA = {"y": np.random.default_rng(0).normal(0.5, 1.0, 20)}


def noise(y: Any, centre: float = 0.0, scale: float = 3.0, prior: dist.Distribution | None = None) -> None:
    """Normal values, from a state with a single value."""
    mean = numpyro.sample("mean", prior or dist.Normal(centre, scale))

    def step(s: Any, y: Any) -> Any:
        s = numpyro.sample("s", dist.Categorical(jnp.ones(1)))
        numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)
        return s, None

    scan(step, numpyro.sample("start", dist.Categorical(jnp.ones(1))), y)


def result(draws: np.ndarray, question: str = PARAMETERS) -> xr.DataTree:
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"mean": (("chain", "draw"), draws)})})
    tree.attrs = {"question": question}
    return tree


def exact_draws() -> np.ndarray:
    """The posterior is normal: precision 1/9 of the prior and 1 of every value."""
    precision = 20 + 1 / 9
    return np.random.default_rng(1).normal(DATA["y"].sum() / precision, precision**-0.5, (4, 500))


@pytest.mark.slow
def test_a_run_has_what_could_be_learned_beside_what_was(tmp_path: Path) -> None:
    draws = exact_draws()
    found = learnable(read(noise, DATA), {"svi": result(draws + 9.0), "nuts": result(draws)}, None, KEY)
    assert (found.attrs["at"], found.attrs["engine"]) == ("the posterior mean", "nuts")
    np.testing.assert_allclose(found["value"], draws.mean(), rtol=1e-12)
    np.testing.assert_allclose(found["data_sd"], ((DATA["y"] - draws.mean()) ** 2).sum() ** -0.5, rtol=1e-10)
    np.testing.assert_allclose(found["posterior_sd"], draws.std(ddof=1), rtol=1e-12)
    assert list(found["verdict"].values) == ["learned"]
    assert 0.1 < float(found["overlap"][0]) < 0.3  # normal densities of sd 0.22 and 3: about 0.2
    assert "prior" not in found
    assert float(found["prior_felt"][0]) < 0.05 < float(found["data_felt"][0])
    path = tmp_path / "run.nc"
    xr.DataTree.from_dict({"identifiability": found}).to_netcdf(path, engine="h5netcdf")
    with xr.open_datatree(path) as again:
        xr.testing.assert_equal(again["identifiability"].to_dataset().load(), found)


@pytest.mark.slow
def test_a_narrow_prior_is_felt() -> None:
    """The prior N(-3, 0.2^2) of a mean whose data say 0.5 +- 0.2: both are felt."""
    precision = 20 + 25.0
    centre = (DATA["y"].sum() - 3.0 * 25.0) / precision
    draws = np.random.default_rng(2).normal(centre, precision**-0.5, (4, 500))
    narrow = partial(noise, centre=-3.0, scale=0.2)
    found = learnable(read(narrow, DATA), {"nuts": result(draws)}, None, KEY)
    assert float(found["prior_felt"][0]) > 0.05
    assert float(found["data_felt"][0]) > 0.05


@pytest.mark.slow
def test_a_flat_prior_is_not_felt_and_it_is_said_why() -> None:
    flat = partial(noise, prior=dist.Uniform(-9.0, 9.0))
    found = learnable(read(flat, DATA), {"nuts": result(exact_draws())}, None, KEY)
    assert np.isnan(found["prior_felt"]).all()
    assert "flat prior" in found.attrs["unfelt"]
    section = section_of(found)
    assert section is not None
    assert section.unfelt == found.attrs["unfelt"]


def test_why_nothing_is_said() -> None:
    states = {"exact": result(exact_draws(), STATES)}
    assert learnable(read(noise, DATA), states, None, KEY).attrs["left_out"] == "no engine learned the parameters"
    no_number = {"nuts": result(np.full((4, 5), np.inf))}
    found = learnable(read(noise, DATA), no_number, None, KEY)
    assert not found.data_vars
    assert found.attrs["left_out"]
