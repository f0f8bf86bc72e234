"""Do draws whose states have changed names say the same, where averages of T and O say nothing?  And are gaps in it explained?"""

import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.contrib.control_flow import scan

from ppl_worldmodel import read
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.exact import FiniteState
from ppl_worldmodel.identifiability import gaussian_invariants, markov_invariants
from ppl_worldmodel.identifiability.invariants import STATISTICS, invariants, summary
from ppl_worldmodel.models import nile, tiger, two_state_pomdp

DATA = {"observations": np.random.default_rng(1).integers(0, 2, 40)}


def draws(seed: int, chains: int = 4, length: int = 250) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    rows = [random.dirichlet(row, (chains, length)) for row in ([9.0, 1.0], [3.0, 7.0], [8.0, 2.0], [3.0, 7.0])]
    return {"T": np.stack(rows[:2], axis=2), "O": np.stack(rows[2:], axis=2)}


@pytest.mark.slow
def test_chains_that_exchange_the_names_of_the_states_say_the_same() -> None:
    """Whole chains, and single draws within a chain."""
    plain, random = draws(0), np.random.default_rng(2)
    exchanged = np.array([False, True, True, False])[:, None] ^ (random.uniform(size=(4, 250)) < 0.1)
    mixed = {
        "T": np.where(exchanged[..., None, None], plain["T"][..., ::-1, ::-1], plain["T"]),
        "O": np.where(exchanged[..., None, None], plain["O"][..., ::-1, :], plain["O"]),
    }
    # Not the same, and to be told apart: O exchanged alone.
    wrong = {"T": plain["T"], "O": plain["O"][..., ::-1, :]}
    together = {name: np.concatenate([plain[name], mixed[name], wrong[name]]) for name in plain}
    all_three = invariants(read(two_state_pomdp.model, DATA), together)
    expected, found, other = (all_three.isel(chain=slice(4 * i, 4 * i + 4)) for i in range(3))
    assert set(found.data_vars) == {*markov_invariants.OF_ONE_MATRIX, "move_entropy", "log_evidence"}
    assert found["stationary"].dims == ("chain", "draw", "rank")
    xr.testing.assert_allclose(found, expected, rtol=1e-11)
    assert np.abs(mixed["T"] - plain["T"]).max() > 0.1
    entry = xr.Dataset({"T00": (("chain", "draw"), mixed["T"][..., 0, 0])})
    assert summary(entry)["T00"].sel(statistic="rhat") > 1.1
    said = summary(found)
    assert all((values.sel(statistic="rhat") < 1.05).all() for values in said.data_vars.values())
    assert all((values.sel(statistic="ess_bulk") > 400).all() for values in said.data_vars.values())
    assert np.abs(other["log_evidence"] - expected["log_evidence"]).max() > 1.0
    xr.testing.assert_allclose(other["stationary"], expected["stationary"])


@pytest.mark.slow
def test_each_draw_is_that_of_its_own_system() -> None:
    random = np.random.default_rng(0)
    scales = {"level_scale": random.gamma(10.0, 4.0, (2, 3)), "observation_scale": random.gamma(10.0, 12.0, (2, 3))}
    found = invariants(read(nile.model, nile.data()), scales, horizon=4, num_frequencies=3)
    assert found["response"].dims == ("chain", "draw", "lag", "dim_y", "dim_y_bis")
    np.testing.assert_array_equal(found["lag"], np.arange(5))
    np.testing.assert_allclose(found["frequency"], np.pi * np.array([1, 3, 5]) / 6)
    assert json.loads(found.attrs["left_out"]) == {}
    for at in ((0, 1), (1, 2)):
        system = read(nile.model, nile.data(), {name: value[at] for name, value in scales.items()}).system
        for name, value in gaussian_invariants.invariants(system, horizon=4, num_frequencies=3).items():
            np.testing.assert_allclose(found[name][at], value, rtol=1e-10, err_msg=name)


