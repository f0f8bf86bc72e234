"""Forest plot, by ArviZ, of every learned parameter: all engines side by side, with the truth where it is known."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from arviz_plots import plot_forest
from matplotlib.lines import Line2D

from ppl_worldmodel.reports.figures.embedding import WIDTH, Picture, picture, style
from ppl_worldmodel.reports.figures.styles import Look
from ppl_worldmodel.reports.names import joined
from ppl_worldmodel.reports.parameters import at, entries

MOST = 36
TRUTH = "#1a1a1a"


def forest(name: str, draws: Mapping[str, np.ndarray], look: Mapping[str, Look], truth: Any = None) -> Picture:
    """Means with central 50 % and 90 % intervals of one parameter under each engine.

    draws   of each engine, with the leading axes (chain, draw); numbers of draws may differ
    """
    length = max(values.shape[0] * values.shape[1] for values in draws.values())
    trees = {engine: _in_a_row(entries(name, values), length) for engine, values in draws.items()}
    engines = [look[engine] for engine in trees]
    total = len(entries(name, next(iter(draws.values()))))
    height = 0.9 + 0.33 * min(total, MOST)
    skip = {"skipna": True}
    with style(), plt.ioff():
        collection = plot_forest(
            trees,
            sample_dims=["sample"],
            combined=True,
            backend="matplotlib",
            ci_kind="eti",
            ci_probs=(0.5, 0.9),
            point_estimate="mean",
            stats={"trunk": skip, "twig": skip, "point_estimate": skip},
            aes={"color": ["model"], "marker": ["model"]},
            color=[engine.colour for engine in engines],
            marker=[engine.marker for engine in engines],
            aes_by_visuals={"credible_interval": ["color", "y"], "point_estimate": ["color", "y", "marker"]},
            visuals={
                "point_estimate": {"size": 16},
                "labels": {"size": 8},
                "trunk": {"width": 2.4},
                "twig": {"width": 0.9},
            },
            labels=["__variable__"],
            figure_kwargs={"figsize": (WIDTH, height), "width_ratios": [1, 6], "layout": "constrained"},
        )
        figure = collection.viz["figure"].item()
        plt.close(figure)
        panel = collection.viz["plot"].sel(column="forest").item()
        handles = [Line2D([], [], color=e.colour, marker=e.marker, markersize=4, label=e.name) for e in engines]
        if truth is not None:
            heights = collection.aes["y"].to_dataset()
            for label, value in at(name, truth).items():
                if label in heights:
                    low, high = float(heights[label].min()) - 0.2, float(heights[label].max()) + 0.2
                    panel.vlines(value, low, high, color=TRUTH, linewidth=1.6, zorder=5)
            handles.append(
                Line2D(
                    [], [], color=TRUTH, marker="|", linestyle="none", markersize=9, markeredgewidth=1.6, label="truth"
                )
            )
        panel.set_xlabel(name)
        collection.viz["plot"].sel(column="labels").item().set_axis_off()
        figure.legend(handles=handles, loc="outside upper left", ncols=4, columnspacing=1.0, handlelength=1.3)
        caption = f"{name}: mean, 50 % (thick) and 90 % interval (thin) under {joined([e.name for e in engines])}"
        caption += "; black: the truth." if truth is not None else "."
        caption += f" The first {MOST} of {total} entries are shown." if total > MOST else ""
        return picture(figure, caption)


def _in_a_row(values: Mapping[str, np.ndarray], length: int) -> xr.DataTree:
    """All draws in one vector, of one length for all engines, as ArviZ needs it: NaN where an engine has fewer."""
    rows = {
        label: ("sample", np.append(np.ravel(draws), np.full(length - draws.size, np.nan)))
        for label, draws in list(values.items())[:MOST]
    }
    return xr.DataTree.from_dict({"posterior": xr.Dataset(rows, {"sample": np.arange(length)})})
