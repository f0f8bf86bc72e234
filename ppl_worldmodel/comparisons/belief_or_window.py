"""Belief against window of history: the best model that has a state, beside the best of those that have none.

A belief that is sufficient predicts as well as any function of the past. A window holds the last few observations only, and learns
freely what follows them. If a window predicts better, the belief lacks something.
"""

import numpy as np
import xarray as xr

from ppl_worldmodel.comparisons.paired_difference import TELLS, Difference, difference
from ppl_worldmodel.comparisons.ranking import BARELY


def belief_or_window(tree: xr.DataTree) -> str:
    """A sentence that says which predicts better; empty where either kind is missing. tree: of a comparison (see `compare`)."""
    table, pointwise = tree["scores"].to_dataset(), tree["pointwise"].to_dataset()["lfo"]
    states = table["state"].values.astype(bool)
    if states.all() or not states.any():
        return ""
    belief, window = (str(table["model"].values[np.flatnonzero(kind)[0]]) for kind in (states, ~states))
    noise = float(np.hypot(*(table["lfo_noise"].sel(model=name).item() for name in (belief, window))))
    ahead = difference(pointwise.sel(model=belief).values, pointwise.sel(model=window).values, monte_carlo=noise)
    return f"{_in_prediction(belief, window, ahead)} {_evidence(table, states)}".strip()


def _in_prediction(belief: str, window: str, ahead: Difference) -> str:
    said = f"{abs(ahead.total):.1f} +- {ahead.error:.1f} nats over {ahead.steps} steps"
    if not ahead.tells:
        return f"By prediction one cannot tell the belief of {belief} from {_a(window)} ({said} apart)."
    first, second = (
        (f"The belief of {belief}", _a(window))
        if ahead.total > 0
        else (_a(window).capitalize(), f"the belief of {belief}")
    )
    return f"{first} predicts better than {second}, by {said}."


def _evidence(table: xr.Dataset, states: np.ndarray) -> str:
    values = np.where(np.isfinite(table["evidence"].values), table["evidence"].values, -np.inf)
    belief, window = (int(np.where(kind, values, -np.inf).argmax()) for kind in (states, ~states))
    gap, names = float(values[belief] - values[window]), table["model"].values
    if not np.isfinite(gap):
        return ""
    error = float(np.hypot(*table["evidence_error"].values[[belief, window]]))
    if abs(gap) <= max(TELLS * error, BARELY):
        return f"Nor does the evidence tell {names[belief]} from {_a(str(names[window]))} ({abs(gap):.1f} nats apart)."
    first, second = (belief, window) if gap > 0 else (window, belief)
    return f"By evidence {_a(str(names[first]))} is {abs(gap):.1f} nats ahead of {_a(str(names[second]))}."


def _a(name: str) -> str:
    """The name in a sentence: "window of 1" is a window of one observation."""
    return f"a {name} observation{'' if name.endswith(' 1') else 's'}" if name.startswith("window of") else name
