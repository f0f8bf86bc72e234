"""What does each engine believe over time?  One engine against its reference in a panel; filtered and smoothed never share one.

The reference is broad and pale, the engine thin and coloured on top, so that agreement is a thin line inside a broad one. Finite
states: probabilities (two states: of the second one). Gaussian states: means with 90 % bands, a panel a dimension.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from ppl_worldmodel.reports.distances import distances
from ppl_worldmodel.reports.figures import Picture, picture, sheet, style
from ppl_worldmodel.reports.names import Look, at_step, labels, time_axis
from ppl_worldmodel.reports.sentence import amount

NORMAL_90 = 1.6449  # half the width of a central 90 % interval, in standard deviations
MOST_PANELS = 8
DENSE = 3000  # points above which an image is smaller than lines


class Pair(NamedTuple):
    """An engine and what it is drawn against; `checked`: both answer the same question, so that their distance means something."""

    name: str
    tree: xr.DataTree
    look: Look
    other: xr.DataTree | None
    other_name: str
    other_look: Look | None
    checked: bool


def belief_figure(kind: str, pair: Pair, points: tuple[str, np.ndarray] | None = None) -> Picture | None:
    """One kind of belief ("filtered" or "smoothed") of one engine; None where the engine has none.

    points   name and values (time,) of an observed series that lives on the scale of a one-dimensional Gaussian state
    """
    beliefs = pair.tree["beliefs"] if "beliefs" in pair.tree.children else None
    if beliefs is None or kind not in beliefs.data_vars or not np.isfinite(beliefs[kind].values).any():
        return None
    axis = str(beliefs[kind].dims[-1])
    titles = labels(beliefs, axis)
    shown = [1] if len(titles) == 2 and axis == "state" else list(range(len(titles)))[:MOST_PANELS]
    time, time_title = time_axis(beliefs)
    with style():
        figure, axes = sheet(len(shown), 2.5 if len(shown) == 1 else 0.7 + 1.15 * len(shown), share_y=axis == "state")
        for i, panel in zip(shown, axes, strict=True):
            if points is not None:
                panel.plot(time, points[1], ".", color="#9a9a9a", markersize=3.5, zorder=1, label=f"{points[0]} (data)")
            if pair.other is not None and pair.other_look is not None:
                _reference(panel, time, pair.other, kind, i, pair.other_look, pair.other_name)
            _engine(panel, time, pair, kind, i)
            panel.set_ylabel(f"p(state = {titles[i]})" if axis == "state" and len(shown) == 1 else titles[i])
            if axis == "state":
                panel.set_ylim(-0.03, 1.03)
        axes[-1].set_xlabel(time_title)
        if axis == "state" and len(shown) > 1:
            axes[0].set_title("probability of each state")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=min(len(names), 3), columnspacing=1.2)
        caption = _caption(kind, pair, time if "time" in beliefs.coords else None)
        if len(shown) < len(titles) and len(shown) > 1:
            caption += f" The first {len(shown)} of {len(titles)} are shown."
        return picture(figure, caption, caption, dense=len(time) * len(shown) > DENSE)


def _reference(panel: Axes, time: np.ndarray, tree: xr.DataTree, kind: str, i: int, look: Look, name: str) -> None:
    if "beliefs" not in tree.children or kind not in tree["beliefs"].data_vars:
        return
    values = tree["beliefs"][kind].values[:, i]
    half = _half_width(tree, kind, i)
    if half is not None:
        panel.fill_between(time, values - half, values + half, color=look.colour, alpha=0.13, linewidth=0, zorder=1.5)
    panel.plot(time, values, color=look.colour, alpha=0.35, linewidth=3.2, solid_capstyle="round", zorder=2, label=name)


def _engine(panel: Axes, time: np.ndarray, pair: Pair, kind: str, i: int) -> None:
    values = pair.tree["beliefs"][kind].values[:, i]
    asked = np.isfinite(values)
    half, error = _half_width(pair.tree, kind, i), _two_mcse(pair.tree, kind, i)
    look = pair.look
    if asked.mean() < 0.5:  # single time steps were asked for
        if half is not None:
            panel.vlines(time[asked], (values - half)[asked], (values + half)[asked], color=look.colour, linewidth=0.8, linestyle=(0, (3, 1.5)), zorder=3)
        panel.errorbar(
            time[asked], values[asked], yerr=error[asked], fmt=look.marker, color=look.colour, markersize=4, capsize=2.5,
            elinewidth=1, markerfacecolor="white", zorder=4, label=f"{look.name} (± 2 MCSE)",
        )  # fmt: skip
        return
    every = max(1, len(time) // 12)
    panel.plot(time, values, color=look.colour, marker=look.marker, markevery=every, markersize=3.2, linewidth=1.1, zorder=3, label=look.name)
    if half is not None:
        for side in (-1, 1):
            panel.plot(time, values + side * half, color=look.colour, linewidth=0.8, linestyle=(0, (3, 1.5)), zorder=3)
    elif error[asked].max() > 0:
        panel.fill_between(time, values - error, values + error, color=look.colour, alpha=0.25, linewidth=0, zorder=2.5)


def _half_width(tree: xr.DataTree, kind: str, i: int) -> np.ndarray | None:
    """Half the width of the central 90 % band of a dimension, (time,)."""
    name = f"{kind}_covariance"
    if name not in tree["beliefs"].data_vars:
        return None
    return NORMAL_90 * np.sqrt(np.maximum(tree["beliefs"][name].values[:, i, i], 0.0))


def _two_mcse(tree: xr.DataTree, kind: str, i: int) -> np.ndarray:
    name = f"{kind}_mcse"
    group = tree["beliefs"]
    return 2.0 * np.nan_to_num(group[name].values[:, i]) if name in group.data_vars else np.zeros(group.sizes["time"])


def _caption(kind: str, pair: Pair, time: np.ndarray | None) -> str:
    head = f"{kind.capitalize()}: {pair.look.name}"
    if pair.other is None:
        return f"{head}."
    head += f" against {pair.other_name}."
    if not pair.checked:
        return f"{head} Drawn for the eye, not checked: the two answer different questions."
    found = distances(kind, pair.tree, pair.other)
    if found is None:
        return head
    worst = int(found.distance.argmax())
    asked, steps = len(found.step), pair.tree["beliefs"].sizes["time"]
    some = f" (of the {asked} steps asked for)" if asked < steps else ""
    lines = " Bands and dashed lines: 90 %." if "dim" in pair.tree["beliefs"][kind].dims else ""
    off = amount(float(found.distance[worst]), found.unit, 3)
    return f"{head} They differ most at {at_step(int(found.step[worst]), time)}{some}, by {off}.{lines}"


