"""Models of a comparison on the command line, and the data of each."""

import argparse
import inspect
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ppl_worldmodel.cli.data_of_call import Given, check_options, check_settings, checked, data_of_call, from_file
from ppl_worldmodel.cli.values import settings_of
from ppl_worldmodel.errors import WorldModelError
from ppl_worldmodel.files.load import Loaded, given_to_simulation, load
from ppl_worldmodel.terminal import err


class Asked(NamedTuple):
    """One model of the call: what it is called in the table, its file, and values of arguments that are its own."""

    name: str
    loaded: Loaded
    settings: dict[str, Any]


def asked(text: str, every: Mapping[str, Any]) -> Asked:
    """MODEL or MODEL:ARGUMENT=VALUE:ARGUMENT=VALUE."""
    model, *pairs = re.split(r":(?=\w+=)", text)
    settings = settings_of(pairs)
    loaded = load(model)
    takes = inspect.signature(loaded.model).parameters
    for name in [*every, *settings]:
        if name not in takes:
            raise WorldModelError(
                f"the model '{model}' takes no argument '{name}': it takes {', '.join(takes)}; a setting of one model alone is "
                f"written behind its name, MODEL:{name}=VALUE"
            )
    return Asked(" ".join([loaded.name, *pairs]), loaded, dict(every) | settings)


def data_of_comparison(models: list[Asked], options: argparse.Namespace) -> tuple[dict[str, dict[str, Any]], Given]:
    """The arguments of every program by its name, and what the first one was given."""
    first = models[0]
    if not options.data:
        given = data_of_call(first.loaded, options, first.settings)
        each = {first.name: given.data}
        inputs = given_to_simulation(first.loaded)
        own = {name for name in first.settings if name not in inputs}
        shared = {name: value for name, value in given.data.items() if name not in own}
        for model in models[1:]:
            check_settings(first.loaded, shared, model.settings)
            each[model.name] = checked(model.loaded, _taken(shared, model) | model.settings, model.settings)
        return each, given
    takes = {name for model in models for name in (*inspect.signature(model.loaded.model).parameters, "time")}
    for entry in options.column:
        if "=" in entry and entry.split("=")[0] not in takes:
            raise WorldModelError(f"--column {entry}: none of the programs takes an argument '{entry.split('=')[0]}'")
    read: dict[str, Given] = {}
    for model in models:
        check_options(options, model.settings)
        read[model.name] = from_file(model.loaded, options, _columns(model, options.column), model.settings)
    return {name: given.data for name, given in read.items()}, read[first.name]


def _columns(model: Asked, columns: list[str]) -> list[str]:
    """The entries of --column that concern this program: all but those of arguments that it does not take."""
    takes = {*inspect.signature(model.loaded.model).parameters, "time"}
    return [entry for entry in columns if "=" not in entry or entry.split("=")[0] in takes]


def _taken(data: Mapping[str, Any], model: Asked) -> dict[str, Any]:
    """The part of the first model's data that this program takes; a message names what it does not take."""
    takes = inspect.signature(model.loaded.model).parameters
    for name in data:
        if name not in takes:
            err.print(f"{model.name} takes no '{name}': it is compared without", markup=False)
    return {name: value for name, value in data.items() if name in takes}
