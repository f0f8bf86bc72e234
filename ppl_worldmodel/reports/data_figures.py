"""What was observed, and what was given?  Every series over time: counts as stems, categories as strokes, else points."""

from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ppl_worldmodel.reports.figures import DENSE, MOST_PANELS, Picture, picture, sheet, style
from ppl_worldmodel.reports.names import number, time_axis, titled

FEW = 10  # so many different whole numbers are categories
MANY = 200  # whole numbers up to here are counts
INK = "#444444"


class Fixed(NamedTuple):
    """An input that is no series."""

    name: str
    shape: str
    value: str


def data_figure(dataset: xr.Dataset, name: str) -> Picture | None:
    """One variable of observed_data or constant_data over time, a panel a column; None for what is no series."""
    if not _is_series(dataset[name]):
        return None
    values = dataset[name].transpose("time", ...).values.astype(float)
    series = values.reshape(len(values), -1)
    columns = series.shape[1]
    shown = min(columns, MOST_PANELS)
    time, time_title = time_axis(dataset)
    with style():
        low = all(_categories(series[:, i]).size for i in range(shown))
        figure, axes = sheet(shown, 0.5 + (0.9 if low else 1.7 if shown == 1 else 1.1) * shown)
        for i, panel in enumerate(axes):
            _draw(panel, time, series[:, i])
            panel.set_ylabel(titled(dataset[name], name) + (f"[{i}]" if columns > 1 else ""))
        axes[-1].set_xlabel(time_title)
        some = f" The first {shown} of {columns} columns are shown." if shown < columns else ""
        return picture(figure, _caption(name, series) + some, dense=series.size > DENSE)


def fixed(dataset: xr.Dataset) -> list[Fixed]:
    """The inputs that are no series over time."""
    found = []
    for name, values in dataset.data_vars.items():
        if not _is_series(values):
            flat = np.ravel(values.values)
            shape = ", ".join(map(str, values.shape))
            told = [number(value) if values.dtype.kind in "biuf" else str(value) for value in flat[:6]]
            found.append(Fixed(str(name), f"({shape})", ", ".join([*told, *(["…"] if flat.size > 6 else [])])))
    return found


def _is_series(values: xr.DataArray) -> bool:
    return "time" in values.dims and values.dtype.kind in "biuf" and values.size > 0


def _draw(panel: Axes, time: np.ndarray, series: np.ndarray) -> None:
    have = np.isfinite(series)
    categories = _categories(series)
    if categories.size:
        panel.plot(time[have], series[have], "|", color=INK, markersize=9, markeredgewidth=1.1)
        panel.set_yticks(categories)
        panel.set_ylim(categories[0] - 0.6, categories[-1] + 0.6)
    elif _is_whole(series) and series[have].min() >= 0 and series[have].max() <= MANY:
        panel.vlines(time[have], 0, series[have], color=INK, linewidth=1.0)
        panel.plot(time[have], series[have], ".", color=INK, markersize=4)
        panel.set_ylim(bottom=0)
        panel.yaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        panel.plot(time, series, color="#b5b5b5", linewidth=0.8)
        panel.plot(time[have], series[have], ".", color=INK, markersize=4)
    for step in time[~have][:500]:
        panel.axvline(step, color="#d55e00", alpha=0.35, linewidth=1)


def _is_whole(series: np.ndarray) -> bool:
    """A series of counts with gaps is one of floats, so that its type does not tell."""
    have = series[np.isfinite(series)]
    return have.size > 0 and bool(np.all(have == np.round(have)))


def _categories(series: np.ndarray) -> np.ndarray:
    """The values of a series that looks like categories, else none."""
    different = np.unique(series[np.isfinite(series)])
    few = _is_whole(series) and different.size <= FEW and different[-1] - different[0] < FEW
    return different if few else np.empty(0)


def _caption(name: str, series: np.ndarray) -> str:
    have = series[np.isfinite(series)]
    missing = series.size - have.size
    if not have.size:
        return f"{name}: {len(series)} time steps, all missing."
    gaps = f"{missing} missing (orange lines)" if missing else "none missing"
    return f"{name}: {len(series)} time steps, {gaps}, from {number(have.min())} to {number(have.max())}."
