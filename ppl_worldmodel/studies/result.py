"""Result of a study: estimates, verdicts and engines in one tree, with its page; saved and loaded again."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from markupsafe import escape

from ppl_worldmodel.checks.check import from_dataset
from ppl_worldmodel.checks.table import Findings, as_text
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.files import saving
from ppl_worldmodel.infer.result_tree import PARAMETERS
from ppl_worldmodel.program.coordinates import entry_names
from ppl_worldmodel.reports.comparison_page import comparison_report
from ppl_worldmodel.reports.report import report as draw
from ppl_worldmodel.reports.sentence import sentence

COLOUR = {"agrees": "#1a7f37", "disagrees": "#b42318", "undecided": "#9a6700"}
MOST = 12  # estimates that are shown


class Result(NamedTuple):
    """What a study found: `tree` holds everything, as `worldmodel check` saves it."""

    tree: xr.DataTree

    @property
    def engines(self) -> dict[str, xr.DataTree]:
        """{engine: its result}; of a comparison {model: what it learned}."""
        group = "engines" if "engines" in self.tree.children else "models"
        return {str(name): one for name, one in self.tree[group].children.items()}

    @property
    def findings(self) -> Findings:
        checks = self.tree["checks"].to_dataset()
        return from_dataset(checks) if "row" in checks.sizes else Findings(())

    @property
    def estimates(self) -> list[str]:
        """Mean and central 90 % interval of each entry that was learned, a line each, of NUTS or the first engine that learned."""
        learned = {name: one for name, one in self.engines.items() if one.attrs.get("question") == PARAMETERS}
        if not learned:
            return []
        posterior = (learned.get("nuts") or next(iter(learned.values())))["posterior"].to_dataset()
        values = {str(name): each.values for name, each in posterior.data_vars.items()}
        labels = entry_names({name: each[0, 0] for name, each in values.items()})
        flat = np.concatenate([each.reshape(*each.shape[:2], -1) for each in values.values()], axis=-1)
        low, high = np.quantile(flat, [0.05, 0.95], axis=(0, 1))
        return [
            f"{label} = {mean:.3g} [{below:.3g}, {above:.3g}]"
            for label, mean, below, above in zip(labels, flat.mean(axis=(0, 1)), low, high, strict=True)
        ]

    def report(self, path: str | Path) -> Path:
        """Write the page, one self-contained HTML file, and return its path."""
        if "scores" in self.tree.children:
            return comparison_report(self.tree, Path(path))
        return draw(self.tree, path)

    def save(self, path: str | Path) -> Path:
        """Write everything as NetCDF, for `load_result` and `worldmodel report`."""
        return saving.save(self.tree, Path(path))

    def __repr__(self) -> str:
        parts = [self._estimates("; "), sentence(self.findings), as_text(self.findings) if self.findings else ""]
        return "\n".join(part for part in parts if part)

    def _repr_html_(self) -> str:
        columns = ("candidate", "reference", "quantity", "distance", "unit", "verdict", "why")
        rows = "".join(
            "<tr>"
            + "".join(
                f'<td style="color:{COLOUR[one.verdict]}">{one.verdict}</td>'
                if column == "verdict"
                else f"<td>{escape(f'{value:.3g}' if isinstance(value := getattr(one, column), float) else value)}</td>"
                for column in columns
            )
            + "</tr>"
            for one in self.findings
        )
        head = "".join(f"<th>{'against' if column == 'reference' else column}</th>" for column in columns)
        return (
            f"<p>{escape(self._estimates('; '))}</p><p>{escape(sentence(self.findings))}</p>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        )

    def _estimates(self, between: str) -> str:
        found = self.estimates
        more = [f"and {len(found) - MOST} more"] if len(found) > MOST else []
        return between.join([*found[:MOST], *more])


def load_result(path: str | Path) -> Result:
    """A result that `Result.save`, `worldmodel check` or `worldmodel compare` wrote.

    Raises DataError where the file is no such result.
    """
    tree = saving.load(path)
    if not {"engines", "models"} & set(tree.children) or "checks" not in tree.children:
        raise DataError(
            f"'{path}' is not the result of a study or a comparison: it has the groups {', '.join(tree.children) or 'none'}"
        )
    return Result(tree)
