"""Does the page say what the tree says?  Runs made by hand, drawn, and read back as HTML."""

import os
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from ppl_worldmodel.checks.check import from_dataset
from ppl_worldmodel.checks.distances import distances
from ppl_worldmodel.checks.verdict import Finding
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.reports.report import as_html, report
from ppl_worldmodel.reports.sentence import sentence

from . import several, trees

RUNS = {
    "finite, known": trees.finite_known,
    "five states": lambda: trees.finite_known(num_states=5),
    "finite, learned": trees.finite_learned,
    "Gaussian, known": trees.gaussian_known,
    "three dimensions": lambda: trees.gaussian_known(dims=3),
    "several series": several.finite_series,
    "several Gaussian series": several.gaussian_series,
    "a state of several parts": several.product,
}


class Page(HTMLParser):
    """Tags with their attributes, the text, and the cells of tables by their section."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.values: dict[str, list[float]] = {}
        self.section = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag == "section":
            self.section = str(found["id"])
        if tag == "data":
            self.values.setdefault(self.section, []).append(float(str(found["value"])))

    def handle_data(self, data: str) -> None:
        self.text += data


@cache
def made(name: str) -> tuple[xr.DataTree, str]:
    """A run and its page, drawn once."""
    run = RUNS[name]()
    return run, as_html(run)


SLOW = {"several Gaussian series"}


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in RUNS])
def drawn(request: pytest.FixtureRequest) -> tuple[xr.DataTree, str]:
    return made(request.param)


def findings_of(run: xr.DataTree):
    return from_dataset(run["checks"].to_dataset())


@pytest.mark.slow
def test_the_sentence_counts_the_findings(drawn: tuple[xr.DataTree, str]) -> None:
    run, page = drawn
    findings = findings_of(run)
    wrong = sum(finding.verdict == "disagrees" for finding in findings)
    undecided = sum(finding.verdict == "undecided" for finding in findings)
    told = re.search(r'<span class="sentence">(.*?)</span>', page, re.DOTALL)
    assert told
    if wrong:
        assert told[1].startswith(f"{wrong} of {len(findings)} checks disagree")
    if undecided:
        assert re.search(rf"\b{undecided} (more|of {len(findings)} checks) (is|are) undecided", told[1])
    if not wrong and not undecided:
        assert told[1].startswith(f"All {len(findings)} checks agree")


def test_numbers_in_the_table_of_findings_are_those_of_the_tree(drawn: tuple[xr.DataTree, str]) -> None:
    run, page = drawn
    expected = [
        [f.z, f.p, f.distance, f.ess if f.about == "chains" else f.upper, f.tolerance] for f in findings_of(run)
    ]
    np.testing.assert_array_equal(np.reshape(Page(page).values["findings"], (-1, 5)), expected)


def test_the_page_loads_nothing_and_runs_nothing(drawn: tuple[xr.DataTree, str]) -> None:
    _, page = drawn
    read = Page(page)
    for tag, attributes in read.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "form", "base"), tag
        for name, value in attributes.items():
            assert not name.startswith("on"), name
            if name in ("src", "href", "xlink:href", "srcset", "action", "data"):
                assert str(value).startswith(("#", "data:image/")), value
    assert not re.search(r"url\(\s*['\"]?(?!#)", page)
    assert "@import" not in page
    policy = [
        a["content"] for tag, a in read.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy
    assert str(policy[0]).startswith("default-src 'none'")


def test_what_the_model_says_is_text(drawn: tuple[xr.DataTree, str]) -> None:
    run, page = drawn
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;/pre&gt;&lt;script&gt;alert(2)" in page
    if "state" in run["engines/exact/beliefs"].coords:
        assert "<b>" not in page


def test_every_figure_has_a_text_and_every_header_a_scope(drawn: tuple[xr.DataTree, str]) -> None:
    _, page = drawn
    tags = Page(page).tags
    pictures = [attributes for tag, attributes in tags if tag in ("svg", "img")]
    assert pictures
    assert all(attributes.get("alt") or attributes.get("aria-label") for attributes in pictures)
    assert all(attributes.get("scope") for tag, attributes in tags if tag == "th")
    names = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(names) == len(set(names))


def test_figures_are_closed_and_settings_left_alone() -> None:
    before = dict(plt.rcParams)
    as_html(trees.finite_learned())
    assert plt.get_fignums() == []
    assert dict(plt.rcParams) == before


@pytest.mark.parametrize("kind", trees.KINDS)
def test_distances_drawn_are_those_of_the_findings(drawn: tuple[xr.DataTree, str], kind: str) -> None:
    run, _ = drawn
    for finding in findings_of(run):
        if finding.quantity.startswith(f"{kind} beliefs"):
            found = distances(kind, run[f"engines/{finding.candidate}"], run[f"engines/{finding.reference}"])
            assert found is not None
            assert found.distance.max() == pytest.approx(finding.distance, rel=1e-12)
            assert found.upper.max() == pytest.approx(finding.upper, rel=1e-12)
            assert found.distance.size == finding.n
            step, series = f"t = {found.step[found.distance.argmax()]}", found.series
            number = "" if series is None else f"series {series[found.distance.argmax()]}, "
            assert finding.worst == number + step


def test_parameters_stand_as_they_were_drawn() -> None:
    run, page = made("finite, learned")
    values = np.array(Page(page).values["parameters"])
    draws = run["engines/nuts/posterior/rate"].values
    for expected in (draws.mean(), draws.std(ddof=1), *np.quantile(draws, [0.05, 0.95]), 3.0):
        assert expected in values


def test_the_sentence_names_the_engine_the_size_and_the_place() -> None:
    run, _ = made("finite, learned")
    told = sentence(findings_of(run))
    assert "mean-field SVI's filtered beliefs are off by 0.1 in total variation at t = " in told
    assert "everything else agrees" in told
    assert "NUTS's chains have not converged" in sentence(findings_of(trees.finite_learned(rhat_is_bad=True)))


def finding(verdict: str, candidate: str = "svi", quantity: str = "smoothed beliefs") -> Finding:
    return Finding(
        candidate=candidate, reference="exact", quantity=quantity, n=9, worst="t = 4", distance=0.4, upper=0.5, tolerance=0.25,
        about="beliefs" if "beliefs" in quantity else "evidence", unit="standard deviations", verdict=verdict, why="",  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("verdicts", "told"),
    [
        ([], "Nothing was checked: one answer alone has nothing to be compared with; ask a second engine, too."),
        (["agrees"], "The only check agrees: beliefs differ by at most 0.4 sd (allowing for Monte Carlo error, 0.5)."),
        (["undecided"], "The only check is undecided: mean-field SVI's smoothed beliefs."),
        (
            ["undecided", "agrees"],
            "1 of 2 checks is undecided: mean-field SVI's smoothed beliefs; everything else agrees.",
        ),
        (
            ["disagrees", "disagrees", "undecided", "undecided", "agrees"],
            "2 of 5 checks disagree: mean-field SVI's smoothed beliefs are off by 0.4 sd at 1904 (t = 4), its smoothed beliefs are "
            "off by 0.4 sd at 1904 (t = 4); 2 more are undecided: mean-field SVI's smoothed and smoothed beliefs; "
            "everything else agrees.",
        ),
    ],
)
def test_the_sentence_word_for_word(verdicts: list[str], told: str) -> None:
    assert sentence(tuple(finding(verdict) for verdict in verdicts), 1900 + np.arange(9)) == told


def test_a_time_step_has_its_label() -> None:
    run, page = made("Gaussian, known")
    (found,) = [f for f in findings_of(run) if f.quantity == "smoothed beliefs"]
    step = int(found.worst.removeprefix("t = "))
    assert f"{1900 + step} (t = {step})" in page


def test_two_runs_of_a_page_are_the_same() -> None:
    run, page = made("finite, learned")
    assert as_html(run) == page


@pytest.mark.slow
def test_results_alone_are_a_report_too(tmp_path: Path) -> None:
    run = trees.gaussian_known()
    results = {"exact": run["engines/exact"], "my run": run["engines/svi_full_rank"]}
    page = report(results, tmp_path / "report.html").read_text()
    assert "my run" in page
    assert 'scope="row"' in page
    assert "smoothed beliefs" in page
    assert "Drawn for the eye" not in page
    alone = report(trees.finite_learned()["engines/nuts"], tmp_path / "one.html").read_text()
    assert "The only check agrees" in alone


def test_attributes_may_be_missing() -> None:
    run = trees.finite_known()
    run.attrs = {}
    del run["checks"]
    for engine in run["engines"].children.values():
        for group in ("observed_data", "constant_data", "posterior"):
            del engine[group]
        engine.attrs = {}
    assert "Nothing was checked" in as_html(run)


@pytest.mark.slow
def test_chains_that_never_met_and_draws_that_are_no_numbers_are_drawn() -> None:
    stuck = trees.finite_learned(rhat_is_bad=True)
    assert "have not converged" in as_html(stuck)
    lost = trees.finite_learned()
    draws = lost["engines/nuts/posterior"].to_dataset()
    draws["rate"][0, 0] = np.nan
    lost["engines/nuts/posterior"].dataset = draws
    assert "Learned parameters" in as_html(lost)


def test_a_long_series_makes_no_huge_page() -> None:
    assert len(as_html(trees.gaussian_known(steps=20_000))) < 2_000_000


def test_a_failure_leaves_the_old_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    broken = trees.finite_known()
    broken.attrs["truth"] = "{not JSON"
    with pytest.raises(ValueError, match="Expecting"):
        report(broken, path)

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("ppl_worldmodel.files.writing.os.replace", full)
    with pytest.raises(OSError, match="no space left"):
        report(trees.finite_known(), path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.html"]


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither a run"):
        report(xr.DataTree(), tmp_path / "report.html")
    with pytest.raises(DataError, match="nothing to report"):
        report({}, tmp_path / "report.html")
    assert not list(tmp_path.iterdir())
