"""`worldmodel compare`: which model?  Several programs on the same data."""

import argparse
import inspect
import json
import re
import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import xarray as xr

from ppl_worldmodel.commands import REMEDY, json_value, save, settings_of
from ppl_worldmodel.comparisons.compare import compare as run
from ppl_worldmodel.comparisons.ranking import Row, ahead
from ppl_worldmodel.errors import WorldModelError
from ppl_worldmodel.infer.gibbs import gibbs
from ppl_worldmodel.infer.nuts import nuts
from ppl_worldmodel.program.columns import read_csv
from ppl_worldmodel.program.labelled import labelled
from ppl_worldmodel.program.load import Loaded, check_arguments, default_data, load
from ppl_worldmodel.reports.comparison_page import comparison_report
from ppl_worldmodel.reports.comparison_table import as_text
from ppl_worldmodel.terminal import err, out, print_result
from ppl_worldmodel.writing import try_folder


class Asked(NamedTuple):
    """One model of the call: what it is called in the table, its file, and values of arguments that are its own."""

    name: str
    loaded: Loaded
    settings: dict[str, Any]


def compare(options: argparse.Namespace) -> int:
    """Fit and score every model, print the table, write comparison.html and comparison.nc."""
    every = settings_of(options.set)
    models = [_asked(text, every) for text in options.models]
    names = [model.name for model in models]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise WorldModelError(
            f"'{twice[0]}' is given twice: give different models, or settings that differ, such as earthquakes:num_states=2"
        )
    folder = Path(options.out or f"out/compare_{'_'.join(dict.fromkeys(model.loaded.name for model in models))}")
    try_folder(folder)
    data, data_from, simulated = _data(models, options)
    programs = {model.name: model.loaded.model for model in models}
    found = run(
        programs,
        data,
        jax.random.key(options.seed),
        engine=_engine(options.engine, fast=options.fast),
        evidence=options.evidence,
        first=options.first,
        horizon=options.horizon,
        windows=not options.no_windows,
        references={models[0].name: models[0].loaded.truth} if simulated and models[0].loaded.truth else None,
        fast=options.fast,
        say=lambda line: err.print(line, markup=False, soft_wrap=True),
    )
    tree = _labelled(found.tree, models)
    tree.attrs |= {
        "data_from": data_from, "seed": options.seed, "command": "worldmodel " + shlex.join(options.command_line),
        "dtype": str(jax.numpy.zeros(()).dtype),
        "sources": json.dumps({model.name: model.loaded.source for model in models}),
        "abouts": json.dumps({model.name: model.loaded.about.split("\n", 1)[0] for model in models}),
    }  # fmt: skip
    result = save(tree, folder / "comparison.nc")
    page = comparison_report(tree, folder / "comparison.html")
    show(tree, json_too=options.json, files={"report": str(page), "result": str(result)})
    return 0 if ahead(tree.attrs) else 1


def show(tree: xr.DataTree, *, json_too: bool, files: Mapping[str, str]) -> None:
    """Print a comparison: the table, or JSON."""
    if json_too:
        rows = [{key: json_value(value) for key, value in row._asdict().items()} for row in Row.all_of(tree)]
        said = {key: tree.attrs[key] for key in ("by_evidence", "by_prediction")}
        print_result(json.dumps({"ahead": ahead(tree.attrs) or None, **said, "models": rows, **files}, indent=2))
        return
    out.print(as_text(tree, width=out.width), markup=False, soft_wrap=True)
    out.print("\n" + "\n".join(f"{what}  {where}" for what, where in files.items()), markup=False, soft_wrap=True)


def _asked(text: str, every: Mapping[str, Any]) -> Asked:
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


def _data(models: list[Asked], options: argparse.Namespace) -> tuple[dict[str, dict[str, Any]], str, bool]:
    """The arguments of every program by its name, a sentence on where they come from, and whether they were simulated."""
    first = models[0]
    if options.column and not options.data:
        raise WorldModelError("--column chooses columns of a file: add --data FILE.csv")
    if options.data:
        each = {model.name: read_csv(model.loaded, options.data, _columns(model, options.column)) for model in models}
        data_from, simulated = f"the file {options.data}", False
    else:
        simulated = not callable(getattr(first.loaded.module, "data", None))
        if options.steps and not simulated:
            raise WorldModelError(
                f"--steps sets the length of a simulation, but '{first.loaded.name}' comes with real data: leave it out"
            )
        data, data_from = default_data(first.loaded, options.seed, options.steps, first.settings)
        each = {model.name: _taken(data, model) for model in models}
    for model in models:
        each[model.name] |= model.settings
        check_arguments(model.loaded.model, each[model.name], remedy=REMEDY)
    return each, data_from, simulated


def _columns(model: Asked, columns: list[str]) -> list[str]:
    """The entries of --column that concern this program: all but those of arguments that it does not take."""
    takes = inspect.signature(model.loaded.model).parameters
    return [entry for entry in columns if "=" not in entry or entry.split("=")[0] in takes]


def _taken(data: Mapping[str, Any], model: Asked) -> dict[str, Any]:
    """What of the first model's data this program takes; what it does not is said."""
    takes = inspect.signature(model.loaded.model).parameters
    for name in data:
        if name not in takes:
            err.print(f"{model.name} takes no '{name}': it is compared without", markup=False)
    return {name: value for name, value in data.items() if name in takes}


def _engine(name: str | None, *, fast: bool) -> Any:
    tenth = 10 if fast else 1
    engines = {
        "gibbs": partial(gibbs, num_warmup=1000 // tenth, num_samples=4000 // tenth),
        "nuts": partial(nuts, num_warmup=500 // tenth, num_samples=1000 // tenth),
    }
    return engines[name]() if name else None


def _labelled(tree: xr.DataTree, models: list[Asked]) -> xr.DataTree:
    """The tree with the labels of each model on what it learned, and with those of the first one's time steps elsewhere."""
    first = models[0].loaded.coords
    found = labelled(tree, {"time": first["time"]} if "time" in first else {}, models[0].loaded.units)
    for model in models:
        own = found.children["models"].children[model.name]
        found[f"models/{model.name}"] = labelled(own, model.loaded.coords, model.loaded.units)
    return found
