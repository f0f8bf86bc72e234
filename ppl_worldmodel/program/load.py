"""Where does a model come from?  A shipped name, or the path of the user's own file; and its data, shipped, simulated or a CSV."""

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from ppl_worldmodel.catalogue import shipped
from ppl_worldmodel.errors import DataError, LoadError
from ppl_worldmodel.program.simulate import as_data, simulate


class Loaded(NamedTuple):
    """A model file.  name, the program, its source text and docstring, and what the file says beside it.

    truth    parameter values that the simulated data come from, or None where nobody knows them
    coords   labels of dimensions, {"state": [...], "time": [...]}
    columns  {argument of the program: column of a CSV}
    units    {site or dimension: unit}, for the axes of figures
    """

    name: str
    model: Callable
    source: str
    about: str
    truth: dict[str, np.ndarray] | None
    coords: dict[str, list]
    columns: dict[str, str]
    units: dict[str, str]
    module: ModuleType


def load(name_or_path: str) -> Loaded:
    """The model of a shipped name ("nile") or of the user's own file ("path/to/model.py"), which needs only a function `model`."""
    path = Path(name_or_path)
    if path.suffix == ".py" or "/" in name_or_path:
        module, name = _from_file(path), path.stem
    elif name_or_path in shipped():
        module, name = importlib.import_module(f"ppl_worldmodel.models.{name_or_path}"), name_or_path
    else:
        raise LoadError(
            f"there is no shipped model '{name_or_path}': give one of {', '.join(shipped())}, "
            f"or the path of a file that ends in .py"
        )
    model = getattr(module, "model", None)
    if not callable(model):
        functions = [
            key
            for key, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__
        ]
        raise LoadError(
            f"{name_or_path} has no function `model`: name the NumPyro program `model` "
            f"(the file's functions: {', '.join(functions) or 'none'})"
        )
    truth = getattr(module, "truth", None)
    coords = {key: [_plain(label) for label in labels] for key, labels in getattr(module, "coords", {}).items()}
    return Loaded(
        name, model, inspect.getsource(module), inspect.getdoc(module) or "",
        None if truth is None else {key: np.asarray(value) for key, value in truth.items()},
        coords, dict(getattr(module, "columns", {})), dict(getattr(module, "units", {})), module,
    )  # fmt: skip


def default_data(loaded: Loaded, seed: int, num_steps: int | None = None) -> tuple[dict[str, Any], str]:
    """What the program is given where the user gives nothing, and a sentence that says where it comes from."""
    data = getattr(loaded.module, "data", None)
    if callable(data):
        return dict(data()), f"the data that come with the model '{loaded.name}'"
    if loaded.truth is None:
        raise DataError(
            f"the model '{loaded.name}' has neither data nor a truth to simulate from: give --data FILE.csv"
        )
    arguments = simulation_arguments(loaded, num_steps)
    sites = simulate(loaded.model, loaded.truth, jax.random.key(seed), **arguments)
    # What only sets the length of a simulation is settled once there are data.
    kept = {name: value for name, value in arguments.items() if name != "num_steps"}
    return as_data(loaded.model, sites, kept), f"simulated from the program at its truth, seed {seed}"


def read_csv(loaded: Loaded, path: str, columns: Sequence[str] = ()) -> dict[str, Any]:
    """The program's data from a CSV file with a header; an empty cell is a missing value (NaN).

    columns  "ARGUMENT=COLUMN" or, for a program with one series, "COLUMN"; several columns of one vector: "ARGUMENT=X,Y".
             Without them, the model file's own `columns`, and then arguments that are named like columns.
    Raises DataError where the file or a column is missing, or a column is not numeric.
    """
    try:
        table = pd.read_csv(path, skipinitialspace=True)
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read '{path}' as CSV: {error}") from error
    arguments = [
        name for name, argument in inspect.signature(loaded.model).parameters.items() if argument.default is None
    ]
    wanted = _wanted(loaded, list(table.columns), arguments, columns, path)
    return {argument: _series(table, names, path) for argument, names in wanted.items()}


def check_arguments(model: Callable, data: Mapping[str, Any]) -> None:
    """Raise DataError unless the program can be called with these keyword arguments."""
    try:
        inspect.signature(model).bind(**data)
    except TypeError as error:
        takes = ", ".join(inspect.signature(model).parameters)
        raise DataError(f"the program cannot be called with {sorted(data)}: {error}; it takes {takes}") from error


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise LoadError(f"there is no file '{path}': give the path of a Python file with a function `model`")
    spec = importlib.util.spec_from_file_location(f"_worldmodel_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise LoadError(
            f"'{path}' is not valid Python: {error.msg}, line {error.lineno}: {(error.text or '').strip()}"
        ) from error
    except Exception as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = f", line {frames[-1].lineno}: {frames[-1].line}" if frames else ""
        raise LoadError(f"'{path}' fails when it is imported: {type(error).__name__}: {error}{line}") from error
    return module


def simulation_arguments(loaded: Loaded, num_steps: int | None = None) -> dict[str, Any]:
    """What a simulation of the program is given: its `simulation_inputs`, or its length, if one is asked for."""
    takes = {} if num_steps is None else {"num_steps": num_steps}
    if hasattr(loaded.module, "simulation_inputs"):
        return dict(loaded.module.simulation_inputs(**takes))
    if takes and "num_steps" not in inspect.signature(loaded.model).parameters:
        raise DataError(f"the model '{loaded.name}' takes no `num_steps`: its length cannot be chosen")
    return takes


def _wanted(
    loaded: Loaded, header: list[str], arguments: list[str], columns: Sequence[str], path: str
) -> dict[str, list[str]]:
    """{argument: names of its columns}, checked against the header."""
    if columns:
        pairs = [
            entry.partition("=")[::2] if "=" in entry else (arguments[0] if arguments else "", entry)
            for entry in columns
        ]
        wanted = {argument: names.split(",") for argument, names in pairs}
    elif loaded.columns:
        wanted = {argument: names.split(",") for argument, names in loaded.columns.items()}
    else:
        wanted = {name: [column] for name in arguments for column in (name, name.removesuffix("s")) if column in header}
        if not wanted and len(arguments) == 1 and len(header) == 1:
            wanted = {arguments[0]: header}
    if not wanted:
        raise DataError(
            f"'{path}' has the columns {', '.join(header)}, and the program takes {', '.join(arguments)}: "
            "say which is which with --column ARGUMENT=COLUMN"
        )
    for argument, names in wanted.items():
        if argument not in inspect.signature(loaded.model).parameters:
            raise DataError(
                f"the program takes no argument '{argument}': it takes {', '.join(inspect.signature(loaded.model).parameters)}"
            )
        for name in names:
            if name not in header:
                raise DataError(
                    f"'{path}' has no column '{name}' (for the argument '{argument}'): "
                    f"its columns are {', '.join(header)}; choose with --column"
                )
    return wanted


def _series(table: pd.DataFrame, names: list[str], path: str) -> np.ndarray:
    for name in names:
        if not pd.api.types.is_numeric_dtype(table[name]):
            numbers = pd.to_numeric(table[name], errors="coerce")
            row = int(np.argmax((numbers.isna() & table[name].notna()).to_numpy()))
            raise DataError(
                f"column '{name}' of '{path}' holds {table[name].iloc[row]!r} in row {row + 2} (the header is row 1): "
                f"expected a number, "
                "or an empty cell for a missing value"
            )
    values = [table[name].to_numpy() for name in names]
    return values[0] if len(values) == 1 else np.stack([value.astype(float) for value in values], axis=-1)


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic) else label
