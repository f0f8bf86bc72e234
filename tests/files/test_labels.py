"""Do the names of columns reach the axes and titles of what was observed and given?"""

import numpy as np
import xarray as xr

from ppl_worldmodel.files.labels import with_columns
from ppl_worldmodel.reports.figures.data import data_figure


def result() -> xr.DataTree:
    rng = np.random.default_rng(0)
    observed = xr.Dataset(
        {"flow": ("time", rng.normal(size=5)), "pair": (("time", "pair_dim_1"), rng.normal(size=(5, 2)))}
    )
    observed["pair"][3, 1] = np.nan
    series = xr.Dataset({"input": (("time", "sequence", "input_dim_2"), rng.normal(size=(5, 3, 2)))})
    return xr.DataTree.from_dict({"observed_data": observed, "constant_data": series})


def test_names_reach_axes_and_titles() -> None:
    tree = result()
    flow, pair = (tree["observed_data"][name].values for name in ("flow", "pair"))
    named = with_columns(
        tree,
        {"y": flow, "z": np.nan_to_num(pair, nan=7.0), "input": tree["constant_data"]["input"].values},
        {
            "y": np.array("volume", dtype=object),
            "z": np.array(["up", "down"], dtype=object),
            "input": np.array([["a_0", "a_1"], ["b_0", "b_1"], ["c_0", "c_1"]], dtype=object),
        },
    )
    observed = named["observed_data"]
    assert observed["flow"].attrs == {"column": "volume", "long_name": "volume"}
    assert observed["pair_dim_1"].values.tolist() == ["up", "down"]
    assert named["constant_data"]["input"].attrs["columns"] == "a_0, a_1, b_0, b_1, c_0, c_1"
    assert "long_name" not in tree["observed_data"]["flow"].attrs  # the given result is left as it was
    xr.testing.assert_equal(observed["pair"].drop_vars("pair_dim_1"), tree["observed_data"]["pair"])
    picture = data_figure(observed.to_dataset(), "pair")
    assert picture is not None


def test_other_series_keep_their_names() -> None:
    tree = result()
    named = with_columns(tree, {"y": np.zeros(5)}, {"y": np.array("volume", dtype=object)})
    assert named["observed_data"]["flow"].attrs == {}
