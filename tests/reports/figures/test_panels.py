"""Is the right part of a belief drawn, and does the page say which?  Several series, and states of several parts."""

import numpy as np
import pytest
import xarray as xr

from ppl_worldmodel.checks.check import from_dataset
from ppl_worldmodel.checks.distances import Distances, distances
from ppl_worldmodel.reports.figures.data import data_figure
from ppl_worldmodel.reports.figures.distances import line, worst_series
from ppl_worldmodel.reports.figures.panels import Panel, panels, state_at
from ppl_worldmodel.reports.names import located, place, state_labels
from ppl_worldmodel.reports.report import as_html

from .. import several, trees


def chosen(run: xr.DataTree, kind: str = "smoothed", engine: str = "gibbs") -> tuple[list[Panel], str]:
    here, there = (run[f"engines/{name}/beliefs"].to_dataset() for name in (engine, "exact"))
    return panels(kind, here, there, distances(kind, run[f"engines/{engine}"], run["engines/exact"]))


def drawn(run: xr.DataTree, panel: Panel, kind: str = "smoothed") -> np.ndarray:
    return panel.values(run["engines/exact/beliefs"].to_dataset(), kind)


def test_the_worst_series_come_first_and_are_named() -> None:
    run = several.finite_series()
    shown, told = chosen(run)
    assert len(shown) == 3
    assert shown[0].series == several.WORST
    assert shown[0].title == f"series {several.WORST}"
    assert [panel.label for panel in shown] == ["p(s = 1)"] * 3
    assert told.startswith(f" Shown: series {several.WORST}, ")
    assert told.endswith(" of 12, those with the largest differences.")
    truth = run["engines/exact/beliefs/smoothed"].values
    np.testing.assert_array_equal(drawn(run, shown[0]), truth[several.WORST, :, 1])


def test_all_series_are_shown_in_their_order_where_they_fit() -> None:
    shown, told = chosen(several.finite_series(3))
    assert [panel.series for panel in shown] == [0, 1, 2]
    assert told == ""


def test_without_a_check_the_first_series_are_shown() -> None:
    beliefs = several.finite_series()["engines/gibbs/beliefs"].to_dataset()
    shown, told = panels("smoothed", beliefs, None, None)
    assert [panel.series for panel in shown] == [0, 1, 2]
    assert told == " Shown: series 0, 1 and 2 of 12."


def test_labels_of_the_series_are_used() -> None:
    run = several.finite_series()
    cities = [f"city {i}" for i in range(12)]
    for engine in ("exact", "gibbs"):
        beliefs = run[f"engines/{engine}/beliefs"]
        beliefs.dataset = beliefs.to_dataset().assign_coords(sequence=cities)
    shown, told = chosen(run)
    assert shown[0].title == "series city 7"
    assert "Shown: series city 7, city" in told


def test_of_several_parts_the_marginals_are_drawn_and_the_joint_states_named() -> None:
    run = several.product()
    shown, told = chosen(run)
    assert [panel.label for panel in shown] == [
        "p(weather = 0)", "p(weather = 1)", "p(weather = 2)", "p(market = 1)",
    ]  # fmt: skip
    assert "the 6 joint states are not shown" in told
    grid = run["engines/exact/beliefs/smoothed"].values.reshape(-1, 3, 2)
    np.testing.assert_allclose(drawn(run, shown[1]), grid[:, 1].sum(axis=-1), rtol=1e-12)
    np.testing.assert_allclose(drawn(run, shown[3]), grid[:, :, 1].sum(axis=-1), rtol=1e-12)
    page = as_html(run)
    assert "p(market = 1)" in page
    assert "most of it in the state weather = " in page


def test_joint_states_are_drawn_as_well_where_they_are_few() -> None:
    run = several.product()
    few = {"factors": '["a", "b"]', "labels": "[[0, 0], [0, 1], [1, 0], [1, 1]]"}
    beliefs = run["engines/exact/beliefs"].to_dataset().isel(state=slice(4)).assign_attrs(few)
    shown, _ = panels("smoothed", beliefs, None, None)
    assert [panel.label for panel in shown[:3]] == ["p(a = 1)", "p(b = 1)", "p(a = 0, b = 0)"]
    assert len(shown) == 6
    assert state_labels(beliefs, "state")[3] == "a = 1, b = 1"


def test_labels_of_the_model_file_win() -> None:
    beliefs = several.product()["engines/exact/beliefs"].to_dataset()
    named = beliefs.assign_coords(state=[f"regime {i}" for i in range(6)])
    shown, _ = panels("smoothed", named, None, None)
    assert [panel.label for panel in shown] == [f"regime {i}" for i in range(6)]


def test_series_and_parts_share_three_panels() -> None:
    run = several.product_series()
    shown, told = chosen(run)
    assert len(shown) == 3
    assert len({panel.series for panel in shown}) == 1
    assert [bool(panel.title) for panel in shown] == [True, False, False]
    assert "of 4, the one with the largest difference." in told
    assert "Of 4 curves the 3 with the largest differences are shown." in told


