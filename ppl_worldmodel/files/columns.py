"""Which columns of a file are which arguments of a program: by the call, by the model file, or by their names."""

import inspect
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.files.load import Loaded

TIME = "time"
NO_VALUES: Mapping[str, Any] = MappingProxyType({})


class Matched(NamedTuple):
    """Which columns are which arguments.

    arguments  {argument: the names of its columns, in the shape of one time step}
    time       the column that is the time, if the call or the model file says so; "" for none
    without    arguments that got neither a column nor a value
    """

    arguments: dict[str, np.ndarray]
    time: str | None
    without: tuple[str, ...]


def match(
    loaded: Loaded, header: Sequence[str], path: str, columns: Sequence[str] = (), given: Mapping[str, Any] = NO_VALUES
) -> Matched:
    """The columns of each argument of the program.

    columns  "ARGUMENT=COLUMN" or, for the program's first series, "COLUMN"; several columns of one argument (several series, or a
             vector): "ARGUMENT=X,Y,Z"; "time=COLUMN" says which one is the time ("time=": none). What is not said here is taken
             from the model file's own `columns`, and else by name: the argument y is the column y, or else the columns y_0, y_1,
             ... (y_0_1: entry [0, 1]), as `worldmodel simulate` writes.
    given    arguments that have a value already; one that is None is to have no column
    Raises DataError where a column is missing, no argument gets one, or one gets a column and a value.
    """
    takes = inspect.signature(loaded.model).parameters
    said = _asked(loaded, columns)
    none = {name for name, value in given.items() if value is None}
    written = {name: column for name, column in loaded.columns.items() if name not in said and name not in none}
    time = None
    if TIME not in takes:
        time = said.pop(TIME, None)
        default = written.pop(TIME, None)
        time = default if time is None and default in header else time
        if time and time not in header:
            raise DataError(f"'{path}' has no column '{time}' (for the time): its columns are {', '.join(header)}")
    explicit = {argument: _flat(names) for argument, names in (written | said).items()}
    _check(takes, explicit, header, path)
    used = {name for names in explicit.values() for name in np.ravel(names)} | {time}
    open_ = [name for name in _open(loaded) if name not in explicit and name not in none]
    alike = _alike([name for name in header if name not in used], open_)
    if not explicit and not alike and len(header) == len(open_) == 1:
        alike = {open_[0]: _flat(header[0])}
    if not explicit and not alike:
        raise DataError(
            f"'{path}' has the columns {', '.join(header)}, and the program takes {', '.join(open_) or 'no series'}: "
            "say which is which with --column ARGUMENT=COLUMN (several columns: ARGUMENT=X,Y,Z)"
        )
    found = explicit | alike
    for name in set(given) & set(found):
        listed = ", ".join(np.ravel(found[name]))
        raise DataError(
            f"the argument '{name}' is given twice, by --set and by '{path}' (column {listed}): leave --set {name} out, or give "
            f"the data in a file without that column"
        )
    without = tuple(name for name in open_ if name not in found and name not in given)
    return Matched({name: found[name] for name in takes if name in found}, time, without)


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
    """{argument: its columns} according to the call."""
    first = next(iter(_open(loaded)), None)
    if first is None and any("=" not in entry for entry in columns):
        raise DataError(
            "the program takes no series (every argument has a value of its own): give it one, observations=None"
        )
    pairs = [
        (name.strip(), column) if equals else (str(first), name)
        for name, equals, column in (entry.partition("=") for entry in columns)
    ]
    asked = dict(pairs)
    twice = [argument for argument in asked if sum(argument == other for other, _ in pairs) > 1]
    if twice:
        raise DataError(
            f"--column names the argument '{twice[0]}' twice: several columns of one argument are {twice[0]}=X,Y,Z"
        )
    return asked


def _alike(header: Sequence[str], arguments: Sequence[str]) -> dict[str, np.ndarray]:
    """{argument: names of its columns}, matched by name."""
    found = {}
    for argument in arguments:
        for name in (argument, argument.removesuffix("s")):
            if name in header:
                found[argument] = _flat(name)
                break
            if (grid := _grid(name, header)) is not None:
                found[argument] = grid
                break
    return found


def _grid(name: str, header: Sequence[str]) -> np.ndarray | None:
    """The columns name_0, name_1, ... (or name_0_0, ...) as an array of names; None where there are none, or some are missing."""
    found = [re.fullmatch(rf"{re.escape(name)}((?:_\d+)+)", column) for column in header]
    places = [tuple(map(int, match[1].split("_")[1:])) for match in found if match]
    if not places or len({len(place) for place in places}) != 1:
        return None
    shape = tuple(int(size) + 1 for size in np.max(places, axis=0))
    if np.prod(shape) != len(places):
        return None
    names = header_of(name, shape)
    return np.array(names, dtype=object).reshape(shape) if set(names) <= set(header) else None


def _check(takes: Any, wanted: dict[str, np.ndarray], header: Sequence[str], path: str) -> None:
    for argument, names in wanted.items():
        if argument not in takes:
            raise DataError(f"the program takes no argument '{argument}': it takes {', '.join(takes)}")
        for name in np.ravel(names):
            if name not in header:
                raise DataError(
                    f"'{path}' has no column '{name}' (for the argument '{argument}'): "
                    f"its columns are {', '.join(header)}; choose with --column"
                )
        if len(set(np.ravel(names))) < names.size:
            raise DataError(f"--column names a column of the argument '{argument}' twice: {', '.join(np.ravel(names))}")
