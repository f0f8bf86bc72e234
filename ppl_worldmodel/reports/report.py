"""Report page of a run: what agrees, what does not, where, and how. Self-contained HTML, from the tree alone.

A section is a file of the folder `sections`: its TEMPLATE, where it stands (ORDER), and `fill(page)`, which returns what the
template
asks for, or None where the section has nothing to say. Templates may use `page`, and the macros of parts.html.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path

import xarray as xr
from markupsafe import Markup

from ppl_worldmodel.files.writing import write_whole
from ppl_worldmodel.reports import sections
from ppl_worldmodel.reports.as_run import as_run
from ppl_worldmodel.reports.names import joined, text
from ppl_worldmodel.reports.page import Page, page_of
from ppl_worldmodel.reports.provenance import provenance
from ppl_worldmodel.reports.sentence import overall, sentence
from ppl_worldmodel.reports.templates import css, rendered, template


def report(run: xr.DataTree | Mapping[str, xr.DataTree], path: str | Path) -> Path:
    """Write the page of a run, or of {engine name: result}, to the file `path`, and return its path.

    The file is complete or not there.
    """
    path = Path(path)
    page = as_html(as_run(run))
    write_whole(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    return path


def as_html(run: xr.DataTree) -> str:
    """The page of a run as text."""
    said, page = run.attrs, page_of(run)
    return template("page.html").render(
        name=text(said, "name") or joined([how.name for how in page.look.values()]),
        first_line=page.about.split("\n", 1)[0],
        page=page,
        fast=bool(int(said.get("fast", 0))),
        data_from=text(said, "data_from"),
        verdict=overall(page.findings),
        sentence=sentence(page.findings, page.time),
        sections=_sections(page),
        provenance=provenance(said),
        css=css(),
    )


def _sections(page: Page) -> list[Markup]:
    """The sections that have something to say, in their order."""
    names = [one.name for one in pkgutil.iter_modules(sections.__path__)]
    modules = [importlib.import_module(f"{sections.__name__}.{name}") for name in names]
    drawn = []
    for module in sorted(modules, key=lambda module: (module.ORDER, module.__name__)):
        filled = module.fill(page)
        if filled is not None:
            drawn.append(rendered(module.TEMPLATE, page=page, **filled))
    return drawn
