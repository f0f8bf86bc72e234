"""Summary of a run's findings in one sentence, computed from the findings alone."""

import math

import numpy as np

from ppl_worldmodel.checks.verdict import Finding, Verdict
from ppl_worldmodel.reports.figures.styles import called
from ppl_worldmodel.reports.names import joined, located, number, place

UNITS = {"total variation": "TV", "standard deviations": "sd", "posterior standard deviations": "sd"}
_IN_WORDS = {"total variation": "in total variation"}
_ORDER = ("chains", "beliefs", "parameters", "truth", "other", "ELBO")
MOST = 5  # so many disagreements are listed one by one


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
        return "Nothing was checked: one answer alone has nothing to be compared with; ask a second engine, too."
    against = [finding for finding in findings if finding.verdict == "disagrees"]
    open_ = [finding for finding in findings if finding.verdict == "undecided"]
    total = len(findings)
    if not against and not open_:
        what = f"All {total} checks agree" if total > 1 else "The only check agrees"
        return f"{what}{_closest(findings)}."
    parts = []
    if against:
        told = _told(against, time)
        if len(against) > MOST:
            told.append(f"and {len(against) - MOST} more")
        parts.append(
            f"{_count(len(against), total)} {'disagrees' if len(against) == 1 else 'disagree'}: {', '.join(told)}"
        )
    if open_:
        count = f"{len(open_)} more" if against else _count(len(open_), total)
        parts.append(f"{count} {'is' if len(open_) == 1 else 'are'} undecided: {_by_engine(open_)}")
    if len(against) + len(open_) < total:
        parts.append("everything else agrees")
    return "; ".join(parts) + "."


def amount(value: float, unit: str, digits: int = 2) -> str:
    """A distance with its unit, as a sentence has it."""
    return f"{number(value, digits)} {_IN_WORDS.get(unit, UNITS.get(unit, unit))}"


def phrase(finding: Finding, time: np.ndarray | None = None, *, whose: str = "") -> str:
    """What one finding that disagrees says; `whose` is "its" where the sentence has just named the engine."""
    whose = whose or f"{called(finding.candidate)}'s"
    where, off = place(finding.worst, time), amount(finding.distance, finding.unit)
    about = finding.about
    if about == "chains":
        return f"{whose} chains have not converged (R-hat {finding.distance:.3f} at {where})"
    if about == "ELBO":
        side = "below" if finding.distance >= 0 else "above"
        return f"{whose} ELBO is {amount(abs(finding.distance), 'nats')} {side} the log evidence"
    if about == "beliefs":
        return f"{whose} {_short(finding)} are off by {off} {located(finding.worst, time)}"
    if about == "truth":
        return f"{whose} posterior makes the truth implausible (its mean of {where} is off by {off}, joint p = {finding.p:.1g})"
    if about == "parameters":
        return f"{whose} {where} is off by {off}"
    return f"{whose} {finding.quantity}: {finding.why}"


def _told(against: list[Finding], time: np.ndarray | None) -> list[str]:
    """The disagreements, engine by engine, what matters most first."""
    engines = list(dict.fromkeys(finding.candidate for finding in against))
    ordered = sorted(
        against,
        key=lambda finding: (
            engines.index(finding.candidate),
            _ORDER.index(finding.about if finding.about in _ORDER else "other"),
        ),
    )[:MOST]
    before = [""] + [finding.candidate for finding in ordered]
    return [
        phrase(finding, time, whose="its" if finding.candidate == last else "")
        for finding, last in zip(ordered, before, strict=False)
    ]


def _count(number_of: int, total: int) -> str:
    return f"{number_of} of {total} checks" if total > 1 else "The only check"


def _closest(findings: tuple[Finding, ...]) -> str:
    """How far the beliefs are apart where all agree."""
    beliefs = [finding for finding in findings if finding.about == "beliefs" and not math.isnan(finding.upper)]
    if not beliefs or len({finding.unit for finding in beliefs}) > 1:
        return ""
    largest, upper = max(finding.distance for finding in beliefs), max(finding.upper for finding in beliefs)
    return f": beliefs differ by at most {amount(largest, beliefs[0].unit)} (allowing for Monte Carlo error, {number(upper, 2)})"


def _by_engine(findings: list[Finding]) -> str:
    """Quantities, told engine by engine."""
    names = list(dict.fromkeys(finding.candidate for finding in findings))
    told = {name: [_short(finding) for finding in findings if finding.candidate == name] for name in names}
    return ", ".join(f"{called(name)}'s {_together(quantities)}" for name, quantities in told.items())


def _short(finding: Finding) -> str:
    about = finding.about
    if about == "beliefs":
        return finding.quantity.split(" beliefs")[0] + " beliefs"
    return {"parameters": "parameters", "truth": "parameters against the truth"}.get(about, finding.quantity)


def _together(words: list[str]) -> str:
    kinds = [word.removesuffix(" beliefs") for word in words if word.endswith(" beliefs")]
    rest = [word for word in words if not word.endswith(" beliefs")]
    every = ([f"{joined(kinds)} beliefs"] if kinds else []) + rest
    return joined(every)
