"""Table rows for an engine, a check or another part of the work that failed; their verdict is `undecided`."""

from ppl_worldmodel.checks.verdict import Finding
from ppl_worldmodel.errors import FAULT
from ppl_worldmodel.failure import told


def row(what: str, error: BaseException) -> Finding:
    """The row of one failure, with its reason."""
    status, message = told(error)
    why = " ".join(line.strip() for line in message.splitlines()[:2])
    return Finding(
        candidate=what, reference="itself", quantity="run", about="fault" if status == FAULT else "refusal", n=0,
        verdict="undecided", why=f"failed: {why}",
    )  # fmt: skip


def by_fault(finding: Finding) -> bool:
    """Is this the row of something that failed by a fault of ours or of the machine?"""
    return finding.about == "fault"
