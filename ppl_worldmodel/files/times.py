"""The time column of a file: whole numbers, decimal years or ISO dates, in order, each once; gaps are reported.

A model treats the rows as consecutive steps. The times are kept as the coordinate of the time steps.
"""

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.files.csv import NUMBER, Sheet

# A column with a CERTAIN name is the time of its row; one with a POSSIBLE name is, if each of its times is later than the last.
CERTAIN = ("time", "date", "datetime", "timestamp", "year", "step")
POSSIBLE = ("month", "quarter", "week", "day", "hour", "minute", "t", "period", "index", "")
NOT_TIME = "or say with --column time= that no column is the time"
DATE = re.compile(r"(\d{4})-(\d\d)(-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?)?", re.ASCII)
QUARTER = re.compile(r"(\d{4})-?Q([1-4])", re.ASCII | re.IGNORECASE)
SHOWN = 3


class Times(NamedTuple):
    """name: the columns that say the time; values of each row, (row,): int64, float64 or datetime64[us]."""

    name: str
    values: np.ndarray


def find_times(sheet: Sheet, used: Collection[str], asked: str | None = None) -> Times | None:
    """The time of each row; None where no column says it.

    used   columns that stand for arguments of the program
    asked  the name of the column, if the call says it ("": no column is the time)
    Raises DataError if a column with a CERTAIN name, or the one that was asked for, holds something else.
    """
    if asked == "":
        return None
    if asked is not None:
        return Times(asked, _certain(sheet, asked))
    free = {name.lower(): name for name in sheet.header if name not in used}
    dates = _calendar(sheet, free)
    if dates is not None:
        return dates
    for low in CERTAIN:
        if low in free:
            return Times(free[low], _certain(sheet, free[low]))
    for name in free.values():
        values, wrong = parse(sheet.cells[name])
        possible = name.lower() in POSSIBLE or (wrong is None and values.dtype.kind == "M")
        if possible and wrong is None and (np.diff(values.astype(float)) > 0).all():
            return Times(name, values)
    return None


def parse(cells: Sequence[str]) -> tuple[np.ndarray, int | None]:
    """The cells as times, and the place of the first that is not a time; None if all are."""
    kinds = [_kind(cell) for cell in cells]
    for place, kind in enumerate(kinds):
        if kind is None or (kind == "M") != (kinds[0] == "M"):
            return np.empty(0), place
    if kinds[0] != "M":
        return np.array([float(cell) if "f" in kinds else int(cell) for cell in cells]), None
    quarters = [QUARTER.fullmatch(cell) for cell in cells]
    written = [f"{q[1]}-{3 * int(q[2]) - 2:02d}" if q else cell for q, cell in zip(quarters, cells, strict=True)]
    found = pd.to_datetime(pd.Series(written), format="ISO8601", utc=True, errors="coerce")
    if found.isna().any():
        return np.empty(0), int(np.argmax(found.isna().to_numpy()))
    return found.dt.tz_localize(None).to_numpy().astype("datetime64[us]"), None


def check_order(
    name: str, values: np.ndarray, rows: Sequence[int], path: str, of: str = "", counted: str = "row"
) -> None:
    """Raise DataError, naming two rows, where a time stands twice or comes before the one above it.

    of       names the series, if there are several; counted: what `rows` counts
    """
    for i in np.flatnonzero(np.diff(values.astype(float)) <= 0).tolist():
        here, there = rows[i], rows[i + 1]
        if values[i] == values[i + 1]:
            series = (
                "" if of else "; several series in one file: name the column that tells them apart, --series COLUMN"
            )
            raise DataError(
                f"'{path}' has {label(values[i], values)} twice in column '{name}'{of}, in {counted} {here} and {counted} {there}: "
                f"expected one {counted} a time step{series}; {NOT_TIME}"
            )
        raise DataError(
            f"'{path}' goes back in time in column '{name}'{of}, from {label(values[i], values)} in {counted} {here} to "
            f"{label(values[i + 1], values)} in {counted} {there}: sort by '{name}'; {NOT_TIME}"
        )


