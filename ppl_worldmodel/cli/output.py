"""Results of commands on standard output, as tables or as JSON, and the exit statuses that they mean."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ppl_worldmodel.checks.check import from_dataset
from ppl_worldmodel.checks.failed import by_fault
from ppl_worldmodel.checks.table import as_table
from ppl_worldmodel.checks.verdict import Finding, disagreement
from ppl_worldmodel.comparisons.diagnostics import doubts
from ppl_worldmodel.comparisons.ranking import Row, ahead
from ppl_worldmodel.comparisons.table import as_text
from ppl_worldmodel.errors import FAULT
from ppl_worldmodel.terminal import out, print_result


def show_study(tree: xr.DataTree, *, json_too: bool, files: Mapping[str, str]) -> int:
    """Print what a study found, and where its files are; returns the exit status."""
    findings = from_dataset(tree["checks"].to_dataset())
    if json_too:
        rows = [{key: json_value(value) for key, value in finding._asdict().items()} for finding in findings]
        said = {"model": tree.attrs.get("name"), "mode": tree.attrs.get("mode"), "checks": rows, **files}
        print_result(json.dumps(said | {"seconds": round(float(tree.attrs.get("seconds", 0.0)), 1)}, indent=2))
    else:
        where = "\n".join(f"{what:<7} {path}" for what, path in files.items())
        out.print(as_table(findings, width=out.width))
        out.print(f"\n{summary(findings)}\n{where}", markup=False, soft_wrap=True)
    return status_of_findings(findings)


def show_comparison(tree: xr.DataTree, *, json_too: bool, files: Mapping[str, str]) -> int:
    """Print a comparison, and where its files are; returns the exit status."""
    if json_too:
        rows = [{key: json_value(value) for key, value in row._asdict().items()} for row in Row.all_of(tree)]
        said = {key: tree.attrs[key] for key in ("by_evidence", "by_prediction")}
        said["doubts"] = doubts(tree["checks"].to_dataset())
        print_result(json.dumps({"ahead": ahead(tree.attrs) or None, **said, "models": rows, **files}, indent=2))
        return status_of_comparison(tree)
    for line in doubts(tree["checks"].to_dataset()):
        out.print(f"NOT TO BE TRUSTED  {line}", markup=False, soft_wrap=True)
    out.print(as_text(tree, width=out.width), markup=False, soft_wrap=True)
    out.print("\n" + "\n".join(f"{what}  {where}" for what, where in files.items()), markup=False, soft_wrap=True)
    return status_of_comparison(tree)


def status_of_findings(findings: tuple[Finding, ...]) -> int:
    """The exit status: 0 all agree, 1 not all do or no engine was compared with anything, 70 something failed by a fault."""
    if any(map(by_fault, findings)):
        return FAULT
    engines = [row for row in findings if row.candidate != "data"]
    return 1 if disagreement(findings) or not engines else 0


def status_of_comparison(tree: xr.DataTree) -> int:
    """The exit status: 0 one model is ahead, 1 one cannot tell or draws have not converged, 70 something failed by a fault."""
    findings = from_dataset(tree["checks"].to_dataset()) if "row" in tree["checks"].sizes else ()
    if any(map(by_fault, findings)):
        return FAULT
    return 0 if ahead(tree.attrs) and not doubts(tree["checks"].to_dataset()) else 1


def summary(findings: tuple) -> str:
    counts = {
        verdict: sum(row.verdict == verdict for row in findings) for verdict in ("agrees", "disagrees", "undecided")
    }
    return f"{len(findings)} checks: {counts['agrees']} agree, {counts['disagrees']} disagree, {counts['undecided']} undecided"


def json_value(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
