"""The data of a command: from a file, from the model, or simulated. Options that would be ignored are refused."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ppl_worldmodel.errors import WorldModelError
from ppl_worldmodel.files.assemble import Data
from ppl_worldmodel.files.categories import check_categories
from ppl_worldmodel.files.load import Loaded, default_data, given_to_simulation, is_real
from ppl_worldmodel.files.read import read_data
from ppl_worldmodel.program.arguments import check_arguments
from ppl_worldmodel.program.jax_arrays import as_program_takes
from ppl_worldmodel.program.missing.forecast import with_forecast
from ppl_worldmodel.program.unused_arguments import is_ignored
from ppl_worldmodel.terminal import err

LENGTH = "num_steps"
# What to do about an argument that has no value.
REMEDY = "name its column with --column NAME=COLUMN, or its value with --set NAME=VALUE (a number, or a list such as [30,25])"


class Given(NamedTuple):
    """The program's arguments, a sentence on where they come from, and whether they were simulated at the truth.

    file  what was read, if the data come from a file
    """

    data: dict[str, Any]
    data_from: str
    simulated: bool
    file: Data | None = None


def data_of_call(loaded: Loaded, options: argparse.Namespace, settings: Mapping[str, Any]) -> Given:
    """The data that `--data`, `--column`, `--series`, `--steps` and `--set` ask for.

    settings  the values of --set
    Raises WorldModelError where one of these would have no effect, or where the data do not fit the program.
    """
    check_options(options, settings)
    if options.data:
        return from_file(loaded, options, options.column, settings)
    data, data_from = default_data(loaded, options.seed, options.steps, settings)
    simulated = not is_real(loaded)
    check_settings(loaded, data, settings)
    if options.steps and not simulated:
        raise WorldModelError(
            f"--steps sets the length of a simulation, but '{loaded.name}' comes with real data: leave it out"
        )
    return Given(checked(loaded, data | dict(settings), settings), data_from, simulated)


def from_file(
    loaded: Loaded, options: argparse.Namespace, columns: Sequence[str], settings: Mapping[str, Any]
) -> Given:
    """The data of the call's file for one program."""
    file = read_data(loaded, options.data, columns, series=options.series, given=settings)
    data = checked(loaded, file.values | dict(settings), settings)
    check_categories(loaded.model, data, file)
    return Given(data, f"the file {options.data} ({'; '.join(file.said)})", False, file)


def check_options(options: argparse.Namespace, settings: Mapping[str, Any]) -> None:
    """Raise WorldModelError for options that contradict each other."""
    for name in ("column", "series"):
        if getattr(options, name) and not options.data:
            raise WorldModelError(f"--{name} chooses columns of a file: add --data FILE.csv")
    if options.steps and options.data:
        raise WorldModelError(
            "--steps sets the length of a simulation, but the data come from a file (--data): leave one of them out"
        )
    check_one_length(options, settings)


def check_one_length(options: argparse.Namespace, settings: Mapping[str, Any]) -> None:
    """Raise WorldModelError where both --steps and --set say how long a simulation is."""
    if options.steps and LENGTH in settings:
        raise WorldModelError(f"--steps and --set {LENGTH} say the same thing: leave one of them out")


def check_settings(loaded: Loaded, data: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Raise WorldModelError where --set gives an argument that is data of the model, or was simulated."""
    own = given_to_simulation(loaded) if not is_real(loaded) else frozenset()
    for name in settings:
        if name in data and name not in own:
            what = "come with the model" if is_real(loaded) else "are simulated"
            raise WorldModelError(
                f"--set {name} would put other data in the place of those that {what}: give yours in a file, --data FILE.csv"
            )


def checked(loaded: Loaded, data: dict[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, checked: the program can be called with them, and no setting is a length that changes nothing."""
    check_arguments(loaded.model, data, remedy=REMEDY)
    given, data = data, with_forecast(loaded.model, data)
    for name, value in data.items():
        if value is not given[name]:
            few, most = len(given[name]), len(value)
            err.print(f"'{name}' has {few} of {most} steps: the steps beyond are unobserved, a forecast", markup=False)
    if isinstance(settings.get(LENGTH), int) and is_ignored(loaded.model, data, LENGTH):
        raise WorldModelError(
            f"--set {LENGTH} changes nothing here: the series has {_steps(data)} steps, and the program takes its length from it. "
            "Leave it out (--steps N is the length of a simulation)"
        )
    return as_program_takes(loaded.model, data)


def with_labels(loaded: Loaded, file: Data | None) -> Loaded:
    """The model with the file's labels of time steps and series in the place of its own.

    If data come with the model, its own labels of time steps belong to these, and are dropped.
    """
    if file is None:
        return loaded
    coords: dict[str, Any] = {
        name: labels for name, labels in loaded.coords.items() if name != "time" or not is_real(loaded)
    }
    coords |= file.coords
    for names in file.columns.values():
        numbered = [name.rpartition("_")[2] for name in np.ravel(names)] == [str(i) for i in range(names.size)]
        if names.ndim == 1 and not ("sequence" in coords and (numbered or "sequence" in file.coords)):
            coords["sequence"] = names.tolist()
            break
    return loaded._replace(coords=coords)


def _steps(data: Mapping[str, Any]) -> int:
    return next((np.shape(value)[0] for value in data.values() if np.ndim(value) > 0), 0)
