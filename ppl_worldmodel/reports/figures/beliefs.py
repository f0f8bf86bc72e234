"""Figure of beliefs over time: one engine against its reference in a panel; filtered and smoothed never share one.

The reference is broad and pale, the engine thin and coloured on top, so that agreement is a thin line inside a broad one. Finite
states: probabilities (two states: of the second one; several parts: of each part). Gaussian states: means with 90 % bands, one
panel for each dimension. Of several series, those that differ most are drawn.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from ppl_worldmodel.checks.distances import Distances, distances
from ppl_worldmodel.reports.figures.embedding import DENSE, Picture, picture, sheet, style
from ppl_worldmodel.reports.figures.panels import Panel, panels, state_at
from ppl_worldmodel.reports.figures.styles import Look
from ppl_worldmodel.reports.names import group, located, time_axis, time_labels
from ppl_worldmodel.reports.sentence import amount

NORMAL_90 = 1.6449  # half the width of a central 90 % interval, in standard deviations
DASHED = (0, (3, 1.5))
LONGEST = 17  # letters of a label beside a panel


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
    """One kind of belief (predicted, filtered or smoothed) of one engine; None where the engine has none.

    points   name and values (*sequence, time) of an observed series that lives on the scale of a one-dimensional Gaussian state
    """
    beliefs = group(pair.engine.tree, "beliefs")
    if beliefs is None or kind not in beliefs or not np.isfinite(beliefs[kind].values).any():
        return None
    other = _alike(kind, beliefs, pair.other)
    found = distances(kind, pair.engine.tree, pair.other.tree) if pair.other is not None and pair.checked else None
    shown, told = panels(kind, beliefs, other if found is not None else None, found)
    finite = "state" in beliefs[kind].dims
    time, time_title = time_axis(beliefs)
    with style():
        titles = sum(bool(shown_as(panel)[1]) for panel in shown)
        height = 2.5 if len(shown) == 1 else 0.7 + 1.15 * len(shown) + 0.15 * titles
        figure, axes = sheet(len(shown), height, share_y=finite)
        for panel, on in zip(shown, axes, strict=True):
            if points is not None:
                data = points[1] if panel.series is None else points[1][panel.series]
                on.plot(time, data, ".", color="#9a9a9a", markersize=3.5, zorder=1, label=f"{points[0]} (data)")
            if pair.other is not None and other is not None:
                _reference(on, time, kind, panel, pair.other, other)
            _engine(on, time, kind, panel, pair.engine, beliefs)
            label, title = shown_as(panel)
            on.set_ylabel(label)
            on.set_title(title)
            if finite:
                on.set_ylim(-0.03, 1.03)
        axes[-1].set_xlabel(time_title)
        if finite and len(shown) > 1 and not any(panel.label.startswith("p(") for panel in shown):
            axes[0].set_title("probability of each state")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=min(len(names), 3), columnspacing=1.2)
        caption = _caption(kind, pair, beliefs, other, found) + told
        return picture(figure, caption, dense=len(time) * len(shown) > DENSE)


def _alike(kind: str, beliefs: xr.Dataset, other: Drawn | None) -> xr.Dataset | None:
    """The beliefs of the other result, if it has some of the same kind and shape."""
    found = group(other.tree, "beliefs") if other is not None else None
    if found is None or kind not in found:
        return None
    return found if (found[kind].dims, found[kind].shape) == (beliefs[kind].dims, beliefs[kind].shape) else None


def shown_as(panel: Panel) -> tuple[str, str]:
    """Label of the axis and title of a panel; a label that is too long for the axis stands in the title."""
    if len(panel.label) <= LONGEST:
        return panel.label, panel.title
    return "", f"{panel.title}: {panel.label}" if panel.title else panel.label


def _reference(on: Axes, time: np.ndarray, kind: str, panel: Panel, other: Drawn, beliefs: xr.Dataset) -> None:
    values, half = panel.values(beliefs, kind), _half_width(beliefs, kind, panel)
    colour = other.look.colour
    if half is not None:
        on.fill_between(time, values - half, values + half, color=colour, alpha=0.13, linewidth=0, zorder=1.5)
    on.plot(time, values, color=colour, alpha=0.35, linewidth=3.2, solid_capstyle="round", zorder=2, label=other.name)


def _engine(on: Axes, time: np.ndarray, kind: str, panel: Panel, engine: Drawn, beliefs: xr.Dataset) -> None:
    values = panel.values(beliefs, kind)
    asked = np.isfinite(values)
    half, error = _half_width(beliefs, kind, panel), _two_mcse(beliefs, kind, panel)
    colour, marker = engine.look.colour, engine.look.marker
    if asked.mean() < 0.5:  # single time steps were asked for
        at, mean = time[asked], values[asked]
        if half is not None:
            low, high = mean - half[asked], mean + half[asked]
            on.vlines(at, low, high, color=colour, linewidth=0.8, linestyle=DASHED, zorder=3)
        on.errorbar(
            at, mean, yerr=error[asked], fmt=marker, color=colour, markersize=4, capsize=2.5, elinewidth=1,
            markerfacecolor="white", zorder=4, label=f"{engine.name} (± 2 MCSE)",
        )  # fmt: skip
        return
    every = max(1, len(time) // 12)
    on.plot(
        time, values, color=colour, marker=marker, markevery=every, markersize=3.2, linewidth=1.1, zorder=3,
        label=engine.name,
    )  # fmt: skip
    if half is not None:
        for edge in (values - half, values + half):
            on.plot(time, edge, color=colour, linewidth=0.8, linestyle=DASHED, zorder=3)
    elif error[asked].max() > 0:
        on.fill_between(time, values - error, values + error, color=colour, alpha=0.25, linewidth=0, zorder=2.5)


def _half_width(beliefs: xr.Dataset, kind: str, panel: Panel) -> np.ndarray | None:
    """Half the width of the central 90 % band of a coordinate, (time,); None for finite states."""
    name = f"{kind}_covariance"
    return NORMAL_90 * np.sqrt(np.maximum(panel.variances(beliefs, name), 0.0)) if name in beliefs else None


def _two_mcse(beliefs: xr.Dataset, kind: str, panel: Panel) -> np.ndarray:
    """Two standard errors, (time,); of a sum of probabilities the sum of theirs, which is an upper bound."""
    name = f"{kind}_mcse"
    if name not in beliefs:
        return np.zeros(beliefs.sizes["time"])
    return 2.0 * panel.values(beliefs.fillna({name: 0.0}), name)


def _caption(kind: str, pair: Pair, beliefs: xr.Dataset, other: xr.Dataset | None, found: Distances | None) -> str:
    head = f"{kind.capitalize()}: {pair.engine.name}"
    bands = " Bands and dashed lines: 90 %." if f"{kind}_covariance" in beliefs else ""
    if pair.other is None:
        return f"{head}.{bands}"
    head += f" against {pair.other.name}."
    if not pair.checked:
        return f"{head} Drawn for the eye, not checked: the two answer different questions.{bands}"
    if found is None or other is None:
        return f"{head}{bands}"
    where = located(found.worst, time_labels(beliefs))
    every = int(np.prod(beliefs[kind].shape[:-1]))
    some = f" (of the {len(found.step)} steps that both answer)" if len(found.step) < every else ""
    off = amount(float(found.distance.max()), found.unit, 3)
    return f"{head} They differ most {where}{some}, by {off}{state_at(kind, beliefs, other, found)}.{bands}"
