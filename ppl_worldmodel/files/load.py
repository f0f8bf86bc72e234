"""Loading a model, by a shipped name or the path of the user's own file; and its default data, shipped or simulated."""

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np

from ppl_worldmodel.errors import DataError, LoadError
from ppl_worldmodel.files.catalogue import shipped
from ppl_worldmodel.program.arguments import check_arguments, required
from ppl_worldmodel.program.simulate import as_data, check_length, parameter_names, simulate
from ppl_worldmodel.program.site_names import dotted, with_dotted_names, with_dotted_sites


class Loaded(NamedTuple):
    """A model file: name, the program, its source text and docstring, and what else the file defines.

    Slashes in the names of sites are points here, in the program and in everything that is keyed by names of sites.

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
    coords: dict[str, Any]
    columns: dict[str, str]
    units: dict[str, str]
    module: ModuleType

    def __repr__(self) -> str:
        kind = "real data" if is_real(self) else "simulated from its truth" if self.truth is not None else "no data"
        first = self.about.strip().splitlines()[0] if self.about.strip() else ""
        return f"Loaded: '{self.name}', {kind}{f': {first}' if first else ''}"


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
        name, with_dotted_sites(model), inspect.getsource(module), inspect.getdoc(module) or "",
        None if truth is None else {dotted(key): np.asarray(value) for key, value in truth.items()},
        coords, dict(getattr(module, "columns", {})), with_dotted_names(getattr(module, "units", {})), module,
    )  # fmt: skip


def of_function(
    model: Callable,
    *,
    truth: Mapping[str, Any] | None = None,
    coords: Mapping[str, Any] | None = None,
    units: Mapping[str, str] | None = None,
) -> Loaded:
    """A bare function as a model file that has nothing but the function, and what is given beside it."""
    module = sys.modules.get(model.__module__) or ModuleType(model.__module__)
    try:
        source = inspect.getsource(model)
    except (OSError, TypeError):  # such as a function typed at the prompt
        source = ""
    name = getattr(model, "__name__", type(model).__name__)
    return Loaded(
        name, with_dotted_sites(model), source, inspect.getdoc(model) or "",
        None if truth is None else {dotted(key): np.asarray(value) for key, value in truth.items()},
        {key: [_plain(label) for label in labels] for key, labels in (coords or {}).items()}, {},
        with_dotted_names(dict(units or {})), module,
    )  # fmt: skip


def default_data(
    loaded: Loaded, seed: int, num_steps: int | None = None, settings: Mapping[str, Any] = MappingProxyType({})
) -> tuple[dict[str, Any], str]:
    """The data of a program for which the user gives none, and a sentence that says where they come from.

    settings  values of arguments; those that a simulation needs (see `given_to_simulation`) are passed to it
    """
    data = getattr(loaded.module, "data", None)
    if callable(data):
        return dict(data()), f"the data that come with the model '{loaded.name}'"
    needed = {name: settings[name] for name in sorted(given_to_simulation(loaded)) if name in settings}
    lacking = [name for name in required(loaded.model) if name not in needed]
    neither = f"the model '{loaded.name}' has neither data nor a truth to simulate from: give --data FILE.csv"
    if loaded.truth is None and lacking:
        raise DataError(neither)
    arguments = simulation_arguments(loaded, num_steps) | needed
    check_arguments(
        loaded.model,
        arguments,
        remedy="give --data FILE.csv, or give its value with --set NAME=VALUE to simulate the data",
    )
    check_length(loaded.model, arguments)
    if loaded.truth is None and parameter_names(loaded.model, arguments):
        raise DataError(neither)
    sites = simulate(loaded.model, loaded.truth, jax.random.key(seed), **arguments)
    # An argument that only sets the length of a simulation is not needed once there are data.
    kept = {name: value for name, value in arguments.items() if name != "num_steps"}
    at = "at its truth" if loaded.truth else "(it has no parameters)"
    return as_data(loaded.model, sites, kept), f"simulated from the program {at}, seed {seed}"


def is_real(loaded: Loaded) -> bool:
    """Has the model file data of its own?  Else they are simulated at its truth."""
    return callable(getattr(loaded.module, "data", None))


def given_to_simulation(loaded: Loaded) -> frozenset[str]:
    """Names of the arguments that a simulation of the program gets: those without a default, and the model's own inputs."""
    inputs = getattr(loaded.module, "simulation_inputs", None)
    return frozenset(required(loaded.model)) | frozenset(inputs() if callable(inputs) else ())


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
    except (Exception, SystemExit) as error:
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename).resolve() == path.resolve()
        ]
        line = f", line {frames[-1].lineno}: {frames[-1].line}" if frames else ""
        if isinstance(error, SystemExit):
            raise LoadError(
                f"'{path}' ends Python when it is imported{line}: put what is to run as a script under `if __name__ == '__main__':`"
            ) from error
        raise LoadError(f"'{path}' fails when it is imported: {type(error).__name__}: {error}{line}") from error
    return module


def simulation_arguments(loaded: Loaded, num_steps: int | None = None) -> dict[str, Any]:
    """The arguments of a simulation of the program: its `simulation_inputs`, or its length, if one is asked for."""
    takes = {} if num_steps is None else {"num_steps": num_steps}
    if hasattr(loaded.module, "simulation_inputs"):
        return dict(loaded.module.simulation_inputs(**takes))
    if takes and "num_steps" not in inspect.signature(loaded.model).parameters:
        raise DataError(f"the model '{loaded.name}' takes no `num_steps`: its length cannot be chosen")
    return takes


def _plain(label: Any) -> Any:
    return label.item() if isinstance(label, np.generic) else label
