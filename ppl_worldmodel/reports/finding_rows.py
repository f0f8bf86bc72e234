"""Rows of the table of findings; every number is there twice: as it is shown, and as it is."""

from typing import Any, NamedTuple

import numpy as np

from ppl_worldmodel.checks.verdict import Finding
from ppl_worldmodel.reports.figures.styles import called
from ppl_worldmodel.reports.names import MINUS, number, place
from ppl_worldmodel.reports.sentence import UNITS


class Number(NamedTuple):
    """A number as it is shown, and as it is."""

    shown: str
    value: float


class FindingRow(NamedTuple):
    """A finding as the page shows it; `upper_is`: what stands in `upper` where it is not an upper limit."""

    candidate: str
    against: str
    quantity: str
    n: int
    worst: str
    z: Number
    p: Number
    distance: Number
    unit: str
    upper: Number
    upper_is: str
    tolerance: Number
    verdict: str
    why: str


def shown(value: Any, form: str = "") -> Number:
    """A number with the text that shows it; `form` as in a format string, where three digits will not do."""
    value = float(value)
    if form and np.isfinite(value):
        return Number(f"{value:{form}}".replace("-", MINUS), value)
    return Number(number(value), value)


def finding_rows(findings: tuple[Finding, ...], time: np.ndarray | None) -> list[FindingRow]:
    """All findings, in their order. The rows on chains show an effective sample size in the place of a limit."""
    return [_row(finding, time) for finding in findings]


def _row(finding: Finding, time: np.ndarray | None) -> FindingRow:
    chains = finding.about == "chains"
    p = Number(f"< 1e{MINUS}16", finding.p) if finding.p < 1e-16 else shown(finding.p, ".2g")
    z = Number("> 1e6", finding.z) if finding.z > 1e6 else shown(finding.z)
    return FindingRow(
        called(finding.candidate), called(finding.reference), finding.quantity, finding.n, place(finding.worst, time),
        z, p, shown(finding.distance, ".3f" if chains else ""), UNITS.get(finding.unit, finding.unit),
        shown(finding.ess if chains else finding.upper), "ESS" if chains else "", shown(finding.tolerance),
        finding.verdict, finding.why,
    )  # fmt: skip
