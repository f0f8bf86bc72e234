"""Page of a run: all that its sections are drawn from."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ppl_worldmodel.checks.check import from_dataset
from ppl_worldmodel.checks.verdict import Finding
from ppl_worldmodel.reports.figures.styles import Look, looks
from ppl_worldmodel.reports.names import group, text, time_labels, unpacked

Engines = Mapping[str, xr.DataTree]


class Page(NamedTuple):
    """A run, and what every section asks of it.

    time    labels of the time steps, (time,), None where there are none
    look    how each engine is called and drawn
    truth   {parameter: value} of a simulation, as far as there is one
    """

    run: xr.DataTree
    engines: Engines
    findings: tuple[Finding, ...]
    time: np.ndarray | None
    known: bool
    parameters_from: str
    truth: dict[str, Any]
    look: dict[str, Look]
    about: str


def page_of(run: xr.DataTree) -> Page:
    engines = {str(name): tree for name, tree in run["engines"].children.items()}
    checks = group(run, "checks")
    labels = [time_labels(beliefs) for tree in engines.values() if (beliefs := group(tree, "beliefs")) is not None]
    return Page(
        run=run,
        engines=engines,
        findings=from_dataset(checks) if checks is not None and "row" in checks.sizes else (),
        time=next((each for each in labels if each is not None), None),
        known=text(run.attrs, "mode", "known") == "known",
        parameters_from=text(run.attrs, "parameters_from"),
        truth=unpacked(run.attrs, "truth"),
        look=looks(engines),
        about=text(run.attrs, "about"),
    )


def of_engine(engines: Engines, engine: str) -> str | None:
    """The name of the first result of an engine, None where it has none."""
    return next((name for name, tree in engines.items() if text(tree.attrs, "engine", name) == engine), None)
