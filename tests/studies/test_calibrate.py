"""Does calibration pass where the posterior is right, and fail where it is not?"""

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

from ppl_worldmodel import given, memory
from ppl_worldmodel.checks.calibration import fractional_ranks, thinning, uniformity
from ppl_worldmodel.cli.main import main
from ppl_worldmodel.errors import DataError, NotExactlySolvable
from ppl_worldmodel.models import nile, two_state_pomdp
from ppl_worldmodel.studies.calibrate import _ranked, calibrate, side_by_side

from ..cli.test_check import fails

SHORT: dict[str, Any] = {"replications": 150, "num_warmup": 20, "num_samples": 60, "arguments": {"num_steps": 20}}


def two_states(*, T_prior: Any = ((8.0, 2.0), (2.0, 8.0)), swap: bool = False, transpose: bool = False) -> Any:
    """two_state_pomdp, or one with a fault: another prior of T, the rows of O swapped, T transposed, an observation skipped."""

    def model(observations: Any = None, num_steps: int = 20) -> None:
        T = numpyro.sample("T", dist.Dirichlet(jnp.array(T_prior)).to_event(1))
        O = numpyro.sample("O", dist.Dirichlet(jnp.array([[12.0, 4.0], [4.0, 12.0]])).to_event(1))
        move = T.T / T.T.sum(axis=-1, keepdims=True) if transpose else T

        def step(s: Any, y: Any) -> Any:
            s = numpyro.sample("state", dist.Categorical(move[s]))
            numpyro.sample("observation", dist.Categorical(O[1 - s] if swap else O[s]), obs=y)
            return s, None

        initial = numpyro.sample("initial_state", dist.Categorical(jnp.array([0.5, 0.5])))
        scan(step, initial, observations, length=num_steps if observations is None else None)

    return model


def test_ranks_of_a_right_posterior_are_uniform_and_of_a_wrong_one_are_not() -> None:
    """A normal mean with a normal prior: the posterior is N(y / 2, 1 / 2)."""
    random = np.random.default_rng(0)
    truth = random.normal(size=(1, 400))
    y = truth + random.normal(size=truth.shape)
    draws = y[..., None] / 2 + random.normal(size=(1, 400, 99)) * 0.5**0.5
    assert thinning(draws) <= 2
    assert uniformity(fractional_ranks(truth, draws, 7))[0] > 0.01
    for wrong in (draws + 0.25, y[..., None] / 2 + (draws - y[..., None] / 2) * 0.7):
        assert uniformity(fractional_ranks(truth, wrong, 7))[0] < 1e-4


def test_ties_are_broken_at_random() -> None:
    random = np.random.default_rng(0)
    truth, draws = random.integers(0, 2, (1, 500)), random.integers(0, 2, (1, 500, 50))
    assert uniformity(fractional_ranks(truth, draws, 7))[0] > 0.01


def test_dependent_draws_are_thinned() -> None:
    random = np.random.default_rng(0)
    draws = np.zeros((1, 20, 2000))
    for t in range(1, 2000):
        draws[..., t] = 0.9 * draws[..., t - 1] + random.normal(size=(1, 20))
    assert 12 < thinning(draws) < 40  # (1 + 0.9) / (1 - 0.9) = 19 draws for an independent one


def test_what_never_varies_neither_thins_nor_is_ranked() -> None:
    random, given = np.random.default_rng(0), np.ones((1, 30))
    truth, draws = random.normal(size=(1, 30)), random.normal(size=(1, 30, 100))
    still = np.broadcast_to(given[..., None], draws.shape)
    assert thinning(np.concatenate([draws, still])) == thinning(draws)
    assert thinning(still) == 1
    ranked = _ranked(
        "any",
        {"free": truth[0], "given": given[0]},
        {"free": draws[0], "given": still[0]},
        jax.random.key(0),
        seconds=0.0,
        num_warmup=0,
    )
    assert ranked["quantity"].values.tolist() == ["free"]


@pytest.mark.nightly
def test_gibbs_is_calibrated() -> None:
    found = calibrate(two_states(), engine="gibbs", **SHORT)
    assert found.attrs["verdict"] == "agrees", found.attrs["why"]
    assert {"T[0, 1]", "O[1, 1]", "state[19]", "log likelihood"} <= set(found["quantity"].values)
    assert found["rank"].shape == (found.sizes["quantity"], 150)


