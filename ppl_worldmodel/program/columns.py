"""Which columns of a CSV file are which arguments of the program?  An empty cell is a missing value (NaN)."""

import inspect
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.program.load import Loaded


def read_csv(loaded: Loaded, path: str, columns: Sequence[str] = ()) -> dict[str, Any]:
    """The program's data from a CSV file with a header, {argument: (time,)}; several columns of one argument: (time, column).

    columns  "ARGUMENT=COLUMN" or, for a program with one series, "COLUMN"; several columns of one argument (several series, or a
             vector): "ARGUMENT=X,Y,Z". Without them, the model file's own `columns`, and then arguments that are named like
             columns: y is the column y, or else the columns y_0, y_1, ... (y_0_1: entry [0, 1]), as `worldmodel simulate` writes.
    Raises DataError where the file or a column is missing, or a column is not numeric.
    """
    try:
        table = pd.read_csv(path, skipinitialspace=True)
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read '{path}' as CSV: {error}") from error
    header = [str(name) for name in table.columns]
    if columns or loaded.columns:
        wanted = {argument: _flat(names) for argument, names in _asked(loaded, columns).items()}
    else:
        wanted = _alike(header, _open(loaded), path)
    _check(loaded, wanted, header, path)
    return {argument: _array(table, names, path) for argument, names in wanted.items()}


def header_of(name: str, shape: tuple[int, ...]) -> list[str]:
    """The columns of a variable whose entries at each time step have this shape: y, or y_0, y_1, ..., or y_0_0, y_0_1, ..."""
    return ["_".join([name, *map(str, index)]) for index in np.ndindex(*shape)]


def _open(loaded: Loaded) -> list[str]:
    """The arguments that a column may stand for: those without a default, or with the default None."""
    arguments = inspect.signature(loaded.model).parameters.items()
    return [
        name for name, argument in arguments if argument.default is None or argument.default is inspect.Parameter.empty
    ]


def _flat(names: str) -> np.ndarray:
    """One name as it is, several (X,Y,Z) as a vector of them."""
    each = [name.strip() for name in names.split(",")]
    return np.array(each[0] if len(each) == 1 else each, dtype=object)


def _asked(loaded: Loaded, columns: Sequence[str]) -> dict[str, str]:
    """{argument: its columns} as the call says, else as the model file says."""
    if not columns:
        return loaded.columns
    first = next(iter(_open(loaded)), None)
    if first is None and any("=" not in entry for entry in columns):
        raise DataError(
            "the program takes no series (no argument without a value of its own): give it one, observations=None"
        )
    pairs = [entry.partition("=")[::2] if "=" in entry else (str(first), entry) for entry in columns]
    twice = [argument for argument in dict(pairs) if sum(argument == other for other, _ in pairs) > 1]
    if twice:
        raise DataError(
            f"--column names the argument '{twice[0]}' twice: several columns of one argument are {twice[0]}=X,Y,Z"
        )
    return dict(pairs)


def _alike(header: list[str], arguments: list[str], path: str) -> dict[str, np.ndarray]:
    """{argument: names of its columns} by their names."""
    wanted = {}
    for argument in arguments:
        for name in (argument, argument.removesuffix("s")):
            if name in header:
                wanted[argument] = _flat(name)
                break
            if (grid := _grid(name, header)) is not None:
                wanted[argument] = grid
                break
    if not wanted and len(arguments) == 1 and len(header) == 1:
        wanted = {arguments[0]: _flat(header[0])}
    if not wanted:
        raise DataError(
            f"'{path}' has the columns {', '.join(header)}, and the program takes {', '.join(arguments) or 'no series'}: "
            "say which is which with --column ARGUMENT=COLUMN (several columns: ARGUMENT=X,Y,Z)"
        )
    return wanted


def _grid(name: str, header: list[str]) -> np.ndarray | None:
    """The columns name_0, name_1, ... (or name_0_0, ...) as an array of names; None where there are none, or some are missing."""
    found = [re.fullmatch(rf"{re.escape(name)}((?:_\d+)+)", column) for column in header]
    places = [tuple(map(int, match[1].split("_")[1:])) for match in found if match]
    if not places or len({len(place) for place in places}) != 1:
        return None
    shape = tuple(int(size) + 1 for size in np.max(places, axis=0))
    names = header_of(name, shape)
    return np.array(names, dtype=object).reshape(shape) if set(names) <= set(header) else None


def _check(loaded: Loaded, wanted: dict[str, np.ndarray], header: list[str], path: str) -> None:
    takes = inspect.signature(loaded.model).parameters
    for argument, names in wanted.items():
        if argument not in takes:
            raise DataError(f"the program takes no argument '{argument}': it takes {', '.join(takes)}")
        for name in np.ravel(names):
            if name not in header:
                raise DataError(
                    f"'{path}' has no column '{name}' (for the argument '{argument}'): "
                    f"its columns are {', '.join(header)}; choose with --column"
                )


def _array(table: pd.DataFrame, names: np.ndarray, path: str) -> np.ndarray:
    """The columns as an array with the leading axis time."""
    for name in np.ravel(names):
        if not pd.api.types.is_numeric_dtype(table[name]):
            numbers = pd.to_numeric(table[name], errors="coerce")
            row = int(np.argmax((numbers.isna() & table[name].notna()).to_numpy()))
            raise DataError(
                f"column '{name}' of '{path}' holds {table[name].iloc[row]!r} in row {row + 2} (the header is row 1): "
                f"expected a number, or an empty cell for a missing value"
            )
    values = np.stack([table[name].to_numpy() for name in np.ravel(names)], axis=-1)
    return values.reshape(len(table), *names.shape)
