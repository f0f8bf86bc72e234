"""Templates of the pages: files of this folder, and those of single sections."""

from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

HERE = "ppl_worldmodel.reports"
PARTS = '{% from "parts.html" import sign, mark, value, figure, parameter_table %}\n'  # what a section may use


def template(name: str) -> Any:
    """A page of this folder."""
    return _environment().get_template(name)


def rendered(section: str, **filled: Any) -> Markup:
    """The HTML of a section from its template, which may use the macros of parts.html."""
    return Markup(_environment().from_string(PARTS + section).render(**filled))


def css() -> Markup:
    return Markup(files(HERE).joinpath("page.css").read_text(encoding="utf-8"))


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader(HERE, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
