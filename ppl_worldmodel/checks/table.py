"""Findings as a table for the terminal, with the verdict in words and in colour."""

import io
import math
from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ppl_worldmodel.checks.verdict import Finding

STYLE = {"agrees": "green", "disagrees": "bold red", "undecided": "yellow"}
UNIT = {"total variation": "TV", "standard deviations": "sd", "posterior standard deviations": "sd"}


def as_table(findings: tuple[Finding, ...], *, width: int) -> RenderableType:
    """The findings as a table; on a narrow terminal the reasons stand below it."""
    wide = width >= 125
    table = Table(box=None, pad_edge=False, header_style="bold")
    narrow = ["candidate", "against", "quantity", "worst", "distance", "verdict"]
    for name in (
        ["candidate", "against", "quantity", "n", "worst", "z", "distance", "verdict", "why"] if wide else narrow
    ):
        justify: Literal["left", "right"] = "right" if name in ("n", "z", "distance") else "left"
        table.add_column(name, justify=justify, no_wrap=name not in ("quantity", "why"))
    for row in findings:
        cells = {
            "candidate": row.candidate,
            "against": row.reference,
            "quantity": escape(row.quantity),
            "n": str(row.n),
            "worst": escape(row.worst),
            "z": score(row.z),
            "distance": f"{number(row.distance)} {UNIT.get(row.unit, row.unit)}".rstrip(),
            "verdict": f"[{STYLE[row.verdict]}]{row.verdict}[/]",
            "why": escape(row.why),
        }
        table.add_row(*(cells[str(column.header)] for column in table.columns))
    reasons = (
        [] if wide else [f"{row.candidate}, {row.quantity}: {row.why}" for row in findings if row.verdict != "agrees"]
    )
    return Group(table, *(Text(reason) for reason in ["", *reasons] if reasons))


def as_text(findings: tuple[Finding, ...], width: int = 160) -> str:
    """The table as plain text, for a REPL."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(as_table(findings, width=width))
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]


def score(z: float) -> str:
    """A largest difference in standard errors, as text; above a million it says only that the error is zero."""
    return "> 1e6" if z > 1e6 else number(z)


def number(value: float) -> str:
    """A number with three significant digits; a dash for NaN (does not apply)."""
    return "-" if math.isnan(value) else f"{value:.3g}"


class Findings(tuple):
    """Findings that print as a table."""

    def __repr__(self) -> str:
        return as_text(self)
