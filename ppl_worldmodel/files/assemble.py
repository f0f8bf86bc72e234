"""The data of a call from a file: the program's arguments as arrays, labels of time steps and series, and what was found."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.files.columns import NO_VALUES, Matched, match
from ppl_worldmodel.files.csv import Sheet, check_different, no_header, read_sheet
from ppl_worldmodel.files.load import Loaded
from ppl_worldmodel.files.numbers import numbers
from ppl_worldmodel.files.series import Layout, lacking, layout, spread
from ppl_worldmodel.files.times import Times, check_order, find_times, gaps, label


class Data(NamedTuple):
    """What a file gives to a program.

    values   {argument: (time, ...)}, (time, series, ...) in long format; NaN where a cell is missing
    columns  {argument: names of its columns, in the shape of one time step (of one series)}
    coords   {"time": labels of the steps, "sequence": names of the series}, as far as the file gives them
    rows     the row number of each step, (time,), or of each step and series, (time, series); 0 where there is none;
             empty where a file has no rows
    said     sentences: which column is what, and what is missing
    path     of the file
    """

    values: dict[str, np.ndarray]
    columns: dict[str, np.ndarray]
    coords: dict[str, np.ndarray]
    rows: np.ndarray
    said: tuple[str, ...]
    path: str


def read_csv(
    loaded: Loaded,
    path: str,
    columns: Sequence[str] = (),
    *,
    series: str | None = None,
    given: Mapping[str, Any] = NO_VALUES,
) -> Data:
    """The program's data from a CSV file with a header and one row a time step; an empty cell is a missing value.

    columns  which column is which argument, as for `match`; several columns of one argument: (time, column)
    series   the column that says which series a row belongs to (long format: one row for each series and step)
    given    arguments that have a value already
    Raises DataError, naming row and column, for every cell that would have to be guessed.
    """
    sheet = read_sheet(path)
    if sheet.values and not _named_by([*columns, *loaded.columns.values()], sheet.header):
        raise no_header(sheet)
    if sheet.values:
        check_different(sheet.header, path)
    if series is not None and series not in sheet.header:
        raise DataError(f"'{path}' has no column '{series}' (--series): its columns are {', '.join(sheet.header)}")
    matched = match(loaded, [name for name in sheet.header if name != series], path, columns, given)
    used = [str(name) for names in matched.arguments.values() for name in np.ravel(names)]
    times = find_times(sheet, [*used, *([series] if series else [])], matched.time)
    where = layout(sheet, series, times) if series else None
    if times is not None and where is None:
        check_order(times.name, times.values, sheet.rows, path)
    values = {name: _array(sheet, name, names) for name, names in matched.arguments.items()}
    steps = times.values if times is not None else None
    rows = np.array(sheet.rows)
    if where is not None:
        values, steps = {name: spread(array, where) for name, array in values.items()}, where.times
        rows = np.nan_to_num(spread(rows, where)).astype(int)
    coords = {} if steps is None else {"time": steps}
    if where is not None:
        coords["sequence"] = np.array(where.names)
    said = _said(sheet, matched, times, steps, where, [*used, series])
    return Data(values, matched.arguments, coords, rows, said, path)


def _named_by(columns: Sequence[str], header: Sequence[str]) -> bool:
    """Does the call name columns of this header?  Then it is a header even if it looks like values."""
    names = [name.strip() for entry in columns for name in entry.rpartition("=")[2].split(",")]
    return bool(names) and set(names) <= set(header)


def _array(sheet: Sheet, argument: str, names: np.ndarray) -> np.ndarray:
    """The columns as an array with the leading axis time."""
    each = [numbers(sheet, str(name)) for name in np.ravel(names)]
    if all(np.isnan(column).all() for column in each):
        raise DataError(
            f"column '{np.ravel(names)[0]}' of '{sheet.path}' (for the argument '{argument}') has no value in any row: expected "
            "numbers"
        )
    return np.stack(each, axis=-1).reshape(len(sheet.rows), *names.shape)


def _said(
    sheet: Sheet,
    matched: Matched,
    times: Times | None,
    steps: np.ndarray | None,
    where: Layout | None,
    used: Sequence[str | None],
) -> tuple[str, ...]:
    pairs = [f"{name} = {', '.join(np.ravel(names))}" for name, names in matched.arguments.items()]
    if times is not None and steps is not None:
        pairs.append(
            f"time = {times.name or 'the first column'}, {label(steps[0], steps)} to {label(steps[-1], steps)}"
        )
    if where is not None:
        pairs.append(f"series = {used[-1]}, {len(where.names)} of them")
    spare = [name for name in sheet.header if name and name not in used]
    spare = [name for name in spare if times is None or name not in times.name.split(", ")]
    told = [f"columns: {'; '.join(pairs)}" + (f"; not used: {', '.join(spare)}" if spare else "")]
    if matched.without:
        told[0] += f"; no column for: {', '.join(matched.without)}"
    if sheet.blank:
        one = len(sheet.blank) == 1
        listed = ", ".join(map(str, sheet.blank[:5])) + (", ..." if len(sheet.blank) > 5 else "")
        told.append(f"{'row' if one else 'rows'} {listed} {'is' if one else 'are'} blank: missing values")
    if times is not None and steps is not None and (gap := gaps(times.name, steps)):
        told.append(gap)
    return (*told, *(lacking(where) if where is not None else ()))
