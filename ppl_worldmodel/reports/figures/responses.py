"""Impulse responses and spectra of linear-Gaussian models, which do not depend on state coordinates, side by side."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatter, MaxNLocator

from ppl_worldmodel.reports.figures.embedding import GREY, WIDTH, Picture, picture, style
from ppl_worldmodel.reports.figures.styles import looks

MOST_COMPONENTS = 3
SUPERSCRIPTS = str.maketrans(
    "-0123456789", "\N{SUPERSCRIPT MINUS}\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
)
SHOWN = {"response": "lag", "spectrum": "frequency"}


def responses(tables: Mapping[str, xr.Dataset]) -> Picture | None:
    """Response and spectrum of every model that has them, a row for each component of the observations; None if none has.

    tables  of each model, the summary (statistic, ...) of its invariants
    """
    curves = {
        name: {what: _own(table[what]) for what in SHOWN if what in table and table[what].size}
        for name, table in tables.items()
    }
    curves = {
        name: {what: values for what, values in both.items() if bool(np.isfinite(values.sel(statistic="mean")).all())}
        for name, both in curves.items()
    }
    curves = {name: both for name, both in curves.items() if both}
    if not curves:
        return None
    components = min(
        MOST_COMPONENTS, max(values.sizes["dim_y"] for both in curves.values() for values in both.values())
    )
    look = looks(tables)
    with style():
        figure = Figure(figsize=(WIDTH, 0.5 + 1.75 * components), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(components, len(SHOWN), squeeze=False)
        for name, both in curves.items():
            for column, (what, along) in enumerate(SHOWN.items()):
                for row in range(min(components, both[what].sizes["dim_y"]) if what in both else 0):
                    values, axes = both[what].isel(dim_y=row), grid[row, column]
                    mean, low, high = (values.sel(statistic=each).values for each in ("mean", "q5", "q95"))
                    at, colour = values[along].values, look[name].colour
                    axes.plot(at, mean, color=colour, label=name)
                    axes.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
        for row in range(components):
            of = f", component {row}" if components > 1 else ""
            grid[row, 0].axhline(0.0, color=GREY, linewidth=0.8)
            grid[row, 0].set(xlabel="steps after an innovation", ylabel=f"response{of}")
            grid[row, 0].xaxis.set_major_locator(MaxNLocator(5, integer=True))
            grid[row, 1].set(xlabel="radians a step", ylabel=f"spectrum{of}", yscale="log")
            grid[row, 1].yaxis.set_major_formatter(FuncFormatter(_power))
            grid[row, 1].yaxis.set_minor_formatter(LogFormatter())
        next(axes for axes in grid.flat if axes.get_legend_handles_labels()[1]).legend(loc="best")
        return picture(
            figure,
            "Both do not depend on state coordinates. Left: how much an innovation of one moves the expected later observations. "
            "Right: the spectrum of the observations. Lines: posterior means; bands: 90 % intervals.",
        )


def _power(value: float, _: int | None = None) -> str:
    """A power of ten, without the mathematics of matplotlib, which the house style turns off."""
    return f"10{str(round(np.log10(value))).translate(SUPERSCRIPTS)}"


def _own(values: xr.DataArray) -> xr.DataArray:
    """Of several series the first, and of a response that of each component to its own innovation."""
    if "sequence" in values.dims:
        values = values.isel(sequence=0)
    if "dim_y_bis" not in values.dims:
        return values
    return xr.concat(
        [values.isel(dim_y=i, dim_y_bis=i) for i in range(values.sizes["dim_y"])],
        "dim_y",
        coords="minimal",
        compat="override",
    )
