"""Comparison page: which model is ahead, by how much, and what each of them learned. From the tree alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ppl_worldmodel.checks.check import from_dataset
from ppl_worldmodel.checks.table import Findings
from ppl_worldmodel.checks.verdict import DRAWS, FAILED
from ppl_worldmodel.comparisons.belief_or_window import belief_or_window
from ppl_worldmodel.comparisons.ranking import Row, ahead
from ppl_worldmodel.comparisons.table import LOO_WARNING
from ppl_worldmodel.files.writing import write_whole
from ppl_worldmodel.reports import comparison_learned
from ppl_worldmodel.reports.figures.comparison import over_time, standing
from ppl_worldmodel.reports.figures.data import data_figure
from ppl_worldmodel.reports.figures.responses import responses
from ppl_worldmodel.reports.figures.styles import looks
from ppl_worldmodel.reports.names import group, joined, text, unpacked
from ppl_worldmodel.reports.numbers import Number, shown
from ppl_worldmodel.reports.provenance import provenance
from ppl_worldmodel.reports.templates import css, template

TELLING = 0.01  # a p-value of the sufficiency test below which the belief is said to lack something


class Scored(NamedTuple):
    """A model in the table of scores."""

    model: str
    state: bool
    parameters: str
    evidence: Number
    evidence_error: Number
    method: str
    lfo: Number
    lfo_error: Number
    behind: Number
    behind_error: Number
    weight: Number


class Tested(NamedTuple):
    """The result of a model's test of sufficiency."""

    model: str
    p: Number
    gain: Number
    says: str


class Numbers(NamedTuple):
    """A model and some numbers."""

    model: str
    numbers: list[Number]


class How(NamedTuple):
    """How the answers about a model were computed."""

    model: str
    engine: str
    draws: str
    seconds: Number
    refits: int
    trust: str


