"""Table rows for an engine, a check or another part of the work that failed; their verdict is `undecided`."""

from ppl_worldmodel.checks.verdict import Finding
from ppl_worldmodel.errors import FAULT
from ppl_worldmodel.failure import told

_FAULT = "fault"


def row(what: str, error: BaseException) -> Finding:
    """The row of one failure, with its reason."""
    status, message = told(error)
    why = " ".join(line.strip() for line in message.splitlines()[:2])
    nan = float("nan")
    unit = _FAULT if status == FAULT else "refusal"
    return Finding(what, "itself", "run", 0, "-", nan, nan, nan, nan, nan, unit, "undecided", f"failed: {why}")


def by_fault(finding: Finding) -> bool:
    """Is this the row of something that failed by a fault of ours or of the machine?"""
    return finding.unit == _FAULT
