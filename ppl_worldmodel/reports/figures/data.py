"""Figure of the data: observed and given series over time; counts as stems, categories as strokes, others as points."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ppl_worldmodel.reports.figures.embedding import DENSE, MOST_PANELS, Picture, picture, sheet, style
from ppl_worldmodel.reports.names import number, series_names, time_axis, titled

FEW = 10  # so many different whole numbers are categories
MOST_SERIES = 5  # so many of several series are drawn
MANY = 200  # whole numbers up to here are counts
INK = "#444444"


class Fixed(NamedTuple):
    """An input that is not a time series."""

    name: str
    shape: str
    value: str


class Column(NamedTuple):
    """One column of a variable over time, (time,), what it is called, and the series it belongs to, if there are several.

    alike   the values of this column in all series, which are drawn in one way
    """

    values: np.ndarray
    label: str
    title: str
    alike: np.ndarray


def data_figure(dataset: xr.Dataset, name: str, first: Sequence[int] = ()) -> Picture | None:
    """One variable of observed_data or constant_data over time, one panel a column; None for what is not a time series.

    first   which of several series come first, before the others in their order
    """
    if not _is_series(dataset[name]):
        return None
    several = series_names(dataset[[name]])
    columns = _columns(dataset[name], titled(dataset[name], name), several, first)
    shown = columns[: MOST_SERIES * len(columns) // len(several) if several else MOST_PANELS][:MOST_PANELS]
    titles = sum(bool(column.title) for column in shown)
    time, time_title = time_axis(dataset)
    with style():
        low = all(_categories(column.alike).size for column in shown)
        each = 0.9 if low else 1.7 if len(shown) == 1 else 1.1
        figure, axes = sheet(len(shown), 0.5 + each * len(shown) + 0.15 * titles)
        for column, panel in zip(shown, axes, strict=True):
            _draw(panel, time, column.values, column.alike)
            panel.set_ylabel(column.label)
            panel.set_title(column.title)
        axes[-1].set_xlabel(time_title)
        caption = _caption(name, dataset[name], len(columns), len(shown), list(first))
        return picture(figure, caption, dense=len(time) * len(columns) > DENSE)


def _columns(values: xr.DataArray, label: str, several: list[str], first: Sequence[int]) -> list[Column]:
    """Every column of a variable, series by series."""
    if not several:
        found = values.transpose("time", ...).values.astype(float)
        inner = list(np.ndindex(*found.shape[1:]))
        axes = [str(dim) for dim in values.dims if dim != "time"]
        return [Column(found[:, *at], _entry(values, label, axes, at), "", found[:, *at]) for at in inner]
    columns: list[Column] = []
    together = values.transpose("time", "sequence", ...).values.astype(float)
    for series in [*first, *(other for other in range(len(several)) if other not in first)]:
        each = _columns(values.isel(sequence=series), label, [], ())
        titles = [several[series], *[""] * (len(each) - 1)]
        columns += [
            column._replace(title=title, alike=together[:, :, *at])
            for column, title, at in zip(each, titles, np.ndindex(*together.shape[2:]), strict=True)
        ]
    return columns


def _entry(values: xr.DataArray, label: str, axes: Sequence[str], at: Sequence[int]) -> str:
    """What one entry of a step is called: by the labels of its axes, where they have some, else by its numbers."""
    if axes and all(axis in values.coords for axis in axes):
        return ", ".join(str(values[axis].values[i]) for axis, i in zip(axes, at, strict=True))
    return label + (str(list(at)) if at else "")


def fixed(dataset: xr.Dataset) -> list[Fixed]:
    """The inputs that are not time series."""
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


def _draw(panel: Axes, time: np.ndarray, series: np.ndarray, alike: np.ndarray) -> None:
    """Draw one column, in the way that `alike` decides."""
    have = np.isfinite(series)
    categories, known = _categories(alike), alike[np.isfinite(alike)]
    if categories.size:
        panel.plot(time[have], series[have], "|", color=INK, markersize=9, markeredgewidth=1.1)
        panel.set_yticks(categories)
        panel.set_ylim(categories[0] - 0.6, categories[-1] + 0.6)
    elif _is_whole(alike) and known.min() >= 0 and known.max() <= MANY:
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
    """Are all values whole numbers? The type does not tell: counts with gaps are floats."""
    have = series[np.isfinite(series)]
    return have.size > 0 and bool(np.all(have == np.round(have)))


def _categories(series: np.ndarray) -> np.ndarray:
    """The values of a series that looks like categories, else none."""
    different = np.unique(series[np.isfinite(series)])
    few = _is_whole(series) and different.size <= FEW and different[-1] - different[0] < FEW
    return different if few else np.empty(0)


def _caption(name: str, values: xr.DataArray, columns: int, shown: int, first: list[int]) -> str:
    series, count = values.values.astype(float), values.sizes.get("sequence", 0)
    have = series[np.isfinite(series)]
    missing = series.size - have.size
    steps = f"{name}: {values.sizes['time']} time steps{f' of each of {count} series' if count else ''}"
    some = ""
    if shown < columns:
        each = columns // max(count, 1)
        worst = ", those whose beliefs differ most first" if count and first else ""
        some = f" The first {shown} of {columns} columns are shown{worst}."
        if count and shown % each == 0:
            some = f" {shown // each} of the {count} series are shown{worst}."
    if not have.size:
        return f"{steps}, all missing.{some}"
    gaps = f"{missing} missing (orange lines)" if missing else "none missing"
    return f"{steps}, {gaps}, from {number(have.min())} to {number(have.max())}.{some}"
