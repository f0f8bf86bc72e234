"""A strict reading of a CSV file by definition, with Python's csv and exact decimals: its values, or None where it has a fault.

For files of a program with the arguments y and x. It shares no code with the package.
"""

import csv
import io
import re
from datetime import date
from decimal import Decimal, InvalidOperation
from itertools import pairwise

ABSENT = {"", "na", "n/a", "#n/a", "nan", "null", "none"}
Column = list[float | None]


def oracle(raw: bytes) -> tuple[dict[str, Column], list[Decimal | date] | None] | None:
    """({argument: its values, None where missing}, the times or None), or None if the file is to be refused."""
    table = _table(raw)
    if table is None:
        return None
    header, rows = table
    column = {name: [row[i] for row in rows] for i, name in enumerate(header)}
    values = {name: [_value(cell) for cell in column[name]] for name in ("y", "x") if name in column}
    if not values or any("wrong" in found or all(v is None for v in found) for found in values.values()):
        return None
    times = _times({name.lower(): cells for name, cells in column.items() if name not in values})
    return None if times == "wrong" else (values, times)  # type: ignore[return-value]


def _table(raw: bytes) -> tuple[list[str], list[list[str]]] | None:
    try:
        text = raw.decode("utf-8-sig")
        records = list(csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True))
    except (UnicodeDecodeError, csv.Error):
        return None
    lines = re.split("\r\n|\n|\r", text)
    lines = lines[:-1] if not lines[-1] else lines
    if "\0" in text or len(lines) != len(records) or not lines or not lines[0].strip(" \t"):
        return None
    blank = [not line.strip() for line in lines]
    width = len(records[0])
    if width == 1 and (blank[-1] or re.search("[;|\t]", records[0][0].strip(" \t"))):
        return None
    while blank[-1]:
        blank.pop()
    if width > 1 and any(blank):
        return None
    kept = [record if record else [""] for record in records[: len(blank)]]
    cells = [[cell.strip(" \t\r\n") for cell in record] for record in kept]
    header = cells[0]
    if any(len(row) != width for row in cells) or len(cells) == 1 or lines[0].lstrip().startswith("#"):
        return None
    if len(set(header)) < width or "" in header[1:] or header == [""] or all(map(_is_no_name, header)):
        return None
    return header, cells[1:]


def _value(cell: str) -> float | str | None:
    """The number in a cell; None where it is missing, "wrong" where it is neither."""
    if cell.lower() in ABSENT:
        return None
    exact = _decimal(cell)
    if exact is None:
        return "wrong"
    value = float(exact)
    whole = not re.search("[.eE]", cell)
    if abs(value) == float("inf") or (value == 0 and exact != 0) or (whole and abs(exact) >= 2**53):
        return "wrong"
    return value


def _decimal(cell: str) -> Decimal | None:
    if not cell.isascii() or "_" in cell or cell != cell.strip() or re.search("[a-df-zA-DF-Z]", cell):
        return None
    try:
        return Decimal(cell)
    except InvalidOperation:
        return None


def _is_no_name(name: str) -> bool:
    words = ABSENT | {"true", "false", "inf", "infinity"}
    number = name.isascii() and "_" not in name and bool(re.fullmatch(r"[+-]?[\d.,]+([eE][+-]?\d+)?", name))
    return name.lower().lstrip("+-") in words or name.lower() in ABSENT or number or bool(re.match(r"\d{4}-\d", name))


def _times(free: dict[str, list[str]]) -> list | str | None:
    """The times of the rows: of the column that is called year or date, or of one that holds dates only."""
    for name in ("date", "year"):
        if name in free:
            return _ordered(free[name], refuse=True)
    for name, cells in free.items():
        found = _ordered(cells, refuse=False)
        if found and (isinstance(found[0], date) or name in ("", "t")):
            return found
    return None


def _ordered(cells: list[str], *, refuse: bool) -> list | str | None:
    times = [_day(cell) or _decimal(cell) for cell in cells]
    alike = len({isinstance(time, date) for time in times}) == 1 and None not in times
    small = alike and all(isinstance(time, date) or abs(float(time)) < 2**53 for time in times)
    if small and all(here < there for here, there in pairwise(times)):
        return times
    return "wrong" if refuse else None


def _day(cell: str) -> date | None:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}(-[0-9]{2})?", cell):
        return None
    try:
        return date.fromisoformat(cell if len(cell) == 10 else f"{cell}-01")
    except ValueError:
        return None
