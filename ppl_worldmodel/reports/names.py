"""How is a thing called and drawn?  One name, colour and marker for each engine, and the labels of time steps and states.

The colours are those of Okabe and Ito (2008), "Color universal design", told apart by the colour-blind; each engine has a marker
of its own as well.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr


class Look(NamedTuple):
    """How an engine is drawn and what it is called in a sentence."""

    name: str
    colour: str
    marker: str


KNOWN = {
    "exact": Look("exact", "#1a1a1a", "x"),
    "nuts": Look("NUTS", "#0072b2", "o"),
    "svi": Look("mean-field SVI", "#d55e00", "s"),
    "svi_full_rank": Look("full-rank SVI", "#00805e", "^"),
    "gibbs": Look("Gibbs", "#b0437f", "D"),
    "smc": Look("SMC", "#b87a00", "v"),
}
_SPARE = (("#3b8fc2", "P"), ("#7a5195", "X"), ("#8c6d1f", "<"), ("#4d4d4d", ">"), ("#c44e52", "h"), ("#4c9a2a", "p"))


def looks(engines: Iterable[str]) -> dict[str, Look]:
    """The look of each engine; names that the package does not know take spare colours in their order."""
    found: dict[str, Look] = {}
    spare = 0
    for name in engines:
        if name in KNOWN:
            found[name] = KNOWN[name]
        else:
            found[name] = Look(name, *_SPARE[spare % len(_SPARE)])
            spare += 1
    return found


def called(engine: str) -> str:
    """What an engine is called in a sentence."""
    return KNOWN[engine].name if engine in KNOWN else engine


def time_axis(group: Any) -> tuple[np.ndarray, str]:
    """Where the time steps of a group lie on an axis, and what that axis is called."""
    steps = group.sizes.get("time", 0)
    if "time" in group.coords and group.coords["time"].dtype.kind in "iufM":
        return group.coords["time"].values, titled(group.coords["time"], "time")
    return np.arange(steps), "time step t"


def titled(values: xr.DataArray, otherwise: str) -> str:
    """The name of a variable, with its unit where it has one."""
    name = str(values.attrs.get("long_name", otherwise))
    return f"{name} ({values.attrs['units']})" if "units" in values.attrs else name


def labels(beliefs: Any, axis: str) -> list[str]:
    """What the states, or the dimensions of the state, are called."""
    if axis in beliefs.coords:
        return [str(label) for label in beliefs.coords[axis].values]
    return [f"{'state' if axis == 'state' else 'dimension'} {i}" for i in range(beliefs.sizes.get(axis, 0))]


def at_step(step: int, time: np.ndarray | None) -> str:
    """A time step, by its label where there is one: `1970 (t = 99)`."""
    if time is None or not 0 <= step < len(time):
        return f"t = {step}"
    label = np.datetime_as_string(time[step], unit="D") if time.dtype.kind == "M" else f"{time[step]:g}" if time.dtype.kind == "f" else time[step]
    return f"{label} (t = {step})"


def place(worst: str, time: np.ndarray | None) -> str:
    """Where a finding is worst; a time step with its label."""
    if worst == "-":
        return "\N{EN DASH}"
    step = re.fullmatch(r"t = (\d+)", worst)
    return at_step(int(step.group(1)), time) if step else worst


def time_labels(engines: Mapping[str, Any]) -> np.ndarray | None:
    """The labels of the time steps, if the run has any."""
    for tree in engines.values():
        for group in ("beliefs", "observed_data"):
            if group in tree.children and "time" in tree[group].coords:
                return tree[group].coords["time"].values
    return None


def text(attributes: Mapping[str, Any], name: str, otherwise: str = "") -> str:
    """An attribute as text; `otherwise` where it is missing or empty."""
    value = attributes.get(name, "")
    return str(value) if str(value) else otherwise


def unpacked(attributes: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An attribute that holds a dict as JSON; empty where it is missing."""
    found = json.loads(text(attributes, name, "{}"))
    return found if isinstance(found, dict) else {}


def number(value: Any, digits: int = 3) -> str:
    """So many significant digits, thousands with commas; a dash for what does not apply."""
    value = float(value)
    if np.isnan(value):
        return "\N{EN DASH}"
    shown = f"{value:,.0f}" if 10.0**digits <= abs(value) < 1e7 else f"{value:.{digits}g}"
    return shown.replace("-", "\N{MINUS SIGN}", 1) if value < 0 and "e" not in shown else shown