def gaps(name: str, values: np.ndarray) -> str:
    """A sentence on steps that are missing in a regular series of times, or on steps that differ; empty where there is neither."""
    if len(values) < 3:
        return ""
    places, back = _ordinals(values)
    steps = np.diff(places)
    sizes, counts = np.unique(steps, return_counts=True)
    decimal = values.dtype.kind == "f"  # such as years 1749.083, 1749.167, 1749.25: as equal as their digits allow
    step = np.median(steps) if decimal else sizes[np.argmax(counts)]
    multiples = steps / step
    consecutive = "the model treats the rows as consecutive steps"
    regular = 2 * np.count_nonzero(np.round(multiples) == 1) >= len(steps)
    if not regular or np.abs(multiples - np.round(multiples)).max() > (0.05 if decimal else 1e-6):
        return f"the steps of '{name}' differ in length: {consecutive}"
    lacking = np.round(multiples).astype(int) - 1
    if not lacking.any():
        return ""
    first = [
        label(back(places[i] + step * (1 + k)), values)
        for i in np.flatnonzero(lacking)[:SHOWN]
        for k in range(min(lacking[i], SHOWN))
    ][:SHOWN]
    count = lacking.sum()
    listed = ", ".join(first) + (", ..." if count > len(first) else "")
    verb = "is" if count == 1 else "are"
    return (
        f"'{name}' has {'a gap' if np.count_nonzero(lacking) == 1 else 'gaps'}: {listed} {verb} missing ({count} of "
        f"{len(values) + count} steps); {consecutive}: if the time between them counts, insert a row for each missing step, with "
        "its time and empty cells"
    )


def label(value: Any, values: np.ndarray) -> str:
    """A time as text: dates as short as all of them allow."""
    if values.dtype.kind != "M":
        return f"{value:.10g}" if values.dtype.kind == "f" else str(value)
    days = values.astype("datetime64[D]")
    if (days != values).any():
        whole = (values.astype("datetime64[m]") == values).all()
        return str(np.datetime64(value, "m" if whole else "s")).replace("T", " ")
    months = days.astype("datetime64[M]")
    return str(np.datetime64(value, "M" if (months == days).all() else "D"))


def _certain(sheet: Sheet, name: str) -> np.ndarray:
    values, wrong = parse(sheet.cells[name])
    if wrong is not None:
        raise DataError(
            f"column '{name}' of '{sheet.path}' holds {sheet.cells[name][wrong]!r} in row {sheet.rows[wrong]} (the header is row "
            f"1), which is not a time like those above it: expected a whole number, or a date such as 2020-03-04, 2020-03, 2020Q1 "
            f"or 2020-03-04 15:30; {NOT_TIME}"
        )
    return values


def _calendar(sheet: Sheet, free: dict[str, str]) -> Times | None:
    """The dates from a column of years and one of months (and days) or of quarters."""
    for parts in (("year", "month", "day"), ("year", "month"), ("year", "quarter")):
        if not all(part in free for part in parts):
            continue
        columns = [parse(sheet.cells[free[part]]) for part in parts]
        if any(wrong is not None or values.dtype.kind != "i" for values, wrong in columns):
            return None
        year, month = columns[0][0], columns[1][0]
        month = 3 * month - 2 if parts[1] == "quarter" else month
        day = columns[2][0] if len(parts) == 3 else np.ones_like(year)
        found = pd.to_datetime(pd.DataFrame({"year": year, "month": month, "day": day}), errors="coerce")
        if found.isna().any():
            return None
        return Times(", ".join(free[part] for part in parts), found.to_numpy().astype("datetime64[us]"))
    return None


def _kind(cell: str) -> str | None:
    """i: a whole number, f: a decimal, M: a date; None: neither."""
    if NUMBER.fullmatch(cell) and abs(float(cell)) < 2**53:
        return "i" if cell.lstrip("+-").isdigit() else "f"
    return "M" if DATE.fullmatch(cell) or QUARTER.fullmatch(cell) else None


def _ordinals(values: np.ndarray) -> tuple[np.ndarray, Callable[[float], Any]]:
    """The times on a scale where a regular series has equal steps (of dates: months, weekdays, days or seconds); its inverse."""
    if values.dtype.kind != "M":
        return values.astype(float), lambda place: values.dtype.type(place)
    days = values.astype("datetime64[D]")
    if (days != values).any():
        start = values[0]
        seconds = (values - start) / np.timedelta64(1, "s")
        return seconds, lambda place: start + np.timedelta64(round(place * 1e6), "us")
    months, day = days.astype("datetime64[M]"), np.timedelta64(1, "D")
    within = (days - months).astype(int)
    if (within == within[0]).all():
        return months.astype(float), lambda place: np.datetime64(round(place), "M") + int(within[0]) * day
    if ((days + day).astype("datetime64[M]") > months).all():  # ends of months
        return months.astype(float), lambda place: np.datetime64(round(place) + 1, "M") - day
    weekdays = np.busday_count(days[0], days).astype(float)
    every = 2 * np.count_nonzero(np.diff(weekdays) == 1) >= len(days) - 1
    if every and np.is_busday(days).all() and (days[-1] - days[0]).astype(int) > weekdays[-1]:
        return weekdays, lambda place: np.busday_offset(days[0], round(place))
    return days.astype(float), lambda place: np.datetime64(round(place), "D")
