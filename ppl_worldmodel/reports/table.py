"""How do findings look in a terminal?  A table, with the verdict in words and in colour."""

import io
import math

from rich.console import Console
from rich.table import Table

from ppl_worldmodel.checks.verdict import Finding

STYLE = {"agrees": "green", "disagrees": "bold red", "undecided": "yellow"}


def as_table(findings: tuple[Finding, ...]) -> Table:
    """The findings as a table of rich."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("candidate", "against", "quantity", "n", "worst", "z", "distance", "verdict", "why"):
        table.add_column(name, justify="right" if name in ("n", "z", "distance") else "left", overflow="fold")
    for row in findings:
        unit = {"total variation": "TV", "standard deviations": "sd", "posterior standard deviations": "sd"}.get(row.unit, row.unit)
        table.add_row(
            row.candidate, row.reference, row.quantity, str(row.n), row.worst, number(row.z), f"{number(row.distance)} {unit}",
            f"[{STYLE[row.verdict]}]{row.verdict}[/]", row.why,
        )  # fmt: skip
    return table


def as_text(findings: tuple[Finding, ...], width: int = 160) -> str:
    """The table as plain text, for a REPL."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(as_table(findings))
    return console.file.getvalue().rstrip()  # type: ignore[attr-defined]


def number(value: float) -> str:
    """Three significant digits; a dash for what does not apply."""
    return "-" if math.isnan(value) else f"{value:.3g}"
