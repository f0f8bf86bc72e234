"""Do the maps and the sections on learning show the numbers that they stand for?"""

import re

import numpy as np
import pytest
import xarray as xr

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.identifiability.recovery import recovery
from ppl_worldmodel.reports.figures import recovery as recovery_figure
from ppl_worldmodel.reports.figures.embedding import Picture
from ppl_worldmodel.reports.figures.recovery import heat_map, map_labels
from ppl_worldmodel.reports.figures.styles import looks
from ppl_worldmodel.reports.names import MINUS
from ppl_worldmodel.reports.report import as_html
from ppl_worldmodel.reports.sections.recovery import recovered

from .. import trees
from ..test_report import Page

DASH = "\N{EN DASH}"


def texts(picture: Picture) -> list[str]:
    """Everything that is written in a figure, in its order."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", str(picture.html))


def draws_around(mean: np.ndarray, spread: float = 0.02) -> np.ndarray:
    """Draws whose means are exact to their last digit: pairs on either side."""
    half = spread * np.random.default_rng(0).normal(size=(2, 200, *mean.shape))
    return mean + np.concatenate([half, -half])


def test_two_rows_in_three_panels() -> None:
    truth, mean = np.array([[0.9, 0.1], [0.3, 0.7]]), np.array([[0.91, 0.09], [0.5, 0.5]])
    draws = draws_around(mean)
    written = texts(heat_map("T", draws, truth))
    assert written.count("0.90") == 1
    assert {"true", "learned", f"learned {MINUS} true", "+0.01", f"{MINUS}0.01", "+0.20", f"{MINUS}0.20"} <= set(
        written
    )
    low, high = np.quantile(draws, [0.05, 0.95], axis=(0, 1))
    for index in np.ndindex(2, 2):
        assert f"{low[index]:.2f}{DASH}{high[index]:.2f}" in written
    assert written.count("outside") == 2  # the second row, and only that


def test_without_a_truth_there_is_one_panel() -> None:
    picture = heat_map("T", draws_around(np.array([[0.9, 0.1], [0.3, 0.7]])), labels=(["calm", "wild"], ["a", "b"]))
    written = texts(picture)
    assert "true" not in written
    assert {"calm", "wild", "a", "b", "learned"} <= set(written)
    assert "outside" not in written
    assert picture.caption.startswith("T: posterior means; rows: the first index")


def test_rows_and_columns_have_the_labels_of_the_model_file() -> None:
    dims = ("chain", "draw", "action", "state", "O_dim_2")
    values = xr.DataArray(np.zeros((1, 1, 2, 3, 2)), dims=dims, coords={"state": ["calm", "in between", "wild"]})
    assert map_labels(values) == (["calm", "in between", "wild"], ["0", "1"])
    assert map_labels(values[:, :, 0, :, 0])[1] == ["calm", "in between", "wild"]  # a vector is one row


def test_rows_are_named_once_and_long_names_of_columns_take_more_lines() -> None:
    names = ["calm", "between calm and wild", "restless"]
    written = texts(heat_map("T", draws_around(np.full((3, 3), 1 / 3)), np.full((3, 3), 1 / 3), (names, names)))
    assert written.count("between calm and wild") == 1  # beside the first panel
    assert written.count("restless") == 1 + 3  # a word is not broken


@pytest.mark.parametrize(
    ("shape", "panels"), [((3,), 3), ((5, 5), 3), ((2, 2, 2), 6), ((6, 2, 2), 12), ((1, 1), 3), ((2, 20), 3)]
)
def test_every_shape_has_its_panels(shape: tuple[int, ...], panels: int) -> None:
    truth = np.random.default_rng(1).dirichlet(np.ones(shape[-1]), shape[:-1])
    picture = heat_map("O", draws_around(truth), truth)
    written = texts(picture)
    assert sum(text.startswith(("true", "learned")) for text in written) == panels
    assert ("The first 4 of 6 actions are shown." in picture.caption) == (shape[0] == 6)
    assert any("action 1" in text for text in written) == (len(shape) == 3)
    numbered = any(DASH in text for text in written)
    assert numbered == (shape[-1] <= recovery_figure.NUMBERED)
    if not numbered:
        assert f"from {truth.min():.2f}" in picture.caption


def test_the_colours_of_differences_are_even_around_zero() -> None:
    mean, true = np.array([[[0.2, 0.5]]]), np.array([[[0.5, 0.2]]])
    values, differences = recovery_figure._scales(mean, true, 0.1)
    assert (values.vmin, values.vmax) == (0.0, 1.0)
    assert differences.vmin == -differences.vmax == pytest.approx(-0.3)
    # A difference that is small beside the interval is pale.
    assert recovery_figure._scales(mean, mean + 1e-6, 0.1)[1].vmax == 0.1
    assert recovery_figure._scales(100.0 * mean, None, 0.1)[0].vmax == 50.0


def test_numbers_as_they_are_written() -> None:
    shown = [recovery_figure._short(value) for value in (0.0, -0.001, 0.996, -0.25, 123.4, -12345.6)]
    assert shown == ["0.00", "0.00", "1.00", f"{MINUS}0.25", "123", f"{MINUS}12,346"]
    assert [recovery_figure._signed(value) for value in (0.001, 0.2, -0.2)] == ["0.00", "+0.20", f"{MINUS}0.20"]


def test_what_is_no_map_is_refused() -> None:
    for shape in ((), (2, 2, 2, 2)):
        with pytest.raises(DataError, match="a map has rows and columns"):
            heat_map("x", np.zeros((2, 3, *shape)))
    with pytest.raises(DataError, match=r"truth of 'T' has shape \(2,\)"):
        heat_map("T", np.zeros((2, 3, 2, 2)), np.zeros(2))


def identified() -> xr.Dataset:
    """As `learnable` returns it, made by hand."""
    entries = ["T[0, 0]", "T[0, 1]", "rate"]
    numbers = {
        "value": [0.9, 0.1, 3.0], "prior_sd": [0.2, 0.2, np.inf], "data_sd": [0.05, 0.05, np.inf], "ratio": [0.25, 0.25, 9.0],
        "posterior_sd": [0.04, 0.04, 0.5], "overlap": [0.1, 0.1, 0.95],
        "prior_felt": [0.01, 0.02, 0.3], "data_felt": [0.2, 0.1, 0.01],
    }  # fmt: skip
    return xr.Dataset(
        {name: ("entry", np.array(values)) for name, values in numbers.items()}
        | {
            "verdict": ("entry", np.array(["learned", "learned", "not at all"])),
            "fact": ("row", np.array(["rank of T", "spectral gap"])),
            "amount": ("row", np.array([1.0, 0.3])),
            "needed": ("row", np.array([2.0, np.nan])),
            "says": ("row", np.array(["of <2> rows", "forgotten soon"])),
        },
        {"entry": entries},
        {
            "at": "the posterior mean", "verdict": "not identified", "why": "there is no slope", "engine": "nuts",
            "least_known": "rate up: the data do not say anything about this",
        },
    )  # fmt: skip


@pytest.mark.slow
def test_the_section_on_what_can_be_learned() -> None:
    run = trees.finite_known()
    assert 'id="learnable"' not in as_html(run)  # a run of before
    found = identified()
    run["identifiability"] = xr.DataTree(found)
    page = as_html(run)
    read = Page(page)
    assert "At the posterior mean the parameters are not identified: there is no slope." in page
    assert "Known least: rate up: the data do not say anything about this." in page
    assert "of &lt;2&gt; rows <strong>(too few)</strong>" in page
    assert page.count("(too few)") == 1
    names = ("value", "prior_sd", "data_sd", "ratio", "posterior_sd", "overlap", "prior_felt", "data_felt")
    expected = np.stack([found[name].values for name in names], axis=1)
    np.testing.assert_array_equal(read.values["learnable"], [1.0, 0.3, *expected.ravel()])
    assert "\N{INFINITY}" in page
    run["identifiability"] = xr.DataTree(xr.Dataset(attrs={"left_out": "the likelihood has no slope"}))
    assert "Nothing can be said here: the likelihood has no slope." in as_html(run)


@pytest.mark.slow
def test_the_section_on_the_truth() -> None:
    run = trees.finite_learned()
    page = as_html(run)
    truth = {"T": np.array([[0.9, 0.1], [0.2, 0.8]]), "rate": np.array(3.0)}
    found = recovery(run["engines/nuts"], truth)
    assert "What NUTS learned." in page
    assert f"{found.attrs['covered']} of {found.attrs['of']} true values lie in their central 90 % intervals" in page
    expected = np.stack([found["error"].values, found["spread"].values], axis=1)
    np.testing.assert_array_equal(np.reshape(Page(page).values["recovery"], (-1, 2)), expected)
    assert "T: true values, posterior means and their difference" in page
    assert recovered({"nuts": run["engines/nuts"]}, {}, looks(["nuts"])) is None
    assert recovered({"exact": run["engines/exact"]}, truth, looks(["exact"])) is None
