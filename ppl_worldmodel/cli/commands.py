"""`worldmodel check` and `worldmodel simulate`, and what the commands share; importing it loads the heavy libraries."""

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from ppl_worldmodel import memory
from ppl_worldmodel.checks.check import from_dataset
from ppl_worldmodel.checks.failed import by_fault
from ppl_worldmodel.checks.table import as_table
from ppl_worldmodel.checks.verdict import Finding, disagreement
from ppl_worldmodel.cli.data_of_call import check_one_length, data_of_call, with_labels
from ppl_worldmodel.errors import FAULT, DataError, WorldModelError
from ppl_worldmodel.files.columns import header_of
from ppl_worldmodel.files.labels import with_columns
from ppl_worldmodel.files.load import load, simulation_arguments
from ppl_worldmodel.files.saving import save
from ppl_worldmodel.files.writing import try_file, try_folder, write_whole
from ppl_worldmodel.program.arguments import check_arguments
from ppl_worldmodel.program.simulate import check_length, parameter_names, simulate_series
from ppl_worldmodel.program.site_names import dotted
from ppl_worldmodel.reports.report import report as draw
from ppl_worldmodel.studies.study import study
from ppl_worldmodel.terminal import err, out, print_result

REMEDY_FORWARD = (
    "give its value with --set NAME=VALUE, or, if it is what is observed, give it the default None in the file"
)


def check(options: argparse.Namespace) -> int:
    """`worldmodel check`: run, print the table, write report.html and result.nc."""
    loaded = load(options.model)
    folder = Path(options.out or f"out/{loaded.name}{'_known' if options.known else ''}")
    try_folder(folder)
    given = data_of_call(loaded, options, settings_of(options.set))
    loaded, data = with_labels(loaded, given.file), given.data
    if options.parameters and not options.known:
        raise WorldModelError("--parameters gives the values for --known: add --known")
    if options.prefixes and not options.known:
        raise WorldModelError("--prefixes samples the filtered beliefs at given parameters: add --known")
    shapes = ", ".join(f"{name} {np.shape(value)}" for name, value in data.items())
    err.print("\n".join([f"data: {shapes}", *(given.file.said if given.file else ())]), markup=False, soft_wrap=True)
    with memory.at_most(memory.number(options.max_memory) if options.max_memory else None):
        tree = study(
            loaded,
            data,
            data_from=given.data_from,
            simulated=given.simulated,
            known=options.known,
            parameters=_parameters(options.parameters),
            engines=[name for name in options.engines.split(",") if name],
            key=options.seed,
            fast=options.fast,
            prefixes=options.prefixes,
            progress=err.is_terminal,
            say=lambda line: err.print(line, markup=False, soft_wrap=True),
            command="worldmodel " + shlex.join(options.command_line),
        ).tree
    if given.file:
        for name, engine in tree["engines"].children.items():
            tree[f"engines/{name}"] = with_columns(engine, given.file.values, given.file.columns)
    result = save(tree, folder / "result.nc")
    page = draw(tree, folder / "report.html")
    findings = from_dataset(tree["checks"].to_dataset())
    if options.json:
        rows = [{key: json_value(value) for key, value in finding._asdict().items()} for finding in findings]
        seconds = round(float(tree.attrs["seconds"]), 1)
        said = {
            "model": loaded.name,
            "mode": tree.attrs["mode"],
            "checks": rows,
            "report": str(page),
            "result": str(result),
        }
        print_result(json.dumps(said | {"seconds": seconds}, indent=2))
    else:
        out.print(as_table(findings, width=out.width))
        out.print(f"\n{summary(findings)}\nreport  {page}\nresult  {result}", markup=False, soft_wrap=True)
    return status_of(findings)


def simulate(options: argparse.Namespace) -> int:
    """`worldmodel simulate`: every series of one forward run, as CSV."""
    loaded = load(options.model)
    if options.out:
        try_file(Path(options.out))
    settings = settings_of(options.set)
    check_one_length(options, settings)
    arguments = simulation_arguments(loaded, options.steps) | settings
    check_arguments(loaded.model, arguments, remedy=REMEDY_FORWARD)
    check_length(loaded.model, arguments)
    truth = _parameters(options.parameters) or loaded.truth or {}
    names = parameter_names(loaded.model, arguments)
    if names and not truth:
        raise WorldModelError(
            f"the model '{options.model}' has no `truth` to simulate from: add `truth = {{...}}` to its file, or give --parameters "
            f"(its parameters are {', '.join(names)})"
        )
    if set(names) != set(truth):
        raise WorldModelError(
            f"values are given for {', '.join(sorted(truth))}, but the parameters of the program are {', '.join(sorted(names))}: "
            "give one for each"
        )
    found = simulate_series(loaded.model, truth, jax.random.key(options.seed), **arguments)
    series = {name: np.asarray(value) for name, value in found.items()}
    length = len(next(iter(series.values())))
    given = {name: np.asarray(value) for name, value in arguments.items() if np.shape(value)[:1] == (length,)}
    columns = {"time": np.arange(length)}
    for name, value in (given | series).items():
        columns |= dict(zip(header_of(name, value.shape[1:]), value.reshape(length, -1).T, strict=True))
    table = pd.DataFrame(columns)
    text = json.dumps(table.to_dict(orient="list")) + "\n" if options.json else table.to_csv(index=False)
    if options.out:
        write_whole(Path(options.out), lambda temporary: temporary.write_text(text))
        err.print(f"wrote {options.out}", markup=False)
    else:
        print_result(text.removesuffix("\n"))
    return 0


def settings_of(pairs: list[str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise WorldModelError(f"--set {pair}: expected ARGUMENT=VALUE, such as num_states=2")
        try:
            read = json.loads(value)
            settings[name] = np.asarray(read) if isinstance(read, list) else read
        except json.JSONDecodeError as error:
            raise WorldModelError(f"--set {pair}: '{value}' is not a number, a list, true, false or null") from error
    return settings


def _parameters(given: str | None) -> dict[str, np.ndarray] | None:
    if given is None:
        return None
    text = given if given.lstrip().startswith("{") else Path(given).read_text()
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f'--parameters is not valid JSON ({error}): expected {{"name": value, ...}}') from error
    if not isinstance(values, dict):
        raise DataError('--parameters must be a JSON object: {"name": value, ...}')
    return {dotted(name): np.asarray(value) for name, value in values.items()}


def status_of(findings: tuple[Finding, ...]) -> int:
    """The exit status: 0 all agree, 1 not all do or no engine was compared with anything, 70 something failed by a fault."""
    if any(map(by_fault, findings)):
        return FAULT
    engines = [row for row in findings if row.candidate != "data"]
    return 1 if disagreement(findings) or not engines else 0


def summary(findings: tuple) -> str:
    counts = {
        verdict: sum(row.verdict == verdict for row in findings) for verdict in ("agrees", "disagrees", "undecided")
    }
    return f"{len(findings)} checks: {counts['agrees']} agree, {counts['disagrees']} disagree, {counts['undecided']} undecided"


def json_value(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
