"""Long format (one row for each series and time step, and a column that says which series) as arrays (time, series)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.files.csv import Sheet, is_missing
from ppl_worldmodel.files.times import Times, check_order, label

SHOWN = 3


class Layout(NamedTuple):
    """Where each row belongs.

    names   of the series, in the order of their first rows
    times   of the steps of all series together, (time,); None where no column says the time
    places  (row, 2): the time step and the series of each row
    """

    names: list[str]
    times: np.ndarray | None
    places: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """(time, series)"""
        return int(self.places[:, 0].max()) + 1, len(self.names)


def layout(sheet: Sheet, column: str, times: Times | None) -> Layout:
    """The series of a file in long format. Steps are matched by their times, or counted within each series where there are none.

    Raises DataError for a row without a series, and for a series whose times repeat or go back.
    """
    cells = sheet.cells[column]
    for row, cell in zip(sheet.rows, cells, strict=True):
        if is_missing(cell):
            raise DataError(
                f"row {row} of '{sheet.path}' belongs to no series: its cell in column '{column}' is {cell!r}; expected the name "
                "of a series in every row"
            )
    names = list(dict.fromkeys(cells))
    number = {name: i for i, name in enumerate(names)}
    series = np.array([number[cell] for cell in cells])
    rows = np.array(sheet.rows)
    steps = np.empty(len(cells), int)
    for i, name in enumerate(names):
        mine = np.flatnonzero(series == i)
        steps[mine] = np.arange(len(mine))
        if times is not None:
            check_order(times.name, times.values[mine], rows[mine].tolist(), sheet.path, f" of series '{name}'")
    if times is None:
        return Layout(names, None, np.stack([steps, series], axis=1))
    different, steps = np.unique(times.values, return_inverse=True)
    return Layout(names, different, np.stack([steps, series], axis=1))


def spread(values: np.ndarray, where: Layout) -> np.ndarray:
    """The values of the rows, (row, ...), as (time, series, ...); NaN where a series has no row at a step."""
    at = tuple(where.places.T)
    full = len(values) == np.prod(where.shape)
    found = np.full((*where.shape, *values.shape[1:]), np.nan) if not full else np.empty(0)
    if full:
        found = np.empty((*where.shape, *values.shape[1:]), values.dtype)
    found[at] = values
    return found


def lacking(where: Layout) -> list[str]:
    """A sentence for each series that has no row at some steps."""
    have = np.zeros(where.shape, bool)
    have[tuple(where.places.T)] = True
    told = []
    for i, name in enumerate(where.names):
        steps = np.flatnonzero(~have[:, i])
        if steps.size:
            first = ", ".join(_labels(where, steps[:SHOWN])) + (", ..." if steps.size > SHOWN else "")
            told.append(f"series '{name}' has no row at {steps.size} of {len(have)} steps ({first}): missing values")
    return told


def _labels(where: Layout, steps: Sequence[int] | np.ndarray) -> list[str]:
    return [f"t = {step}" if where.times is None else label(where.times[step], where.times) for step in steps]
