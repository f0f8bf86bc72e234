"""What was learned?  ArviZ's forest of every parameter, all engines side by side, and the rank plots of the chains.

Every entry of an array becomes a variable of its own (`T[0, 1]`), named as in the findings.
"""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from arviz_plots import plot_forest, plot_rank
from matplotlib.lines import Line2D

from ppl_worldmodel.reports.figures import WIDTH, Picture, picture, style
from ppl_worldmodel.reports.names import Look

MOST_ENTRIES = 36
MOST_RANKS = 16


def entries(name: str, draws: np.ndarray) -> dict[str, np.ndarray]:
    """Each entry of a parameter, by its label; `draws` has the leading axes (chain, draw)."""
    return {f"{name}{list(index) if index else ''}": draws[(..., *index)] for index in np.ndindex(*draws.shape[2:])}


def forest(name: str, draws: Mapping[str, np.ndarray], look: Mapping[str, Look], truth: Any = None) -> Picture:
    """Means with central 50 % and 90 % intervals of one parameter under each engine; the truth as a star."""
    length = max(values.shape[0] * values.shape[1] for values in draws.values())
    trees = {engine: _padded(entries(name, values), length) for engine, values in draws.items()}
    labels = list(entries(name, next(iter(draws.values()))))[:MOST_ENTRIES]
    skip = {"skipna": True}
    with style(), plt.ioff():
        collection = plot_forest(
            trees, sample_dims=["sample"], combined=True, backend="matplotlib", ci_kind="eti", ci_probs=(0.5, 0.9),
            point_estimate="mean", stats={"trunk": skip, "twig": skip, "point_estimate": skip},
            aes={"color": ["model"], "marker": ["model"]}, color=[look[engine].colour for engine in trees],
            marker=[_filled(look[engine].marker) for engine in trees],
            aes_by_visuals={"credible_interval": ["color", "y"], "point_estimate": ["color", "y", "marker"]},
            visuals={"point_estimate": {"size": 16}, "labels": {"size": 8}, "trunk": {"width": 2.4}, "twig": {"width": 0.9}},
            labels=["__variable__"], figure_kwargs={"figsize": (WIDTH, 0.9 + 0.33 * len(labels)), "width_ratios": [1, 6], "layout": "constrained"},
        )  # fmt: skip
        figure = collection.viz["figure"].item()
        plt.close(figure)
        axes = collection.viz["plot"].sel(column="forest").item()
        heights = collection.aes["y"].to_dataset()
        handles = [
            Line2D([], [], color=look[engine].colour, marker=_filled(look[engine].marker), markersize=4, label=look[engine].name) for engine in trees
        ]
        if truth is not None:
            for label, value in zip(entries(name, np.asarray(truth)[None, None]), np.ravel(truth), strict=True):
                if label in heights:
                    axes.vlines(value, heights[label].min() - 0.2, heights[label].max() + 0.2, color="#1a1a1a", linewidth=1.6, zorder=5)
            handles.append(Line2D([], [], color="#1a1a1a", marker="|", linestyle="none", markersize=9, markeredgewidth=1.6, label="truth"))
        axes.set_xlabel(name)
        collection.viz["plot"].sel(column="labels").item().set_axis_off()
        figure.legend(handles=handles, loc="outside upper left", ncols=4, columnspacing=1.0, handlelength=1.3)
        caption = f"{name}: mean, 50 % (thick) and 90 % interval (thin) under {_joined([look[engine].name for engine in trees])}"
        caption += "; black: the truth." if truth is not None else "."
        if len(labels) == MOST_ENTRIES:
            caption += f" The first {MOST_ENTRIES} entries are shown; all are in the table."
        return picture(figure, caption, caption)


def ranks(name: str, draws: np.ndarray, look: Look, rhat: float) -> Picture:
    """Do the chains of an engine draw from one distribution?  Differences of the ranks' distribution from the uniform, a line a chain."""
    chosen = dict(list(entries(name, draws).items())[:MOST_RANKS])
    coords = {"chain": np.arange(draws.shape[0]), "draw": np.arange(draws.shape[1])}
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset({label: (("chain", "draw"), values) for label, values in chosen.items()}, coords)})
    columns = 2 if len(chosen) in (2, 4) else min(len(chosen), 3)
    rows = -(-len(chosen) // columns)
    shades = [mpl.colors.to_hex(shade) for shade in _shades(look.colour, draws.shape[0])]
    with style(), plt.ioff():
        # ArviZ's test of uniformity wants independent draws: of good chains with autocorrelation 0.6 it rejects two in five at the
        # level of 1 %, and one in forty once they are thinned.
        collection = plot_rank(
            tree, backend="matplotlib", col_wrap=columns, thin=True, aes={"color": ["chain"]}, color=shades, figure_kwargs={"figsize": (WIDTH, 0.5 + 1.3 * rows), "layout": "constrained"},
            visuals={"xlabel": False, "title": {"size": 8}, "remove_axis": False},
        )  # fmt: skip
        figure = collection.viz["figure"].item()
        plt.close(figure)
        figure.supxlabel("fractional rank among all chains", fontsize=8)
        figure.supylabel("ECDF minus uniform", fontsize=8)
        caption = (
            f"{name}: ranks of {look.name}'s {draws.shape[0]} chains (thinned to nearly independent draws), a shade a chain; the "
            f"largest R-hat is {rhat:.3f}. Chains that agree stay near zero. p: ArviZ's test of each entry alone, which is no finding."
        )
        return picture(figure, caption, caption, dense=True)


def _padded(values: Mapping[str, np.ndarray], length: int) -> xr.DataTree:
    """All draws in a row, of one length for all engines, as ArviZ needs it: NaN where an engine has fewer."""
    rows = {label: np.append(draws.ravel(), np.full(length - draws.size, np.nan)) for label, draws in list(values.items())[:MOST_ENTRIES]}
    dataset = xr.Dataset({label: ("sample", row) for label, row in rows.items()}, {"sample": np.arange(length)})
    return xr.DataTree.from_dict({"posterior": dataset})


def _shades(colour: str, chains: int) -> np.ndarray:
    """Shades of one colour, from dark to light, (chains, 3)."""
    base = np.array(mpl.colors.to_rgb(colour))
    light = np.linspace(-0.45, 0.55, chains)[:, None]
    return np.where(light < 0, base * (1 + light), base + (1 - base) * light)


def _filled(marker: str) -> str:
    return "X" if marker == "x" else marker


def _joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
