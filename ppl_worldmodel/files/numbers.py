"""Parsing a column of text as numbers: each cell is a finite number, or missing (NaN), or the column is refused.

A number is written as 12, -1.5, .5 or 1e-3. An empty cell, NA, N/A, NaN, null and None stand for a missing value.
"""

import re

import numpy as np

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.files.csv import NUMBER, Sheet, is_missing

WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
LARGEST = 2**53  # up to here a float64 tells all whole numbers apart


def numbers(sheet: Sheet, name: str) -> np.ndarray:
    """The column as (row,): int64 where every cell is a whole number, else float64 with NaN where a cell is missing.

    Raises DataError, naming the row, for a cell that is neither, or whose number does not fit a float64.
    """
    found = [_number(cell, sheet, name, i) for i, cell in enumerate(sheet.cells[name])]
    return np.array(found, dtype=np.int64 if all(isinstance(value, int) for value in found) else np.float64)


def _number(cell: str, sheet: Sheet, name: str, place: int) -> int | float:
    if WHOLE.fullmatch(cell):
        if abs(float(cell)) < LARGEST:
            return int(float(cell))
        raise refusal(sheet, name, place, "a number of at most 15 digits (a float64 does not hold more)")
    if NUMBER.fullmatch(cell):
        value = float(cell)
        if np.isinf(value):
            raise refusal(sheet, name, place, "a number that a float64 can hold (below 1.8e308)")
        if value == 0.0 and re.search("[1-9]", re.split("[eE]", cell)[0]):
            raise refusal(
                sheet, name, place, "a number that a float64 can hold (it is so small that it would become 0)"
            )
        return value
    if is_missing(cell):
        return np.nan
    raise refusal(sheet, name, place, _expected(cell))


def refusal(sheet: Sheet, name: str, place: int, expected: str) -> DataError:
    """The error for the cell at this place of a column."""
    return DataError(
        f"column '{name}' of '{sheet.path}' holds {sheet.cells[name][place]!r} in row {sheet.rows[place]} (the header is row 1): "
        f"expected {expected}"
    )


def _expected(cell: str) -> str:
    low = cell.lower().lstrip("+-")
    if low in ("inf", "infinity", "\N{INFINITY}"):
        return "a finite number; if the value is unknown, leave the cell empty"
    if low in ("true", "false", "yes", "no"):
        return "a number: write 1 for true and 0 for false"
    if re.fullmatch(r"\d+,\d+", low):
        return "a number: a decimal comma or a thousands separator? Write 1.5 and 1234, not 1,5 and 1,234"
    if re.fullmatch(r"\d{1,3}([ ,.'_\u2019\u00a0\u202f]\d{3})+([.,]\d*)?", low):
        return "a number without thousands separators, with a decimal point: 1234.5"
    if cell.startswith("\N{MINUS SIGN}"):
        return "a number: write the minus as a hyphen, -1"
    return "a number, or an empty cell for a missing value"
