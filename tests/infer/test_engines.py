"""Every engine keeps the same contract: one DataTree in ArviZ's schema that is saved and comes back equal."""

from pathlib import Path

import arviz_stats  # noqa: F401  (registers `.azstats`)
import jax
import numpy as np
import pytest
import xarray as xr

from ppl_worldmodel import exact_engine, gibbs, nuts, read, simulate, svi
from ppl_worldmodel.errors import DataError, NotExactlySolvable
from ppl_worldmodel.models import nile, two_state_pomdp

KEY = jax.random.key(0)
NILE = {"observations": nile.data()["observations"][:12]}
NILE_PARAMETERS = {"level_scale": 38.3, "observation_scale": 122.9}
TWO = {
    "observations": simulate(two_state_pomdp.model, two_state_pomdp.truth, jax.random.key(3), num_steps=12)[
        "observation"
    ]
}
SHORT = {"num_warmup": 100, "num_samples": 100, "num_chains": 2}

RUNS = {
    "exact, finite": (exact_engine(), two_state_pomdp.model, TWO, two_state_pomdp.truth),
    "exact, Gaussian": (exact_engine(), nile.model, NILE, NILE_PARAMETERS),
    "gibbs": (gibbs(prefixes=2, **SHORT), two_state_pomdp.model, TWO, two_state_pomdp.truth),
    "nuts, finite, learned": (nuts(**SHORT), two_state_pomdp.model, TWO, None),
    "nuts, Gaussian, states": (nuts(prefixes=[4], **SHORT), nile.model, NILE, NILE_PARAMETERS),
    "svi, Gaussian, learned": (svi(num_steps=200, num_samples=100), nile.model, NILE, None),
    "svi, Gaussian, states": (
        svi(guide="full_rank", num_steps=200, num_samples=100),
        nile.model,
        NILE,
        NILE_PARAMETERS,
    ),
}


SLOW = {name for name in RUNS if name.startswith(("nuts", "svi"))}


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in RUNS]
)
def result(request: pytest.FixtureRequest) -> tuple[str, xr.DataTree]:
    engine, model, data, parameters = RUNS[request.param]
    return request.param, engine(read(model, data, parameters), KEY)


@pytest.mark.slow
def test_groups_dimensions_and_attributes(result: tuple[str, xr.DataTree]) -> None:
    name, tree = result
    assert {"posterior", "observed_data", "beliefs"} <= set(tree.children)
    for values in tree["posterior"].to_dataset().data_vars.values():
        assert values.dims[:2] == ("chain", "draw")
    beliefs = tree["beliefs"].to_dataset()
    assert beliefs["smoothed"].dims == (("time", "dim") if "Gaussian" in name else ("time", "state"))
    assert beliefs.sizes["time"] == 12
    if "Gaussian" in name:
        assert beliefs["smoothed_covariance"].dims == ("time", "dim", "dim_bis")
    else:
        np.testing.assert_allclose(beliefs["smoothed"].sum("state"), 1.0, rtol=1e-12)
    assert tree.attrs["dtype"] == "float64"
    assert {"engine", "algorithm", "question", "family", "beliefs_from", "key", "seconds", "versions"} <= set(
        tree.attrs
    )


def test_observed_data_are_the_programs_own(result: tuple[str, xr.DataTree]) -> None:
    _, tree = result
    (series,) = tree["observed_data"].to_dataset().data_vars.values()
    assert series.dims == ("time",)
    assert "constant_data" not in tree.children  # observations are not stored twice


def test_saved_and_read_back_equal(result: tuple[str, xr.DataTree], tmp_path: Path) -> None:
    _, tree = result
    tree.to_netcdf(tmp_path / "result.nc", engine="h5netcdf")
    xr.testing.assert_identical(xr.open_datatree(tmp_path / "result.nc", engine="h5netcdf").load(), tree)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::RuntimeWarning")  # zarr's own
def test_saved_as_zarr_and_read_back_equal(result: tuple[str, xr.DataTree], tmp_path: Path) -> None:
    _, tree = result
    tree.to_zarr(tmp_path / "result.zarr", consolidated=False)
    xr.testing.assert_equal(xr.open_datatree(tmp_path / "result.zarr", engine="zarr", consolidated=False).load(), tree)


def test_log_likelihood_is_there_when_parameters_are_learned(result: tuple[str, xr.DataTree]) -> None:
    name, tree = result
    if "learned" in name:
        assert tree["log_likelihood"]["log_predictive"].dims == ("chain", "draw", "time")


def test_filtered_beliefs_of_prefixes_are_there_only_where_asked(result: tuple[str, xr.DataTree]) -> None:
    name, tree = result
    expected = {"gibbs": [3, 7], "nuts, Gaussian, states": [4]}.get(name)
    if expected is not None:
        asked = np.isfinite(tree["beliefs"]["filtered"].values).all(axis=-1)
        assert np.flatnonzero(asked).tolist() == expected


@pytest.mark.slow
def test_the_same_key_gives_the_same_draws() -> None:
    engine = gibbs(**SHORT)
    first, second = (engine(read(two_state_pomdp.model, TWO, two_state_pomdp.truth), KEY) for _ in range(2))
    xr.testing.assert_identical(first["posterior"].to_dataset(), second["posterior"].to_dataset())


def test_actions_are_constant_data() -> None:
    from ppl_worldmodel.models import tiger

    actions = tiger.simulation_inputs(8)["actions"]
    data = {"observations": np.zeros(8, int), "actions": actions}
    tree = exact_engine()(read(tiger.model, data, tiger.truth), KEY)
    assert list(tree["constant_data"].data_vars) == ["actions"]


def test_engines_refuse_what_they_cannot_answer() -> None:
    with pytest.raises(NotExactlySolvable, match="gibbs cannot sample the continuous state 'level'"):
        gibbs(**SHORT)(read(nile.model, NILE, NILE_PARAMETERS), KEY)
    with pytest.raises(NotExactlySolvable, match="nuts cannot sample the discrete state 'state'"):
        nuts(**SHORT)(read(two_state_pomdp.model, TWO, two_state_pomdp.truth), KEY)
    with pytest.raises(NotExactlySolvable, match="svi cannot fit the discrete state 'state'"):
        svi()(read(two_state_pomdp.model, TWO, two_state_pomdp.truth), KEY)
    with pytest.raises(DataError, match="the exact engine answers at given parameters"):
        exact_engine()(read(nile.model, NILE), KEY)


def test_an_impossible_observation_is_named() -> None:
    parameters = {"T": np.eye(2), "O": np.array([[1.0, 0.0], [0.0, 1.0]])}
    with pytest.raises(DataError, match="time step 2"):
        exact_engine()(read(two_state_pomdp.model, {"observations": np.array([0, 0, 1, 0])}, parameters), KEY)


def test_an_exact_gaussian_result_says_how_many_digits_it_has() -> None:
    tree = exact_engine()(read(nile.model, NILE, NILE_PARAMETERS), KEY)
    assert 6 <= tree.attrs["digits"] <= 16
    assert tree["beliefs"]["smoothed"].attrs["digits"] == tree.attrs["digits"]
    assert "digits" not in exact_engine()(read(two_state_pomdp.model, TWO, two_state_pomdp.truth), KEY).attrs