def comparison_report(tree: xr.DataTree, path: str | Path) -> Path:
    """Write the page of a comparison to the file `path`, and return its path. The file is complete or not there."""
    path = Path(path)
    page = page_of(tree)
    write_whole(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    return path


def page_of(tree: xr.DataTree) -> str:
    """The page of a comparison as text."""
    said, scores, pointwise = tree.attrs, tree["scores"].to_dataset(), tree["pointwise"].to_dataset()
    rows, findings = Row.all_of(tree), _findings(tree)
    models = {row.model: tree["models"].children[row.model] for row in rows if row.state}
    unsure = [row.candidate for row in findings if row.about in (*DRAWS, *FAILED) and row.verdict != "agrees"]
    winner, free = "" if unsure else ahead(said), comparison_learned.without_names(tree)
    return template("comparison.html").render(
        title=joined(list(models)),
        ahead=winner,
        headline=_unsure(unsure) if unsure else headline(said),
        by_evidence=signed(said["by_evidence"]),
        by_prediction=signed(said["by_prediction"]),
        to_tell=_to_tell(unpacked(said, "to_tell")),
        warnings=_warnings(findings),
        steps=int(said["steps"]),
        first=int(said["first"]),
        horizon=int(said["horizon"]),
        fast=bool(int(said.get("fast", 0))),
        data_from=text(said, "data_from"),
        rows=[_scored(row) for row in rows],
        standing=standing(scores),
        over_time=over_time(pointwise),
        data=_data(models),
        window=signed(belief_or_window(tree)),
        no_windows=text(said, "no_windows"),
        tests=[_tested(row, str(scores["worst"].sel(model=row.model).item())) for row in rows if row.state],
        learned=comparison_learned.learned(tree, models, findings),
        responses=responses({name: free.get(name, xr.Dataset()) for name in models}),
        criteria=[
            Numbers(
                row.model, [shown(each, ".1f") for each in (row.aic, row.bic, row.dic, row.loo)] + [shown(row.loo_bad)]
            )
            for row in rows
            if np.isfinite(row.aic)
        ],
        loo_warning=LOO_WARNING,
        how=[_how(name, result, int(scores["refits"].sel(model=name)), findings) for name, result in models.items()],
        look=looks(models),
        provenance=provenance(said),
        css=css(),
    )


def headline(said: Mapping[Any, Any]) -> str:
    """One sentence: which model is ahead."""
    winner = ahead(said)
    evidence, prediction = text(said, "ahead_by_evidence"), text(said, "ahead_by_prediction")
    if winner and evidence == prediction:
        return f"{winner} is ahead, by evidence and by prediction."
    if winner:
        decided, open_ = ("evidence", "prediction") if evidence else ("prediction", "evidence")
        return f"{winner} is ahead by {decided}; by {open_} one cannot tell."
    if evidence and prediction:
        return f"Evidence puts {evidence} ahead, prediction {prediction}: look at the prior, which matters more for the evidence."
    return "One cannot tell which model is ahead, neither by evidence nor by prediction."


def signed(sentence: str) -> str:
    """With the sign that the terminal spells +-."""
    return sentence.replace("+-", "\N{PLUS-MINUS SIGN}")


def _findings(tree: xr.DataTree) -> Findings:
    table = group(tree, "checks")
    return from_dataset(table) if table is not None and "row" in table.sizes else Findings(())


def _unsure(models: list[str]) -> str:
    names = list(dict.fromkeys(models))
    return f"One cannot tell: the draws of {joined(names)} cannot be trusted, or something failed."


def _warnings(findings: Findings) -> list[str]:
    return [
        f"{finding.candidate}: {finding.why}."
        + ("" if finding.about in FAILED else " Scores of draws that cannot be trusted cannot be trusted either.")
        for finding in findings
        if finding.verdict != "agrees"
    ]


def _to_tell(said: Mapping[str, Any]) -> str:
    if not said:
        return ""
    one, other = said["models"]
    if "unknown" in said:
        return f"How long a series must be to tell {one} from {other} is not known: {said['unknown']}."
    if not said["tells"]:
        return (
            f"If {one} is right as fitted, no series as short as {said['simulated']:,} steps can be expected to tell it from "
            f"{other}, as fitted."
        )
    seen = ""
    if said.get("scored"):  # missing in results of earlier versions
        seen = (
            f"; in these data it gained {said['gained']:.3g} nats in {said['scored']:,} predicted steps, "
            f"{said['gained'] / said['scored']:.2g} a step"
        )
    return (
        f"If {one} is right as fitted, a series of about {said['steps']:,.0f} steps can be expected to tell it from {other}, as "
        f"fitted: it gains {said['nats']:.3g} nats a step in series that are simulated from it, whose first state is drawn "
        f"from its prior{seen}."
    )


def _scored(row: Row) -> Scored:
    digits = ".3f" if row.evidence_error < 0.01 else ".2f"
    return Scored(
        row.model, row.state, str(row.parameters) if row.state else "", shown(row.evidence, digits),
        shown(row.evidence_error, ".2g"), row.method, shown(row.lfo, ".1f"), shown(row.lfo_error, ".1f"), shown(row.behind, ".1f"),
        shown(row.behind_error, ".1f"), shown(row.weight, ".2f"),
    )  # fmt: skip


def _tested(row: Row, worst: str) -> Tested:
    if not np.isfinite(row.sufficient):
        says = worst
    elif row.sufficient < TELLING:
        says = f"the belief lacks something: the past improves the prediction, first of all {worst}"
    else:
        says = "nothing of the past was found that improves the prediction"
    return Tested(row.model, shown(row.sufficient, ".2g"), shown(row.gain), says)


def _data(models: Mapping[str, xr.DataTree]) -> list[Any]:
    observed = group(next(iter(models.values())), "observed_data")
    if observed is None:
        return []
    drawn = [data_figure(observed, str(name)) for name in observed.data_vars]
    return [picture for picture in drawn if picture is not None]


def _how(name: str, result: xr.DataTree, refits: int, findings: Findings) -> How:
    own = [finding for finding in findings if finding.candidate == name]
    posterior = group(result, "posterior")
    sizes = {} if posterior is None or not posterior.data_vars else posterior.sizes
    draws = f"{sizes['chain']} chains of {sizes['draw']:,}" if "draw" in sizes and own else ""
    bad = [finding.why for finding in own if finding.verdict != "agrees"]
    trust = "; ".join(bad) if bad else "yes: " + own[0].why if own else "nothing was learned"
    return How(
        name, text(result.attrs, "algorithm", text(result.attrs, "engine")), draws,
        shown(float(result.attrs.get("seconds", np.nan))), refits, trust,
    )  # fmt: skip