def test_curves_that_differ_most_are_kept() -> None:
    run = trees.finite_known(num_states=5)
    here, there = (run[f"engines/{name}/beliefs"].to_dataset().drop_vars("state") for name in ("gibbs", "exact"))
    here = here.isel(state=[0, 1, 2, 3, 4] * 2)
    there = there.isel(state=[0, 1, 2, 3, 4] * 2)
    here["smoothed"][:, 9] = here["smoothed"][:, 9] + 0.1
    shown, told = panels("smoothed", here, there, distances("smoothed", run["engines/gibbs"], run["engines/exact"]))
    assert len(shown) == 8
    assert shown[-1].label == "state 9"
    assert told == " Of 10 curves the 8 with the largest differences are shown."


@pytest.mark.parametrize("dims", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_undetermined_belief_is_left_out(dims: int) -> None:
    run = several.gaussian_series(dims=dims)
    found = distances("filtered", run["engines/nuts"], run["engines/exact"])
    assert found is not None
    assert found.distance.size == 5 * trees.STEPS - 2
    page = as_html(run)
    assert f"(of the {5 * trees.STEPS - 2} steps that both answer)" in page
    beliefs = run["engines/exact/beliefs"].to_dataset()
    np.testing.assert_array_equal(
        Panel("x", np.eye(dims)[0], 2).variances(beliefs, "smoothed_covariance"), np.ones(trees.STEPS)
    )


def test_a_coordinate_that_is_known_is_drawn_beside_one_that_is_not() -> None:
    beliefs = several.gaussian_series(dims=2)["engines/exact/beliefs"].to_dataset()
    beliefs["filtered"][0, :2, 0] = 3.0
    values = Panel("x", np.array([1.0, 0.0]), 0).values(beliefs, "filtered")
    assert np.isfinite(values).all()


def test_errors_of_a_marginal_are_no_smaller_than_those_of_its_states() -> None:
    run = several.product()
    beliefs = run["engines/gibbs/beliefs"].to_dataset()
    shown, _ = chosen(run)
    assert (shown[0].values(beliefs, "smoothed_mcse") >= 0.004).all()


def test_the_place_is_told_with_its_series() -> None:
    years = 1900 + np.arange(20)
    assert place("series 2, t = 17", None) == "series 2, t = 17"
    assert place("series 2, t = 17", years) == "series 2, 1917 (t = 17)"
    assert located("series 2, t = 17", years) == "in series 2 at 1917 (t = 17)"
    assert located("series a, b, t = 3", None) == "in series a, b at t = 3"
    assert located("t = 3", None) == "at t = 3"
    assert located("T[0, 1]", None) == "at T[0, 1]"
    page = as_html(several.finite_series())
    assert f"series {several.WORST}, t = {several.AT}" in page
    assert f"in series {several.WORST} at t = {several.AT}" in page
    assert "At each time step the largest of 12 series." in page


def test_the_line_of_distances_is_the_largest_of_all_series() -> None:
    distance = np.array([[0.1, 0.4, 0.2], [0.3, 0.1, 0.25]])
    step = np.tile([2, 5, 6], 2)
    found = Distances(
        step, distance.ravel(), 0.01 * distance.ravel(), "", 0.0, 1.0, series=np.repeat([0, 1], 3), names=("0", "1")
    )
    drawn = line(found)
    assert drawn.step.tolist() == [2, 5, 6]
    assert drawn.distance.tolist() == [0.3, 0.4, 0.25]
    np.testing.assert_allclose(drawn.upper, drawn.distance * (drawn.upper[0] / 0.3))
    assert found.worst == "series 0, t = 5"
    assert found.worst_series == [0, 1]


def test_data_of_the_worst_series_come_first() -> None:
    run = several.finite_series()
    findings = from_dataset(run["checks"].to_dataset())
    first = worst_series(findings, dict(run["engines"].children))
    assert first[0] == several.WORST
    assert sorted(first) == list(range(12))
    observed = run["engines/exact/observed_data"].to_dataset()
    picture = data_figure(observed, "y", first)
    assert picture is not None
    assert picture.caption.startswith("y: 20 time steps of each of 12 series, 1 missing")
    assert picture.caption.endswith("5 of the 12 series are shown, those whose beliefs differ most first.")
    assert picture.html.index(f"series {several.WORST}") < picture.html.index(f"series {first[1]}")
    assert f"series {first[5]}<" not in picture.html


def test_one_series_has_no_worst_series() -> None:
    assert worst_series(from_dataset(trees.finite_known()["checks"].to_dataset()), {}) == []


def test_the_state_of_the_largest_distance_is_the_one() -> None:
    run = several.product_series()
    here, there = (run[f"engines/{name}/beliefs"].to_dataset() for name in ("gibbs", "exact"))
    here["smoothed"][2, 4, 5] = here["smoothed"][2, 4, 5] + 0.5
    run["engines/gibbs/beliefs"].dataset = here
    found = distances("smoothed", run["engines/gibbs"], run["engines/exact"])
    assert found is not None
    assert found.worst == "series 2, t = 4"
    assert state_at("smoothed", here, there, found) == ", most of it in the state weather = 2, market = 1"
