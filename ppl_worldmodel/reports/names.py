"""Names in a result tree: its groups and attributes, where there are any; labels of time steps and states; numbers."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from ppl_worldmodel.exact import Structure
from ppl_worldmodel.files.times import label

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"


def group(tree: xr.DataTree, name: str) -> xr.Dataset | None:
    """A group of the tree, None where it has none of that name."""
    return tree.children[name].to_dataset() if name in tree.children else None


def text(attributes: Mapping[Any, Any], name: str, otherwise: str = "") -> str:
    """An attribute as text; `otherwise` where it is missing or empty."""
    value = str(attributes.get(name, ""))
    return value or otherwise


def unpacked(attributes: Mapping[Any, Any], name: str) -> dict[str, Any]:
    """An attribute that holds a dict as JSON; empty where it is missing."""
    found = json.loads(text(attributes, name, "{}"))
    return found if isinstance(found, dict) else {}


def time_axis(dataset: xr.Dataset) -> tuple[np.ndarray, str]:
    """Where the time steps lie on an axis, (time,), and what that axis is called."""
    labels = time_labels(dataset)
    if labels is not None and labels.dtype.kind in "iufM":
        return labels, titled(dataset["time"], "time")
    return np.arange(dataset.sizes.get("time", 0)), "time step t"


def time_labels(dataset: xr.Dataset) -> np.ndarray | None:
    """The labels of the time steps, (time,), if they have any."""
    return dataset["time"].values if "time" in dataset.coords else None


def titled(values: xr.DataArray, otherwise: str) -> str:
    """The name of a variable, with its unit where it has one."""
    name = text(values.attrs, "long_name", otherwise)
    return f"{name} ({values.attrs['units']})" if "units" in values.attrs else name


def state_labels(beliefs: xr.Dataset, axis: str) -> list[str]:
    """What the states, or the dimensions of the state, are called: by the model file, else by the parts of the state."""
    if axis in beliefs.coords:
        return [str(label) for label in beliefs[axis].values]
    known, size = structure_of(beliefs), beliefs.sizes.get(axis, 0)
    if axis == "dim" and len(known.factors) == size:
        return list(known.factors)
    if axis == "state" and len(known.labels) == size:
        return [part_label(known.factors, label) for label in known.labels]
    return [f"{'state' if axis == 'state' else 'dimension'} {i}" for i in range(size)]


def structure_of(beliefs: xr.Dataset) -> Structure:
    """The parts of the states, as far as the beliefs say."""
    factors, labels = (json.loads(text(beliefs.attrs, name, "[]")) for name in ("factors", "labels"))
    return Structure(factors=tuple(factors), labels=tuple(map(tuple, labels)))


def part_label(names: Sequence[str], values: Sequence[Any]) -> str:
    """What a state of several parts is called: `a = 1, b = 0`."""
    return ", ".join(f"{name} = {value:g}" for name, value in zip(names, values, strict=True))


def series_names(dataset: xr.Dataset) -> list[str]:
    """What the independent series are called, `series 2`; none where there is only one."""
    labels = dataset["sequence"].values if "sequence" in dataset.coords else range(dataset.sizes.get("sequence", 0))
    return [f"series {label}" for label in labels]


def at_step(step: int, time: np.ndarray | None) -> str:
    """A time step, with its label where there is one: `1970 (t = 99)`."""
    if time is None or not 0 <= step < len(time):
        return f"t = {step}"
    return f"{label(time[step], time)} (t = {step})"


def place(worst: str, time: np.ndarray | None) -> str:
    """Where a finding is worst; a time step (of a series) with its label."""
    step = re.fullmatch(r"(series .*, )?t = (\d+)", worst, re.DOTALL)
    if step:
        return f"{step[1] or ''}{at_step(int(step[2]), time)}"
    return worst if worst != "-" else NOTHING


def located(worst: str, time: np.ndarray | None) -> str:
    """The same place as part of a sentence: `at t = 17`, `in series 2 at t = 17`."""
    series, comma, step = place(worst, time).rpartition(", ")
    return f"in {series} at {step}" if comma and series.startswith("series ") else f"at {place(worst, time)}"


def joined(words: list[str]) -> str:
    """Words as a list in a sentence."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def number(value: Any, digits: int = 3) -> str:
    """A number with so many significant digits, thousands with commas; a dash for NaN."""
    value = float(value)
    if np.isnan(value):
        return NOTHING
    shown = f"{value:,.0f}" if 10.0**digits <= abs(value) < 1e7 else f"{value:.{digits}g}"
    return shown.replace("-", MINUS)
