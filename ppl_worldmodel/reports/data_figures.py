"""What was observed, and what was given?  Every series over time: counts as stems, categories as dots, measurements as points."""

from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.ticker import MaxNLocator

from ppl_worldmodel.reports.figures import Picture, picture, sheet, style
from ppl_worldmodel.reports.names import number, time_axis, titled

DENSE = 3000
MOST_PANELS = 8
FEW = 10  # so many different whole numbers are categories


class Fixed(NamedTuple):
    """An input that is no series."""

    name: str
    shape: str
    value: str


def data_figure(group: xr.DataTree, name: str) -> Picture | None:
    """One variable of observed_data or constant_data over time, a panel a column; None for what is no series."""
    values = group[name]
    if "time" not in values.dims or values.dtype.kind not in "biuf" or values.sizes["time"] == 0:
        return None
    series = values.transpose("time", ...).values.astype(float).reshape(values.sizes["time"], -1)
    columns = series.shape[1]
    shown = min(columns, MOST_PANELS)
    time, time_title = time_axis(group)
    missing = int(np.isnan(series).sum())
    with style():
        low = all(_kinds(series[:, i])[1].size for i in range(shown))
        figure, axes = sheet(shown, 0.5 + (0.9 if low else 1.7 if shown == 1 else 1.1) * shown)
        for i, panel in enumerate(axes):
            _draw(panel, time, series[:, i])
            panel.set_ylabel(titled(values, name) + (f"[{i}]" if columns > 1 else ""))
        axes[-1].set_xlabel(time_title)
        caption = _caption(name, series, missing) + (f" The first {shown} of {columns} columns are shown." if shown < columns else "")
        return picture(figure, caption, caption, dense=series.size > DENSE)


def fixed(group: xr.DataTree) -> list[Fixed]:
    """The inputs that are no series over time."""
    found = []
    for name, values in group.data_vars.items():
        if "time" not in values.dims or values.dtype.kind not in "biuf":
            flat = np.ravel(values.values)
            few = ", ".join(number(value) if values.dtype.kind in "biuf" else str(value) for value in flat[:6])
            found.append(Fixed(str(name), " × ".join(map(str, values.shape)) or "one number", few + (", …" if flat.size > 6 else "")))
    return found


def _draw(panel, time: np.ndarray, series: np.ndarray) -> None:
    have = np.isfinite(series)
    counts, categories = _kinds(series)
    colour = "#444444"
    if categories.size:
        panel.plot(time[have], series[have], "|", color=colour, markersize=9, markeredgewidth=1.1)
        panel.set_yticks(categories)
        panel.set_ylim(categories[0] - 0.6, categories[-1] + 0.6)
    elif counts:
        panel.vlines(time[have], 0, series[have], color=colour, linewidth=1.0)
        panel.plot(time[have], series[have], ".", color=colour, markersize=4)
        panel.set_ylim(bottom=0)
        panel.yaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        panel.plot(time, series, color="#b5b5b5", linewidth=0.8)
        panel.plot(time[have], series[have], ".", color=colour, markersize=4)
    for step in time[~have][:500]:
        panel.axvline(step, color="#d55e00", alpha=0.35, linewidth=1)


def _kinds(series: np.ndarray) -> tuple[bool, np.ndarray]:
    """Does the series look like counts, and if like categories, which?  For the eye only: a series with gaps is floats in any case."""
    have = series[np.isfinite(series)]
    whole = bool(have.size) and bool(np.all(have == np.round(have)))
    different = np.unique(have)
    categories = different if whole and different.size <= FEW and different[-1] - different[0] < FEW else np.empty(0)
    return whole and have.min() >= 0 and have.max() <= 200, categories


def _caption(name: str, series: np.ndarray, missing: int) -> str:
    have = series[np.isfinite(series)]
    gaps = f"{missing} missing (orange lines)" if missing else "none missing"
    if not have.size:
        return f"{name}: {series.shape[0]} time steps, all missing."
    return f"{name}: {series.shape[0]} time steps, {gaps}, from {number(have.min())} to {number(have.max())}."
