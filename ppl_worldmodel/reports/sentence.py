"""What came of it, in one sentence?  Computed from the findings alone."""

import math

import numpy as np

from ppl_worldmodel.checks.verdict import Finding, Verdict
from ppl_worldmodel.reports.names import called, number, place

UNITS = {"total variation": "TV", "standard deviations": "sd", "posterior standard deviations": "sd"}
MOST = 5  # so many disagreements are told one by one


def overall(findings: tuple[Finding, ...]) -> Verdict:
    """The worst of all verdicts; without findings nothing is decided."""
    verdicts = {finding.verdict for finding in findings}
    if "disagrees" in verdicts:
        return "disagrees"
    return "undecided" if "undecided" in verdicts or not findings else "agrees"


def sentence(findings: tuple[Finding, ...], time: np.ndarray | None = None) -> str:
    """How many checks disagree and by how much, how many are undecided, and that the rest agrees.

    time   labels of the time steps, (time,), if there are any
    """
    if not findings:
        return "Nothing was checked: there is no second engine to compare with."
    against = [finding for finding in findings if finding.verdict == "disagrees"]
    open_ = [finding for finding in findings if finding.verdict == "undecided"]
    total = len(findings)
    if not against and not open_:
        what = f"All {total} checks agree" if total > 1 else "The only check agrees"
        return f"{what}{_closest(findings)}."
    parts = []
    if against:
        told = [phrase(finding, time) for finding in against[:MOST]]
        if len(against) > MOST:
            told.append(f"and {len(against) - MOST} more")
        parts.append(f"{_count(len(against), total)} {'disagrees' if len(against) == 1 else 'disagree'}: {', '.join(told)}")
    if open_:
        count = f"{len(open_)} more" if against else _count(len(open_), total)
        parts.append(f"{count} {'is' if len(open_) == 1 else 'are'} undecided: {_by_engine(open_)}")
    if len(against) + len(open_) < total:
        parts.append("everything else agrees")
    return "; ".join(parts) + "."


def phrase(finding: Finding, time: np.ndarray | None = None) -> str:
    """What one finding that disagrees says."""
    who, where = called(finding.candidate), place(finding.worst, time)
    amount = f"{number(finding.distance)} {UNITS.get(finding.unit, finding.unit)}"
    if finding.unit == "R-hat":
        return f"{who} has not converged (R-hat {finding.distance:.3f} at {where})"
    if finding.unit == "Pareto k-hat":
        return f"{who}'s Pareto k-hat is {finding.distance:.2f} (at most {finding.tolerance:g} is reliable)"
    if finding.quantity == "evidence - ELBO" and finding.distance >= 0:
        return f"{who}'s ELBO is {amount} below the log evidence"
    if "beliefs" in finding.quantity:
        return f"{who}'s {_short(finding)} are off by {amount} at {where}"
    if finding.reference == "truth":
        return f"the truth is implausible under {who}'s posterior ({where} is off by {amount})"
    if finding.quantity.startswith("parameters "):
        return f"{who}'s {where} is off by {amount}"
    return f"{who}: {finding.quantity}, {finding.why}"


def _count(number_of: int, total: int) -> str:
    return f"{number_of} of {total} checks" if total > 1 else "The only check"


def _closest(findings: tuple[Finding, ...]) -> str:
    """How far the beliefs are apart where all agree."""
    beliefs = [finding for finding in findings if "beliefs" in finding.quantity and not math.isnan(finding.upper)]
    if not beliefs or len({finding.unit for finding in beliefs}) > 1:
        return ""
    unit = UNITS.get(beliefs[0].unit, beliefs[0].unit)
    upper = max(finding.upper for finding in beliefs)
    return f": beliefs differ by at most {number(max(f.distance for f in beliefs))} {unit} (with Monte Carlo error, by less than {number(upper)})"


def _by_engine(findings: list[Finding]) -> str:
    """Quantities, told engine by engine."""
    names = list(dict.fromkeys(finding.candidate for finding in findings))
    told = {name: [_short(finding) for finding in findings if finding.candidate == name] for name in names}
    return ", ".join(f"{called(name)}'s {_joined(quantities)}" for name, quantities in told.items())


def _short(finding: Finding) -> str:
    quantity = finding.quantity.removesuffix(" (averaged over parameters)")
    if quantity.startswith("parameters "):
        return "parameters against the truth" if finding.reference == "truth" else "parameters"
    return quantity


def _joined(words: list[str]) -> str:
    kinds = [word.removesuffix(" beliefs") for word in words if word.endswith(" beliefs")]
    rest = [word for word in words if not word.endswith(" beliefs")]
    every = ([f"{' and '.join(kinds)} beliefs"] if kinds else []) + rest
    return every[0] if len(every) == 1 else f"{', '.join(every[:-1])} and {every[-1]}"