def test_what_a_program_with_actions_leaves_out_is_said() -> None:
    data = {"observations": np.array([0, 0, 1, 0]), "actions": np.array([0, 0, 0, 1])}
    found = invariants(read(tiger.model, data), {"accuracy": np.random.default_rng(0).beta(8.0, 2.0, (2, 5))})
    assert set(found.data_vars) == {"move_entropy", "log_evidence"}
    assert set(json.loads(found.attrs["left_out"])) == set(markov_invariants.OF_ONE_MATRIX)


def of_series(y: Any, own: bool) -> None:
    """Two series of one chain; or each with a chain of its own."""
    T = numpyro.sample("T", dist.Dirichlet(jnp.ones(2)).expand([2, 2] if own else [1, 2]).to_event(2))

    def step(state, seen):
        with numpyro.plate("series", 2):
            state = numpyro.sample("state", dist.Categorical(T[jnp.arange(2) if own else 0, state]))
            numpyro.sample("y", dist.Normal(2.0 * state, 1.0), obs=seen)
        return state, None

    with numpyro.plate("series", 2):
        start = numpyro.sample("start", dist.Categorical(jnp.ones(2) / 2))
    scan(step, start, y)


@pytest.mark.parametrize("own", [False, True])
def test_series_share_what_is_alike(own: bool) -> None:
    data = {"y": np.random.default_rng(0).normal(size=(6, 2)), "own": own}
    T = np.random.default_rng(1).dirichlet([1.0, 1.0], (2, 5, 2 if own else 1, 2))
    found = invariants(read(of_series, data), {"T": T})
    assert found["log_evidence"].dims == ("chain", "draw")
    assert ("sequence" in found["persistence"].dims) == own
    assert "sequence" in found["move_entropy"].dims
    seen = -0.5 * (data["y"][..., None] - 2.0 * np.arange(2)) ** 2 - 0.5 * np.log(2 * np.pi)
    matrices = T[1, 2] if own else np.repeat(T[1, 2], 2, axis=0)
    each = [
        markov_invariants.invariants(FiniteState(jnp.ones(2) / 2, jnp.asarray(matrices[i]), jnp.asarray(seen[:, i])))
        for i in range(2)
    ]
    np.testing.assert_allclose(found["log_evidence"][1, 2], sum(one["log_evidence"] for one in each), rtol=1e-12)
    np.testing.assert_allclose(found["move_entropy"][1, 2], [one["move_entropy"] for one in each], rtol=1e-12)
    expected = [one["stationary"] for one in each] if own else each[0]["stationary"]
    np.testing.assert_allclose(found["stationary"][1, 2], expected, rtol=1e-12)


def test_what_is_infinite_or_undefined_stays_so_in_the_summary() -> None:
    values = np.random.default_rng(0).normal(size=(4, 100, 4))
    values[..., 1], values[..., 2], values[2, 5, 3] = 1.0, np.inf, np.nan
    said = summary(xr.Dataset({"x": (("chain", "draw", "mode"), values)}, attrs={"family": "LinearGaussian"}))
    assert said.attrs["family"] == "LinearGaussian"
    np.testing.assert_array_equal(said["statistic"], STATISTICS)
    table = {str(name): said["x"].sel(statistic=name).values for name in said["statistic"].values}
    np.testing.assert_allclose(table["mean"][:3], [values[..., 0].mean(), 1.0, np.inf])
    np.testing.assert_allclose(table["sd"][:2], [values[..., 0].std(ddof=1), 0.0])
    np.testing.assert_allclose(table["q95"][:3], [np.quantile(values[..., 0], 0.95), 1.0, np.inf], rtol=0.02)
    assert np.isfinite(table["rhat"][0])
    assert np.isnan(table["rhat"][1:]).all()
    assert np.isnan(table["ess_bulk"][1:]).all()
    assert all(np.isnan(entries[3]) for entries in table.values())


def test_draws_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match=r"given: \{\}"):
        invariants(read(two_state_pomdp.model, DATA), {})
    uneven = {"T": draws(0)["T"], "O": draws(0)["O"][:, :10]}
    with pytest.raises(DataError, match="as many of each"):
        invariants(read(two_state_pomdp.model, DATA), uneven)
