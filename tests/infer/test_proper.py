"""Is an exact belief that is no distribution named with its step?  And is rounding around a known state left alone?"""

from typing import Any

import numpy as np
import pytest
import xarray as xr

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.infer.beliefs import determined
from ppl_worldmodel.infer.proper import check_proper

STEPS = 6


def gaussian() -> dict[str, Any]:
    """Two correlated components, and a third one that is known."""
    covariance = np.broadcast_to(np.array([[1e8, 50.0, 0.0], [50.0, 1e-4, 0.0], [0.0, 0.0, 0.0]]), (STEPS, 3, 3)).copy()
    return {
        "filtered": xr.DataArray(np.tile([1e6, 0.3, 7.0], (STEPS, 1)), dims=("time", "dim")),
        "filtered_covariance": xr.DataArray(covariance, dims=("time", "dim", "dim_bis")),
    }


def test_a_known_component_and_its_rounding_are_proper() -> None:
    beliefs = gaussian()
    check_proper(beliefs, "")
    beliefs["filtered_covariance"].values[3, 2, 2] = -1e-16
    check_proper(beliefs, "")


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        ((2, 1, 1), -1e-5, "has a negative variance"), ((2, 1, 1), np.nan, "not finite"), ((2, 0, 1), np.inf, "not finite"),
        ((2, slice(None), slice(None)), np.array([[1.0, 1.1, 0], [1.1, 1.0, 0], [0, 0, 0]]), "not positive semi-definite"),
    ],
)  # fmt: skip
def test_what_is_no_covariance_is_named(at: tuple, value: Any, said: str) -> None:
    beliefs = gaussian()
    beliefs["filtered_covariance"].values[at] = value
    with pytest.raises(DataError, match=f"filtered belief at time step 2 .*{said}.*; units"):
        check_proper(beliefs, "units")


def test_a_variance_that_a_vague_first_step_would_hide_is_named() -> None:
    beliefs = gaussian()
    beliefs["filtered_covariance"].values[0, 1, 1] = 1e12
    beliefs["filtered_covariance"].values[4, 1, 1] = -1e-5
    with pytest.raises(DataError, match=r"time step 4 .* negative variance"):
        check_proper(beliefs, "")


@pytest.mark.parametrize("value", [np.nan, 0.4, -0.1])
def test_what_are_no_probabilities_is_named(value: float) -> None:
    share = np.tile([0.2, 0.8], (STEPS, 1))
    share[5, 0] = value
    with pytest.raises(DataError, match="smoothed belief at time step 5"):
        check_proper({"smoothed": xr.DataArray(share, dims=("time", "state"))}, "")


def test_only_the_steps_before_a_flat_start_is_determined_are_left_out() -> None:
    def beliefs(*gaps: int) -> dict[str, xr.DataArray]:
        found = {}
        for kind in ("predicted", "filtered", "smoothed"):
            values = np.ones((STEPS, 1))
            values[list(gaps)] = np.nan
            found[kind] = xr.DataArray(values, dims=("time", "dim"))
            found[f"{kind}_covariance"] = xr.DataArray(values[..., None], dims=("time", "dim", "dim_bis"))
        return found | determined(found)

    early, late = beliefs(0, 1), beliefs(0, 1, 4)
    np.testing.assert_array_equal(early["filtered_asked"], np.arange(STEPS) >= 2)
    check_proper(early, "")
    with pytest.raises(DataError, match="time step 4"):
        check_proper(late, "")
