"""A comparison of models as a table for the terminal."""

import io

import numpy as np
import xarray as xr
from rich.console import Console
from rich.table import Table

LOO_WARNING = (
    "LOO learns from the future of the step that it leaves out: it scores the filling of gaps, not prediction."
)


def as_table(tree: xr.DataTree, *, width: int = 120) -> Table:
    """A row for each model, the best in leave-future-out score first; the classic criteria only where there is room."""
    scores = tree["scores"].to_dataset()
    classic = width >= 130 and bool(np.isfinite(scores["loo"].values).any())
    table = Table("model", "free", "log evidence", "leave-future-out", "behind the best", "weight", "sufficient, p")
    for column in ("LOO", "AIC", "BIC", "DIC") if classic else ():
        table.add_column(column)
    for i, name in enumerate(scores["model"].values):
        row = {str(key): values.values[i] for key, values in scores.data_vars.items()}
        cells = [
            str(name) if row["state"] else f"{name} (no state)",
            str(row["parameters"]) if row["state"] else "",
            _with_error(row["evidence"], row["evidence_error"]),
            _with_error(row["lfo"], row["lfo_error"]),
            _with_error(row["behind"], row["behind_error"]) if row["behind"] else "",
            f"{row['weight']:.2f}",
            f"{row['sufficient']:.2g}" if np.isfinite(row["sufficient"]) else "",
        ]
        if classic:
            cells += [f"{row[key]:.1f}" if np.isfinite(row[key]) else "" for key in ("loo", "aic", "bic", "dic")]
        table.add_row(*cells)
    return table


def as_text(tree: xr.DataTree, *, width: int = 140) -> str:
    """The table, and beneath it which comparison can be decided."""
    file = io.StringIO()
    console = Console(file=file, width=width)
    console.print(as_table(tree, width=width))
    console.print(f"by evidence: {tree.attrs['by_evidence']}", markup=False)
    console.print(f"by prediction: {tree.attrs['by_prediction']}", markup=False)
    if width >= 130 and np.isfinite(tree["scores"].to_dataset()["loo"].values).any():
        console.print(LOO_WARNING, markup=False)
    return file.getvalue().rstrip()


def _with_error(value: float, error: float) -> str:
    if not np.isfinite(value):
        return ""
    return f"{value:.2f} +- {error:.2g}" if error else f"{value:.2f}"
