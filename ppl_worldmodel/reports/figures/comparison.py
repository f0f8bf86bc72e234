"""Comparison plots: how far each model is behind the best, by ArviZ, and score differences summed over time."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from arviz_plots import plot_compare
from matplotlib.ticker import MaxNLocator

from ppl_worldmodel.comparisons.paired_difference import TELLS
from ppl_worldmodel.reports.figures.embedding import GREY, WIDTH, Picture, picture, sheet, style
from ppl_worldmodel.reports.figures.styles import Look, looks
from ppl_worldmodel.reports.names import time_axis

MOST_LINES = 6


def standing(scores: xr.Dataset) -> list[Picture]:
    """How far every model is behind the best one: in leave-future-out score, and in log evidence."""
    foretold = _lacking(
        scores["model"].values,
        scores["behind"].values,
        scores["behind_error"].values,
        "leave-future-out score, nats behind the best",
    )
    known = scores.isel(model=np.flatnonzero(np.isfinite(scores["evidence"].values)))
    known = known.isel(model=np.argsort(-known["evidence"].values, kind="stable"))
    if not known.sizes["model"]:
        return [foretold]
    errors = known["evidence_error"].values
    evidence = _lacking(
        known["model"].values,
        known["evidence"].values - known["evidence"].values[0],
        np.hypot(errors, errors[0]) * (np.arange(errors.size) > 0),
        "log evidence, nats behind the best",
    )
    return [foretold, evidence]


def _lacking(names: np.ndarray, lacks: np.ndarray, errors: np.ndarray, what: str) -> Picture:
    table = pd.DataFrame(
        {"elpd_diff": lacks, "dse": TELLS * np.nan_to_num(errors)}, index=[str(name) for name in names]
    )
    with style(), plt.ioff():
        drawn = plot_compare(
            table,
            backend="matplotlib",
            visuals={
                "title": False,
                "error_bar": {"color": "#0072b2", "width": 2.0},
                "point_estimate": {"color": "#0072b2", "size": 26, "marker": "o"},
                "ref_line": {"color": GREY, "width": 0.8},
                "labels": {"size": 8},
                "ticklabels": {"size": 8},
            },
            figure_kwargs={"figsize": (WIDTH, 0.8 + 0.28 * len(table)), "layout": "constrained"},
        )
        figure = drawn.viz["figure"].item()
        plt.close(figure)
        axes = drawn.viz["plot"].item()
        axes.set(xlabel=what, ylabel="")
        axes.tick_params(labelsize=8, labelcolor="#222222")
        axes.margins(x=0.06)
        return picture(
            figure,
            f"{what[0].upper()}{what[1:]}: to the left of the line is worse; bars are {TELLS:g} standard errors.",
        )


def over_time(pointwise: xr.Dataset) -> Picture | None:
    """Score differences of each model to the best one, summed from the first scored step; None if there is one model."""
    names, scores = [str(name) for name in pointwise["model"].values], pointwise["lfo"].values
    if len(names) < 2:
        return None
    lost = np.nancumsum(scores[1:] - scores[0], axis=1)
    scored = np.flatnonzero(np.isfinite(scores).all(axis=0))
    time, title = time_axis(pointwise)
    look: dict[str, Look] = looks(names[1:])
    with style():
        figure, (axes,) = sheet(1, 2.6)
        axes.axhline(0.0, color=GREY, linewidth=0.8)
        for name, line in list(zip(names[1:], lost, strict=True))[:MOST_LINES]:
            axes.plot(
                time[scored], line[scored], color=look[name].colour, marker=look[name].marker, markersize=4,
                markevery=max(1, scored.size // 12), label=name,
            )  # fmt: skip
        axes.set(xlabel=title, ylabel="nats ahead of the best model")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.legend(loc="best")
        return picture(
            figure,
            f"Sum of the score differences to {names[0]} up to each step: where a line falls, {names[0]} predicted better; a jump "
            "is a single observation that decides.",
        )