@pytest.mark.slow
def test_a_prior_that_was_dropped_is_noticed() -> None:
    faulty = two_states(T_prior=((1.0, 1.0), (1.0, 1.0)))
    found = calibrate(two_states(), engine="gibbs", fitted=faulty, **SHORT)
    assert found.attrs["verdict"] == "disagrees", found.attrs["why"]


@pytest.mark.nightly
def test_swapped_emission_rows_are_noticed() -> None:
    found = calibrate(two_states(), engine="gibbs", fitted=two_states(swap=True), **SHORT)
    assert found.attrs["verdict"] == "disagrees", found.attrs["why"]


@pytest.mark.nightly
@pytest.mark.parametrize("transpose", [False, True])
def test_nuts(transpose: bool) -> None:
    prior = ((8.0, 2.0), (6.0, 4.0))
    settings = SHORT | {"num_warmup": 300, "num_samples": 300}
    fitted = two_states(T_prior=prior, transpose=True) if transpose else None
    found = calibrate(two_states(T_prior=prior), engine="nuts", fitted=fitted, **settings)
    assert found.attrs["verdict"] == ("disagrees" if transpose else "agrees"), found.attrs["why"]


@pytest.mark.slow
def test_what_cannot_be_calibrated() -> None:
    def known(observations: Any = None, num_steps: int = 5) -> None:
        two_states_given = {name: jnp.asarray(value) for name, value in two_state_pomdp.truth.items()}
        given(two_state_pomdp.model, two_states_given)(observations, num_steps)

    with pytest.raises(DataError, match="no engine 'svi' to calibrate: choose from"):
        calibrate(two_states(), engine="svi")
    with pytest.raises(NotExactlySolvable, match="cannot draw the parameter 'level_scale'"):
        calibrate(nile.model, engine="gibbs", replications=20)
    with pytest.raises(DataError, match="no prior to calibrate over"):
        calibrate(known, engine="nuts")


def test_how_many_at_a_time() -> None:
    with memory.at_most(10**9):
        assert side_by_side(200, 2, 500, 20) == 100  # short series: each core all of its share
        assert side_by_side(200, 2, 500, 1000) == 10
        with pytest.raises(DataError, match="give --max-memory, fewer --draws or --steps"):
            side_by_side(200, 2, 500, 10**6)


@pytest.mark.slow
def test_batches_and_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of eight, the last of which begins again, rank as one batch does; and it is told how far it is."""
    settings = {
        "engine": "gibbs",
        "replications": 21,
        "num_warmup": 2,
        "num_samples": 20,
        "arguments": {"num_steps": 5},
    }
    whole = calibrate(two_states(), **settings)
    monkeypatch.setattr("ppl_worldmodel.studies.calibrate.BATCH", 8 * 20 * 5)
    told: list[str] = []
    parts = calibrate(two_states(), **settings, say=told.append)
    np.testing.assert_allclose(parts["rank"].values, whole["rank"].values)
    assert [line.split(",")[0] for line in told] == ["gibbs: 8 of 21 data sets", "gibbs: 16 of 21 data sets"]


@pytest.mark.slow
def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    call = [
        "calibrate",
        "tiger",
        "--engines",
        "gibbs",
        "--replications",
        "20",
        "--steps",
        "8",
        "--out",
        "here",
        "--json",
    ]
    status = main(call)
    told = json.loads(capsys.readouterr().out)
    assert status == (0 if told["gibbs"]["verdict"] == "agrees" else 1)
    assert Path("here/calibration_gibbs.png").read_bytes()[:4] == b"\x89PNG"
    assert xr.open_dataset("here/calibration_gibbs.nc", engine="h5netcdf")["rank"].sizes["replication"] == 20
    assert "at least 20" in fails(capsys, "calibrate", "tiger", "--replications", "5")
    assert "at least 20" in fails(capsys, "calibrate", "tiger", "--draws", "5")
    assert "choose from" in fails(capsys, "calibrate", "tiger", "--engines", "svi")
    assert "'level_scale'" in fails(capsys, "calibrate", "nile", "--engines", "gibbs", "--replications", "20")
