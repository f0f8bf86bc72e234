"""Learned parameters of compared models for the page: whether the names of states are clear, and the invariants."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from ppl_worldmodel.checks.table import Findings
from ppl_worldmodel.reports.figures.embedding import Picture
from ppl_worldmodel.reports.figures.forest import forest
from ppl_worldmodel.reports.figures.recovery import heat_map, map_labels
from ppl_worldmodel.reports.figures.styles import looks
from ppl_worldmodel.reports.names import group, text, unpacked
from ppl_worldmodel.reports.numbers import Number, shown
from ppl_worldmodel.reports.parameters import ParameterRow, draws_of, entries, parameter_rows

ALONG_TIME = {"lag", "frequency"}  # dimensions of curves, which are not rows of a table


class FreeRow(NamedTuple):
    """An invariant, which does not depend on names of states: mean, sd, 5 %, 95 %, R-hat."""

    label: str
    numbers: list[Number]


class LearnedModel(NamedTuple):
    """All that the page says about what one model learned; `rows` is empty for a program without parameters."""

    name: str
    about: str
    labels: str
    modes: str
    pictures: list[Picture]
    rows: list[ParameterRow]
    free: list[FreeRow]
    structure: str
    source: str


def learned(tree: xr.DataTree, models: Mapping[str, xr.DataTree], findings: Findings) -> list[LearnedModel]:
    """Each model, in the order of the table."""
    abouts, sources, structures = (unpacked(tree.attrs, name) for name in ("abouts", "sources", "structures"))
    found, free_of = [], without_names(tree)
    for name, result in models.items():
        label = next((row for row in findings if row.candidate == name and row.about == "labels"), None)
        table = free_of.get(name, xr.Dataset())
        rows = parameter_rows({name: result}, {})
        said = "" if label is None else f"Its states have no names of their own; draws were relabelled: {label.why}."
        found.append(
            LearnedModel(
                name, str(abouts.get(name, "")), said, text(table.attrs, "modes"),
                _pictures(name, result, list(models)) if rows else [],
                rows, _free(table), str(structures.get(name, "")), str(sources.get(name, "")),
            )
        )  # fmt: skip
    return found


def without_names(tree: xr.DataTree) -> dict[str, xr.Dataset]:
    """The invariants of each model with parameters."""
    if "without_names" not in tree.children:
        return {}
    return {name: each.to_dataset() for name, each in tree.children["without_names"].children.items()}


def _pictures(name: str, result: xr.DataTree, names: list[str]) -> list[Picture]:
    """Matrices as heat maps, all else as forest plots."""
    beliefs = group(result, "beliefs")
    states = 0 if beliefs is None else beliefs.sizes.get("state", 0)
    posterior = group(result, "posterior")
    pictures = []
    for parameter, draws in draws_of(result).items():
        shape = draws.shape[2:]
        if posterior is None or not np.isfinite(draws).all():
            continue
        as_map = len(shape) in (2, 3) and states in shape and shape[-1] <= 12
        if as_map:
            pictures.append(heat_map(parameter, draws, labels=map_labels(posterior[parameter])))
        else:
            pictures.append(forest(parameter, {name: draws}, looks(names)))
    return pictures


def _free(table: xr.Dataset) -> list[FreeRow]:
    found = []
    for name, values in table.data_vars.items():
        if ALONG_TIME & set(values.dims):
            continue
        ordered = values.transpose("statistic", ...)
        five = [ordered.sel(statistic=each).values for each in ("mean", "sd", "q5", "q95", "rhat")]
        for label in entries(str(name), five[0][None, None]):
            index = tuple(int(i) for i in label[len(str(name)) :].strip("[]").split(",") if i)
            numbers = [shown(each[index]) for each in five[:4]] + [shown(five[4][index], ".3f")]
            found.append(FreeRow(label, numbers))
    return found
