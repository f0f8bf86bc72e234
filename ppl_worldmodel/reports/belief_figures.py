"""What does each engine believe over time?  One engine against its reference in a panel; filtered and smoothed never share one.

The reference is broad and pale, the engine thin and coloured on top, so that agreement is a thin line inside a broad one. Finite
states: probabilities (two states: of the second one). Gaussian states: means with 90 % bands, a panel a dimension.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from ppl_worldmodel.checks.distances import distances
from ppl_worldmodel.reports.figures import DENSE, MOST_PANELS, Picture, picture, sheet, style
from ppl_worldmodel.reports.looks import Look
from ppl_worldmodel.reports.names import at_step, group, state_labels, time_axis, time_labels
from ppl_worldmodel.reports.sentence import amount

NORMAL_90 = 1.6449  # half the width of a central 90 % interval, in standard deviations
DASHED = (0, (3, 1.5))


class Drawn(NamedTuple):
    """A result, its look, and what it is called here."""

    tree: xr.DataTree
    look: Look
    name: str


class Pair(NamedTuple):
    """An engine and what it is drawn against; `checked`: both answer the same question, so that their distance means something."""

    engine: Drawn
    other: Drawn | None
    checked: bool


def belief_figure(kind: str, pair: Pair, points: tuple[str, np.ndarray] | None = None) -> Picture | None:
    """One kind of belief ("filtered" or "smoothed") of one engine; None where the engine has none.

    points   name and values (time,) of an observed series that lives on the scale of a one-dimensional Gaussian state
    """
    beliefs = group(pair.engine.tree, "beliefs")
    if beliefs is None or kind not in beliefs or not np.isfinite(beliefs[kind].values).any():
        return None
    axis = str(beliefs[kind].dims[-1])
    titles = state_labels(beliefs, axis)
    shown = [1] if len(titles) == 2 and axis == "state" else list(range(len(titles)))[:MOST_PANELS]
    time, time_title = time_axis(beliefs)
    with style():
        figure, axes = sheet(len(shown), 2.5 if len(shown) == 1 else 0.7 + 1.15 * len(shown), share_y=axis == "state")
        for i, panel in zip(shown, axes, strict=True):
            if points is not None:
                panel.plot(time, points[1], ".", color="#9a9a9a", markersize=3.5, zorder=1, label=f"{points[0]} (data)")
            if pair.other is not None:
                _reference(panel, time, kind, i, pair.other)
            _engine(panel, time, kind, i, pair.engine, beliefs)
            panel.set_ylabel(f"p(state = {titles[i]})" if axis == "state" and len(shown) == 1 else titles[i])
            if axis == "state":
                panel.set_ylim(-0.03, 1.03)
        axes[-1].set_xlabel(time_title)
        if axis == "state" and len(shown) > 1:
            axes[0].set_title("probability of each state")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=min(len(names), 3), columnspacing=1.2)
        caption = _caption(kind, pair, beliefs)
        if 1 < len(shown) < len(titles):
            caption += f" The first {len(shown)} of {len(titles)} are shown."
        return picture(figure, caption, dense=len(time) * len(shown) > DENSE)


def _reference(panel: Axes, time: np.ndarray, kind: str, i: int, other: Drawn) -> None:
    beliefs = group(other.tree, "beliefs")
    if beliefs is None or kind not in beliefs or beliefs.sizes["time"] != len(time):
        return
    values, half = beliefs[kind].values[:, i], _half_width(beliefs, kind, i)
    colour = other.look.colour
    if half is not None:
        panel.fill_between(time, values - half, values + half, color=colour, alpha=0.13, linewidth=0, zorder=1.5)
    panel.plot(
        time, values, color=colour, alpha=0.35, linewidth=3.2, solid_capstyle="round", zorder=2, label=other.name
    )


def _engine(panel: Axes, time: np.ndarray, kind: str, i: int, engine: Drawn, beliefs: xr.Dataset) -> None:
    values = beliefs[kind].values[:, i]
    asked = np.isfinite(values)
    half, error = _half_width(beliefs, kind, i), _two_mcse(beliefs, kind, i)
    colour, marker = engine.look.colour, engine.look.marker
    if asked.mean() < 0.5:  # single time steps were asked for
        at, mean = time[asked], values[asked]
        if half is not None:
            low, high = mean - half[asked], mean + half[asked]
            panel.vlines(at, low, high, color=colour, linewidth=0.8, linestyle=DASHED, zorder=3)
        panel.errorbar(
            at, mean, yerr=error[asked], fmt=marker, color=colour, markersize=4, capsize=2.5, elinewidth=1,
            markerfacecolor="white", zorder=4, label=f"{engine.name} (± 2 MCSE)",
        )  # fmt: skip
        return
    every = max(1, len(time) // 12)
    panel.plot(
        time, values, color=colour, marker=marker, markevery=every, markersize=3.2, linewidth=1.1, zorder=3,
        label=engine.name,
    )  # fmt: skip
    if half is not None:
        for edge in (values - half, values + half):
            panel.plot(time, edge, color=colour, linewidth=0.8, linestyle=DASHED, zorder=3)
    elif error[asked].max() > 0:
        panel.fill_between(time, values - error, values + error, color=colour, alpha=0.25, linewidth=0, zorder=2.5)


def _half_width(beliefs: xr.Dataset, kind: str, i: int) -> np.ndarray | None:
    """Half the width of the central 90 % band of a dimension, (time,); None for finite states."""
    name = f"{kind}_covariance"
    return NORMAL_90 * np.sqrt(np.maximum(beliefs[name].values[:, i, i], 0.0)) if name in beliefs else None


def _two_mcse(beliefs: xr.Dataset, kind: str, i: int) -> np.ndarray:
    name = f"{kind}_mcse"
    return 2.0 * np.nan_to_num(beliefs[name].values[:, i]) if name in beliefs else np.zeros(beliefs.sizes["time"])


def _caption(kind: str, pair: Pair, beliefs: xr.Dataset) -> str:
    head = f"{kind.capitalize()}: {pair.engine.name}"
    bands = " Bands and dashed lines: 90 %." if f"{kind}_covariance" in beliefs else ""
    if pair.other is None:
        return f"{head}.{bands}"
    head += f" against {pair.other.name}."
    if not pair.checked:
        return f"{head} Drawn for the eye, not checked: the two answer different questions.{bands}"
    found = distances(kind, pair.engine.tree, pair.other.tree)
    if found is None:
        return f"{head}{bands}"
    worst = int(found.distance.argmax())
    step = at_step(int(found.step[worst]), time_labels(beliefs))
    some = f" (of the {len(found.step)} steps asked for)" if len(found.step) < beliefs.sizes["time"] else ""
    return f"{head} They differ most at {step}{some}, by {amount(float(found.distance[worst]), found.unit, 3)}.{bands}"
