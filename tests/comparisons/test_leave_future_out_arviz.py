"""Does ArviZ's own leave-future-out cross-validation come to the same scores?  It goes forwards and refits on the way."""

from collections.abc import Sequence
from typing import Any

import arviz_stats
import jax
import numpy as np
import pytest
import xarray as xr
from scipy import stats

from ppl_worldmodel import simulate
from ppl_worldmodel.comparisons.leave_future_out import Refit, leave_future_out, refitted
from ppl_worldmodel.models import nile, two_state_pomdp
from ppl_worldmodel.program.reading import read

from .test_leave_future_out import STEPS, refitter, series


class Wrapped(arviz_stats.SamplingWrapper):
    """Samples of prefixes: what ArviZ calls a fit is here an array of terms (chain, draw, time)."""

    def sel_observations(self, idx: np.ndarray) -> tuple[int, np.ndarray]:
        return int(np.min(idx)), np.asarray(idx)

    def sample(self, modified_observed_data: int) -> np.ndarray:
        return self.model(modified_observed_data)

    def get_inference_data(self, fitted_model: np.ndarray) -> xr.DataTree:
        return tree(fitted_model)

    def log_likelihood__i(self, excluded_obs: np.ndarray, idata__i: xr.DataTree) -> xr.DataArray:
        return idata__i["log_likelihood"]["y"].isel(time=excluded_obs)


def tree(terms: np.ndarray) -> xr.DataTree:
    values = xr.Dataset({"y": (("chain", "draw", "time"), terms)})
    parameters = xr.Dataset({"any": (("chain", "draw"), np.zeros(terms.shape[:2]))})
    observed = xr.Dataset({"y": ("time", np.zeros(terms.shape[-1]))})
    return xr.DataTree.from_dict({"posterior": parameters, "log_likelihood": values, "observed_data": observed})


def check(refits: Sequence[Refit], steps: int, first: int, horizon: int) -> None:
    """Our scores, from the whole series backwards, and those of ArviZ, from the first prefix forwards.

    ArviZ tells no Monte Carlo error: it is taken from the spread over independent samples, all but the first of `refits`.
    """
    ours, *others = refits
    here = leave_future_out(ours, steps, first=first, horizon=horizon, whole=ours(steps))
    settings: dict[str, Any] = {"min_observations": first, "forecast_horizon": horizon, "pointwise": True}
    there = np.stack([arviz_stats.lfo_cv(tree(each(steps)), Wrapped(each), **settings).elpd_i for each in others])
    scored = slice(first, steps - horizon + 1)
    most = stats.t.isf(0.5e-3 / there.shape[1], len(others) - 1)
    error = np.hypot(here.error[scored], there.std(axis=0, ddof=1) / len(others) ** 0.5)
    assert (np.abs(here.elpd[scored] - there.mean(axis=0)) < most * error).all()
    totals = there.sum(axis=1)
    error = np.hypot(here.total_error, totals.std(ddof=1) / len(others) ** 0.5)
    assert abs(here.total - totals.mean()) < stats.t.isf(0.5e-3, len(others) - 1) * error


@pytest.mark.parametrize("horizon", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_scores_of_a_conjugate_model(horizon: int) -> None:
    check([refitter(series(), [], seed) for seed in range(13)], STEPS, 12, horizon)


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["nile", "two states"])
def test_scores_of_a_program(name: str) -> None:
    if name == "nile":
        model, data = nile.model, nile.data()
    else:
        symbols = simulate(two_state_pomdp.model, two_state_pomdp.truth, jax.random.key(0), num_steps=60)["observation"]
        model, data = two_state_pomdp.model, {"observations": np.asarray(symbols)}
    reading, steps = read(model, data), len(data["observations"])
    refits = [refitted(reading, jax.random.key(seed), num_samples=1000) for seed in range(9)]
    check(refits, steps, steps // 5, 1)
