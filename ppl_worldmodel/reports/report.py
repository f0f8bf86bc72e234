"""One page for one run: what agrees, what does not, where, and how it was computed. Self-contained HTML, from the tree alone."""

import ast
import json
import os
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
from ppl_worldmodel.reports import rows, sections
from ppl_worldmodel.reports.as_run import as_run
from ppl_worldmodel.reports.names import looks, text, time_labels, unpacked
from ppl_worldmodel.reports.sentence import overall, sentence


def report(run: xr.DataTree | Mapping[str, xr.DataTree], path: str | Path) -> Path:
    """Draw the page of a run, or of {engine name: result}, into the file `path`, and return its path.

    The file is complete or not there: it is written beside its place and then moved into it.
    """
    path = Path(path)
    page = page_of(as_run(run))
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_text(page, encoding="utf-8")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def page_of(run: xr.DataTree) -> str:
    """The page of a run as text."""
    attributes = run.attrs
    engines = {str(name): tree for name, tree in run["engines"].children.items()}
    findings: tuple[Finding, ...] = ()
    if "checks" in run.children and "row" in run["checks"].sizes:
        findings = from_dataset(run["checks"].to_dataset())
    time = time_labels(engines)
    known = text(attributes, "mode", "known") == "known"
    truth = unpacked(attributes, "truth")
    look = looks(engines)
    environment = Environment(
        loader=PackageLoader("ppl_worldmodel.reports", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    about = text(attributes, "about")
    return environment.get_template("page.html").render(
        css=Markup(files("ppl_worldmodel.reports").joinpath("page.css").read_text(encoding="utf-8")),
        name=text(attributes, "name") or " and ".join(how.name for how in look.values()),
        about=about,
        first_line=about.split("\n", 1)[0],
        known=known,
        fast=bool(int(attributes.get("fast", 0))),
        data_from=text(attributes, "data_from"),
        parameters_from=text(attributes, "parameters_from"),
        verdict=overall(findings),
        sentence=sentence(findings, time),
        findings=rows.finding_rows(findings, time),
        compared=sections.compared(engines, known=known, truth=truth),
        beliefs=sections.beliefs(engines, look, known=known, parameters_from=text(attributes, "parameters_from")),
        where=sections.where(engines, findings, look),
        data=sections.data(engines),
        parameter_pictures=sections.parameter_pictures(engines, look, truth),
        parameter_rows=rows.parameter_rows(engines, truth),
        has_truth=bool(truth),
        given=rows.given_rows(engines),
        look=look,
        engine_rows=rows.engine_rows(engines, findings),
        structure=text(attributes, "structure"),
        source=_without_docstring(text(attributes, "source"), about),
        provenance=_provenance(attributes),
    )


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


def _provenance(attributes: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What it takes to do it again, as far as the tree says."""
    seconds = float(attributes.get("seconds", np.nan))
    versions = ", ".join(f"{name} {version}" for name, version in unpacked(attributes, "versions").items())
    every = [
        ("data", text(attributes, "data_from")),
        ("parameters", text(attributes, "parameters_from")),
        ("truth", json.dumps(unpacked(attributes, "truth")) if unpacked(attributes, "truth") else ""),
        ("command", text(attributes, "command")),
        ("seed", text(attributes, "seed")),
        ("precision", text(attributes, "dtype")),
        ("versions", versions),
        ("commit", text(attributes, "commit")),
        ("created", text(attributes, "created")),
        ("computing time", f"{seconds:.1f} s" if np.isfinite(seconds) else ""),
    ]
    return [(name, value) for name, value in every if value]
