"""`worldmodel compare`: model comparison, of several programs on the same data."""

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

from ppl_worldmodel.checks.check import from_dataset
from ppl_worldmodel.checks.failed import by_fault
from ppl_worldmodel.cli.commands import json_value, save, settings_of
from ppl_worldmodel.cli.data_of_call import (
    Given,
    check_options,
    check_settings,
    checked,
    data_of_call,
    from_file,
    with_labels,
)
from ppl_worldmodel.comparisons.compare import compare as run
from ppl_worldmodel.comparisons.diagnostics import doubts
from ppl_worldmodel.comparisons.ranking import Row, ahead
from ppl_worldmodel.comparisons.table import as_text
from ppl_worldmodel.errors import FAULT, WorldModelError
from ppl_worldmodel.files.coordinate_labels import labelled
from ppl_worldmodel.files.load import Loaded, given_to_simulation, load
from ppl_worldmodel.files.writing import try_folder
from ppl_worldmodel.infer.gibbs import gibbs
from ppl_worldmodel.infer.nuts import nuts
from ppl_worldmodel.reports.comparison_page import comparison_report
from ppl_worldmodel.terminal import err, out, print_result


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
    data, given = _data(models, options)
    if given.file:
        err.print("\n".join(given.file.said), markup=False, soft_wrap=True)
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
        references={models[0].name: models[0].loaded.truth} if given.simulated and models[0].loaded.truth else None,
        fast=options.fast,
        say=lambda line: err.print(line, markup=False, soft_wrap=True),
        ready=lambda name, result: kept(folder, name, result),
    )
    models = [model._replace(loaded=with_labels(model.loaded, given.file)) for model in models]
    tree = _labelled(found.tree, models)
    tree.attrs |= {
        "data_from": given.data_from, "seed": options.seed, "command": "worldmodel " + shlex.join(options.command_line),
        "dtype": str(jax.numpy.zeros(()).dtype),
        "sources": json.dumps({model.name: model.loaded.source for model in models}),
        "abouts": json.dumps({model.name: model.loaded.about.split("\n", 1)[0] for model in models}),
    }  # fmt: skip
    result = save(tree, folder / "comparison.nc")
    page = comparison_report(tree, folder / "comparison.html")
    show(tree, json_too=options.json, files={"report": str(page), "result": str(result)})
    return status(tree)


def kept(folder: Path, name: str, result: xr.DataTree) -> None:
    """Write what a model learned at once, beside the comparison to come, so that no later failure loses it."""
    path = save(result, folder / "models" / f"{re.sub(r'[^A-Za-z0-9_.=-]+', '_', name)}.nc")
    err.print(f"{name}: learned, kept in {path}", markup=False, soft_wrap=True)


def status(tree: xr.DataTree) -> int:
    """The exit status: 0 one model is ahead, 1 one cannot tell or draws have not converged, 70 something failed by a fault."""
    findings = from_dataset(tree["checks"].to_dataset()) if "row" in tree["checks"].sizes else ()
    if any(map(by_fault, findings)):
        return FAULT
    return 0 if ahead(tree.attrs) and not doubts(tree["checks"].to_dataset()) else 1


def show(tree: xr.DataTree, *, json_too: bool, files: Mapping[str, str]) -> None:
    """Print a comparison: the table, or JSON."""
    if json_too:
        rows = [{key: json_value(value) for key, value in row._asdict().items()} for row in Row.all_of(tree)]
        said = {key: tree.attrs[key] for key in ("by_evidence", "by_prediction")}
        said["doubts"] = doubts(tree["checks"].to_dataset())
        print_result(json.dumps({"ahead": ahead(tree.attrs) or None, **said, "models": rows, **files}, indent=2))
        return
    for line in doubts(tree["checks"].to_dataset()):
        out.print(f"NOT TO BE TRUSTED  {line}", markup=False, soft_wrap=True)
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


def _data(models: list[Asked], options: argparse.Namespace) -> tuple[dict[str, dict[str, Any]], Given]:
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
    found = labelled(
        tree, {name: first[name] for name in ("time", "sequence") if name in first}, models[0].loaded.units
    )
    for model in models:
        own = found.children["models"].children[model.name]
        found[f"models/{model.name}"] = labelled(own, model.loaded.coords, model.loaded.units)
    return found
