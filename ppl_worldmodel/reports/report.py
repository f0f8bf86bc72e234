"""Report page of a run: what agrees, what does not, where, and how. Self-contained HTML, from the tree alone."""

import ast
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ppl_worldmodel.checks.check import from_dataset
from ppl_worldmodel.checks.verdict import Finding
from ppl_worldmodel.files.writing import write_whole
from ppl_worldmodel.reports import sections
from ppl_worldmodel.reports.as_run import as_run
from ppl_worldmodel.reports.engine_rows import engine_rows
from ppl_worldmodel.reports.figures.styles import looks
from ppl_worldmodel.reports.finding_rows import finding_rows
from ppl_worldmodel.reports.learning_sections import learnable, recovered
from ppl_worldmodel.reports.names import group, joined, text, time_labels, unpacked
from ppl_worldmodel.reports.parameters import given_rows, parameter_rows
from ppl_worldmodel.reports.sentence import overall, sentence

HERE = "ppl_worldmodel.reports"


def report(run: xr.DataTree | Mapping[str, xr.DataTree], path: str | Path) -> Path:
    """Write the page of a run, or of {engine name: result}, to the file `path`, and return its path.

    The file is complete or not there.
    """
    path = Path(path)
    page = page_of(as_run(run))
    write_whole(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    return path


def page_of(run: xr.DataTree) -> str:
    """The page of a run as text."""
    said = run.attrs
    engines = {str(name): tree for name, tree in run["engines"].children.items()}
    checks = group(run, "checks")
    findings: tuple[Finding, ...] = from_dataset(checks) if checks is not None and "row" in checks.sizes else ()
    time = next(
        (
            labels
            for tree in engines.values()
            if (beliefs := group(tree, "beliefs")) is not None and (labels := time_labels(beliefs)) is not None
        ),
        None,
    )
    known, parameters_from = text(said, "mode", "known") == "known", text(said, "parameters_from")
    truth, look, about = unpacked(said, "truth"), looks(engines), text(said, "about")
    learned = parameter_rows(engines, truth)
    return template("page.html").render(
        name=text(said, "name") or joined([how.name for how in look.values()]),
        about=about,
        first_line=about.split("\n", 1)[0],
        known=known,
        fast=bool(int(said.get("fast", 0))),
        data_from=text(said, "data_from"),
        parameters_from=parameters_from,
        verdict=overall(findings),
        sentence=sentence(findings, time),
        findings=finding_rows(findings, time),
        compared=sections.compared(engines, known=known, truth=truth),
        beliefs=sections.beliefs(engines, look, parameters_from=parameters_from),
        where=sections.where(engines, findings, look),
        data=sections.data(engines, findings),
        parameter_pictures=sections.parameters(engines, look, truth, learned),
        parameter_rows=learned,
        has_truth=bool(truth),
        given=given_rows(engines),
        learnable=learnable(group(run, "identifiability")),
        recovered=recovered(engines, truth, look),
        look=look,
        engine_rows=engine_rows(engines, findings),
        structure=text(said, "structure"),
        source=_without_docstring(text(said, "source"), about),
        provenance=provenance(said),
        css=Markup(files(HERE).joinpath("page.css").read_text(encoding="utf-8")),
    )


def template(name: str) -> Any:
    """A page of this folder."""
    environment = Environment(
        loader=PackageLoader(HERE, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _without_docstring(source: str, about: str) -> str:
    """The program without the docstring of its file, where the page shows that already."""
    if not about:
        return source
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError):
        return source
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return "\n".join(source.splitlines()[first.end_lineno :]).strip("\n")
    return source


def provenance(said: Mapping[Any, Any]) -> list[tuple[str, str]]:
    """What is needed to reproduce the result, as far as the tree says."""
    seconds = float(said.get("seconds", np.nan))
    truth = unpacked(said, "truth")
    every = {
        "data": text(said, "data_from"),
        "parameters": text(said, "parameters_from"),
        "truth": json.dumps(truth) if truth else "",
        "command": text(said, "command"),
        "seed": text(said, "seed"),
        "precision": text(said, "dtype"),
        "versions": ", ".join(f"{name} {version}" for name, version in unpacked(said, "versions").items()),
        "commit": text(said, "commit"),
        "created": text(said, "created"),
        "computing time": f"{seconds:.1f} s" if np.isfinite(seconds) else "",
    }
    return [(name, value) for name, value in every.items() if value]
