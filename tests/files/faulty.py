"""Random CSV files, good ones and faulty ones: a small table, written down, to which faults are done by name."""

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np

Rng = np.random.Generator
ALPHABET = list(',,;"\n\r\t .0123456789eE+-aNy#|_\u00e9')
ODD = ["inf", "-inf", "1e400", "1e-400", "True", "much", "1_000", "1 000", "0x1f", "5%", "--1", "1.2.3", "9007199254740993", "'3'",
       "\uff13", "\N{MINUS SIGN}2", "1e", "$4", "12:30", "n.a.", "-", "1.234.567"]  # fmt: skip


class Draft:
    """A table that is about to be written: its header, its rows of cells, and how they are joined."""

    def __init__(self, rng: Rng):
        count = int(rng.integers(1, 13))
        names = [["y"], ["y", "x"], ["x", "y", "spare"], ["y", "note"]][rng.integers(4)]
        columns = [_cells(rng, name, count) for name in names]
        time = rng.integers(3) if len(names) > 1 else 0
        if time:
            start = int(rng.integers(1800, 2100))
            days = [date(start, 1, 1) + timedelta(days=int(i)) for i in range(count)]
            columns.insert(
                0, [str(start + i) for i in range(count)] if time == 1 else [day.isoformat() for day in days]
            )
            names = ["year" if time == 1 else "date", *names]
        self.header, self.rows = list(names), [list(row) for row in zip(*columns, strict=True)]
        self.comma, self.line = ",", ["\n", "\r\n", "\r"][rng.choice(3, p=[0.8, 0.15, 0.05])]

    def text(self) -> str:
        lines = [self.comma.join(cells) for cells in [self.header, *self.rows]]
        return self.line.join(lines) + self.line


def _cells(rng: Rng, name: str, count: int) -> list[str]:
    if name in ("note", "spare"):
        return [["calm", "wet, cold", "", "7"][i] if i != 1 else '"wet, cold"' for i in rng.integers(4, size=count)]
    if rng.uniform() < 0.5:
        cells = [str(value) for value in rng.integers(-3, 100, size=count)]
    else:
        cells = [f"{value:.4g}" for value in rng.normal(size=count) * 10.0 ** rng.integers(-8, 9)]
    gaps = rng.uniform(size=count) < rng.choice([0.0, 0.2])
    missing = ["", "NA", "nan"][rng.integers(3)]
    lone = missing or '""'  # an empty line would be blank
    return [lone if gap else cell for cell, gap in zip(cells, gaps, strict=True)]


def _cell(rng: Rng, draft: Draft, text: str) -> None:
    draft.rows[rng.integers(len(draft.rows))][rng.integers(len(draft.header))] = text


def _pick(rng: Rng, draft: Draft) -> list[str]:
    return draft.rows[rng.integers(len(draft.rows))]


def _each(draft: Draft, change: Callable[[str], str]) -> None:
    draft.rows = [[change(cell) for cell in row] for row in draft.rows]


def _swap(rng: Rng, draft: Draft) -> None:
    i, j = rng.integers(len(draft.rows), size=2)
    draft.rows[i], draft.rows[j] = draft.rows[j], draft.rows[i]


def _set(draft: Draft, **values: object) -> None:
    for name, value in values.items():
        setattr(draft, name, value)


# Faults of the table, each by its name.
OF_TABLE: dict[str, Callable[[Rng, Draft], object]] = {
    "none": lambda rng, draft: None,
    "odd cell": lambda rng, draft: _cell(rng, draft, str(rng.choice(ODD))),
    "decimal comma, quoted": lambda rng, draft: _cell(rng, draft, '"1,5"'),
    "decimal comma, bare": lambda rng, draft: _cell(rng, draft, "1,5"),
    "decimal commas everywhere": lambda rng, draft: _each(draft, lambda cell: cell.replace(".", ",")),
    "quoted cells": lambda rng, draft: _each(draft, lambda cell: cell if '"' in cell else f'"{cell}"'),
    "spaces": lambda rng, draft: _each(draft, lambda cell: f" {cell} "),
    "empty cell": lambda rng, draft: _cell(rng, draft, ""),
    "fraction": lambda rng, draft: _cell(rng, draft, "1.7"),
    "trailing comma in a row": lambda rng, draft: _pick(rng, draft).append(""),
    "trailing comma in all rows": lambda rng, draft: [row.append("") for row in draft.rows],
    "trailing comma in the header": lambda rng, draft: draft.header.append(""),
    "extra field": lambda rng, draft: _pick(rng, draft).insert(0, "3"),
    "field left out": lambda rng, draft: _pick(rng, draft).pop(),
    "blank line": lambda rng, draft: draft.rows.insert(int(rng.integers(len(draft.rows))), []),
    "blank end": lambda rng, draft: draft.rows.append([]),
    "row twice": lambda rng, draft: draft.rows.append(list(draft.rows[-1])),
    "row lost": lambda rng, draft: draft.rows.pop(int(rng.integers(len(draft.rows)))),
    "rows swapped": _swap,
    "header twice": lambda rng, draft: draft.rows.insert(0, list(draft.header)),
    "no header": lambda rng, draft: _set(draft, header=draft.rows[0], rows=draft.rows[1:]),
    "header only": lambda rng, draft: _set(draft, rows=[]),
    "two columns of one name": lambda rng, draft: _set(draft, header=[draft.header[-1], *draft.header[1:]]),
    "unnamed column": lambda rng, draft: _set(draft, header=[*draft.header[:-1], ""]),
    "unknown column": lambda rng, draft: _set(draft, header=[name.replace("y", "why") for name in draft.header]),
    "semicolons": lambda rng, draft: _set(draft, comma=";"),
    "tabs": lambda rng, draft: _set(draft, comma="\t"),
    "comment": lambda rng, draft: _set(draft, header=["# " + draft.header[0], *draft.header[1:]]),
    "quote not closed": lambda rng, draft: _cell(rng, draft, '"3'),
    "quote within": lambda rng, draft: _cell(rng, draft, '3"4'),
    "line break in a cell": lambda rng, draft: _cell(rng, draft, '"3\n4"'),
}


def _random_characters(rng: Rng, text: str) -> str:
    letters = list(text)
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(len(letters) + 1))
        letters[place : place + int(rng.integers(2))] = list(str(rng.choice(ALPHABET))) if rng.uniform() < 0.7 else []
    return "".join(letters)


# Faults of what is written.
OF_TEXT: dict[str, Callable[[Rng, str], bytes]] = {
    "random characters": lambda rng, text: _random_characters(rng, text).encode(),
    "byte order mark": lambda rng, text: text.encode("utf-8-sig"),
    "utf-16": lambda rng, text: text.encode("utf-16"),
    "latin-1": lambda rng, text: text.replace("y", "\u00fc").encode("latin-1"),
    "zero byte": lambda rng, text: text.encode() + b"\x00",
    "cut off": lambda rng, text: text.encode()[: int(rng.integers(len(text) + 1))],
    "no last line break": lambda rng, text: text.rstrip().encode(),
    "empty": lambda rng, text: b"",
}


def faulty(rng: Rng) -> tuple[str, bytes]:
    """The name of a fault and a file that has it."""
    names = [*OF_TABLE, *OF_TEXT, *["random characters"] * 9]
    name, draft = names[rng.integers(len(names))], Draft(rng)
    if name in OF_TEXT:
        return name, OF_TEXT[name](rng, draft.text())
    OF_TABLE[name](rng, draft)
    return name, draft.text().encode()
