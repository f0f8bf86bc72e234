"""Strict reading of a CSV file (RFC 4180) as text: a header and rows of as many cells, or an error that names the row.

Python's own `csv` does the reading. This module adds that nothing is passed over: not a blank line, not a field too many, not a
quote that swallows the rows behind it.
"""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ppl_worldmodel.errors import DataError

SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
MISSING = frozenset(("", "na", "n/a", "#n/a", "nan", "null", "none"))
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# A cell that is a value, and not the name of a column.
VALUE = re.compile(
    r"[+-]?(inf(inity)?|true|false|[\d.,]+(e[+-]?\d+)?)|\d{4}-\d\d?(-\d\d?.*)?", re.ASCII | re.IGNORECASE
)
EXCEL = "in a spreadsheet: 'CSV UTF-8 (comma delimited)'"


class Sheet(NamedTuple):
    """A file's cells as text without spaces around them. Row numbers count the header as row 1, as a spreadsheet does.

    header  the names of the columns; only the first may be empty (row labels)
    cells   {name: its cells}, each (row,)
    rows    the row number of each, (row,)
    blank   numbers of the blank lines that stand for a missing value (in a file of one column)
    values  whether the header looks like a row of values
    """

    path: str
    header: tuple[str, ...]
    cells: dict[str, list[str]]
    rows: list[int]
    blank: tuple[int, ...]
    values: bool


def read_sheet(path: str) -> Sheet:
    """The cells of a CSV file. Raises DataError, naming the row, for anything but a header and rows of as many cells."""
    records, lines = _records(path)
    if not any(line.strip() for line in lines):
        raise DataError(f"'{path}' is empty: expected a header, and below it one row a time step")
    header, width = records[0], len(records[0])
    _check_header(header, lines[0], path)
    rows, kept, blank = [], [], []
    last = max(i for i, line in enumerate(lines) if line.strip())
    for i, (record, line) in enumerate(zip(records[1:], lines[1:], strict=True), start=2):
        if line.strip():
            if len(record) != width:
                raise DataError(_miscounted(record, line, i, width, path))
        elif i > last + 1 and width > 1:
            continue  # blank lines at the end hold no cells
        elif i > last + 1:
            raise DataError(
                f"'{path}' ends in a blank line, row {i}: delete it, or write NA there if the last value is missing"
            )
        elif width > 1:
            raise DataError(
                f"row {i} of '{path}' is blank: delete it, or write {',' * (width - 1)} if all of this step is missing"
            )
        else:
            record = [""]
            blank.append(i)
        kept.append(record)
        rows.append(i)
    if not kept:
        raise DataError(f"'{path}' has a header ({', '.join(header)}) and no rows: expected one row a time step")
    cells = {name: list(column) for name, column in zip(header, zip(*kept, strict=True), strict=True)}
    return Sheet(path, tuple(header), cells, rows, tuple(blank), _looks_like_values(header))


def is_missing(cell: str) -> bool:
    """Does a cell stand for a missing value?"""
    return cell.lower() in MISSING


def _records(path: str) -> tuple[list[list[str]], list[str]]:
    """The cells of each line, and the lines."""
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror}") from error
    if b"\x00" in raw:
        raise DataError(f"'{path}' is not plain text (it holds zero bytes, as UTF-16 does): save it as UTF-8, {EXCEL}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"row {line} of '{path}' is not UTF-8 ({error.reason}): save it as UTF-8, {EXCEL}") from error
    lines = io.StringIO(text, newline="").readlines()
    reader = csv.reader(lines, strict=True, skipinitialspace=True)
    records: list[list[str]] = []
    try:
        for record in reader:
            records.append([cell.strip(" \t\r\n") for cell in record])
            if reader.line_num != len(records):
                raise DataError(
                    f"a cell of '{path}' runs over rows {len(records)} to {reader.line_num}: is a quote not closed? "
                    "A cell holds no line break"
                )
    except csv.Error as error:
        raise DataError(
            f"row {len(records) + 1} of '{path}' is not a valid CSV row ({error}): are the quotes in pairs?"
        ) from error
    return records, lines


def _check_header(header: list[str], line: str, path: str) -> None:
    if not line.strip():
        raise DataError(f"row 1 of '{path}' is blank: expected the header, the names of the columns")
    if line.lstrip().startswith("#"):
        raise DataError(f"row 1 of '{path}' is a comment ({line.strip()}): delete it; row 1 must be the header")
    for separator, called in SEPARATORS.items():
        if len(header) == 1 and separator in header[0]:
            raise DataError(
                f"'{path}' is separated by {called} (its header is {line.strip()!r}): expected commas, and decimal points. In "
                f"Python: pandas.read_csv('{path}', sep={separator!r}, decimal=',').to_csv('new.csv', index=False)"
            )
    if _looks_like_values(header):
        return  # reported where it is known whether the call names these columns
    for place, name in enumerate(header, start=1):
        if not name and (place > 1 or len(header) == 1):
            comma = " (a trailing comma?)" if place == len(header) > 1 else ""
            raise DataError(f"column {place} of '{path}' has no name in the header{comma}: name it, or delete it")
    check_different(header, path)


def check_different(header: Sequence[str], path: str) -> None:
    """Raise DataError if two columns have one name."""
    for place, name in enumerate(header, start=1):
        if name in header[: place - 1]:
            raise DataError(
                f"'{path}' has two columns '{name}', {header.index(name) + 1} and {place}: give each its own name"
            )


def no_header(sheet: Sheet) -> DataError:
    """The error for a first row that holds values where names are expected."""
    first = ",".join(sheet.header)
    return DataError(
        f"'{sheet.path}' has no header: its first row holds values ({first}): write a first row with the names of the columns "
        "(if these are the names, say which columns are meant with --column ARGUMENT=COLUMN)"
    )


def _looks_like_values(header: list[str]) -> bool:
    return any(header) and all(is_missing(name) or VALUE.fullmatch(name) for name in header)


def _miscounted(record: list[str], line: str, row: int, width: int, path: str) -> str:
    """The message for a row whose number of cells is not that of the header."""
    told = f"row {row} of '{path}' has {len(record)} cells, and the header names {width}: {line.strip()!r}"
    if len(record) == width + 1 and not record[-1]:
        return f"{told}; is there a trailing comma?"
    if ";" in line or "\t" in line:
        return f"{told}; expected commas between cells, not semicolons or tabs"
    if len(record) > width and all(cell.lstrip("+-").isdigit() for cell in record[-2:]):
        return f"{told}; a decimal comma or a thousands separator? Write 1.5 and 1234, not 1,5 and 1,234"
    return f"{told}; write every cell, an empty one for a missing value"
