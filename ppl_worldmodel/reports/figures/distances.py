"""Figure of distances: how far each engine's beliefs are from its reference over time, against tolerance and noise.

The upper 95 % limit of every distance is drawn, too; the largest of them decides between `agrees` and `undecided`. Of several
series the largest at each time step is drawn.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from ppl_worldmodel.checks.distances import Distances, distances
from ppl_worldmodel.checks.verdict import Finding
from ppl_worldmodel.infer.beliefs import KINDS
from ppl_worldmodel.reports.figures.embedding import DENSE, Picture, picture, sheet, style
from ppl_worldmodel.reports.figures.styles import Look
from ppl_worldmodel.reports.names import group, located, number, time_axis, time_labels
from ppl_worldmodel.reports.sentence import UNITS

Rows = list[tuple[Finding, Distances]]
FAR = 20.0  # a distance of so many tolerances calls for a logarithmic axis


class Line(NamedTuple):
    """The curves that are drawn: the largest values of all series at each time step, each (step,)."""

    step: np.ndarray
    distance: np.ndarray
    error: np.ndarray
    upper: np.ndarray


def distance_figure(
    kind: str, findings: tuple[Finding, ...], engines: Mapping[str, xr.DataTree], look: Mapping[str, Look]
) -> Picture | None:
    """One panel for each engine whose beliefs of this kind were checked, on one scale; None where none was."""
    rows = _rows(kind, findings, engines)
    beliefs = group(engines[rows[0][0].candidate], "beliefs") if rows else None
    if beliefs is None:
        return None
    time, time_title = time_axis(beliefs)
    told = []
    with style():
        figure, axes = sheet(len(rows), 0.75 + 1.25 * len(rows), share_y=True)
        for (finding, found), panel in zip(rows, axes, strict=True):
            engine = look[finding.candidate]
            _draw(panel, time, line(found), engine)
            panel.axhline(finding.tolerance, color="#222222", linewidth=0.9, linestyle=(0, (5, 2)), zorder=2)
            title = f"{engine.name} against {look[finding.reference].name}"
            panel.set_title(title, color=engine.colour, fontweight="bold", pad=3)
            panel.set_ylabel(f"distance ({UNITS[found.unit]})")
            where = located(found.worst, time_labels(beliefs))
            told.append(f"{engine.name} {number(found.distance.max())} {where}")
        far = _scale(axes, [row for each in KINDS for row in _rows(each, findings, engines)])
        axes[-1].set_xlim(*_ends(time))
        axes[-1].set_xlabel(time_title)
        bars = " (or short bars)" if any(_few(line(found), time) for _, found in rows) else ""
        caption = (
            f"{kind.capitalize()} beliefs, {rows[0][1].unit}; largest: {'; '.join(told)}. Dashed: the tolerance, "
            f"{number(rows[0][0].tolerance)}. Dotted{bars}: upper 95 % limits of the distances. "
            "Grey: two standard errors, what Monte Carlo error alone would show."
        ) + (" The scale is logarithmic." if far else "")
        if rows[0][1].series is not None:
            caption += f" At each time step the largest of {len(rows[0][1].names)} series."
        return picture(figure, caption, dense=len(time) * len(rows) > DENSE)


def _rows(kind: str, findings: tuple[Finding, ...], engines: Mapping[str, xr.DataTree]) -> Rows:
    """The findings about this kind of belief, with the distances that they are about."""
    rows = []
    for finding in findings:
        if finding.quantity.startswith(f"{kind} beliefs") and {finding.candidate, finding.reference} <= set(engines):
            found = distances(kind, engines[finding.candidate], engines[finding.reference])
            if found is not None:
                rows.append((finding, found))
    return rows


def line(found: Distances) -> Line:
    """The largest distance, error and upper limit of each time step that has an answer."""
    steps, at = np.unique(found.step, return_inverse=True)
    largest = []
    for values in (found.distance, found.error, found.upper):
        most = np.full(steps.size, -np.inf)
        with np.errstate(invalid="ignore"):
            np.maximum.at(most, at, values)
        largest.append(np.where(np.isfinite(most), most, np.nan))  # an error that is not known is not drawn
    return Line(steps, *largest)


def worst_series(findings: tuple[Finding, ...], engines: Mapping[str, xr.DataTree]) -> list[int]:
    """All series that were compared, those first whose smoothed beliefs (else filtered ones) are furthest off."""
    for kind in reversed(KINDS):
        for _, found in sorted(_rows(kind, findings, engines), key=lambda row: -row[1].distance.max()):
            return found.worst_series
    return []


def _draw(panel: Axes, time: np.ndarray, found: Line, engine: Look) -> None:
    at, noise, colour = time[found.step], 2.0 * found.error, engine.colour
    if _few(found, time):
        panel.vlines(at, 0, noise, color="#c9c9c9", linewidth=5, zorder=1)
        panel.plot(at, found.distance, engine.marker, color=colour, markersize=4, markerfacecolor="white", zorder=3)
        panel.plot(at, found.upper, "_", color=colour, markersize=7, zorder=3)
    else:
        panel.fill_between(at, 0, noise, color="#c9c9c9", linewidth=0, zorder=1)
        panel.plot(at, found.distance, color=colour, linewidth=1.2, zorder=3)
        panel.plot(at, found.upper, color=colour, linewidth=0.8, linestyle=(0, (1, 1.2)), zorder=3)


def _scale(axes: list[Axes], rows: Rows) -> bool:
    """One scale for all kinds of belief: linear, unless a distance is so large that the tolerance would not be seen.

    True if it is logarithmic.
    """
    tolerance = max(finding.tolerance for finding, _ in rows)
    uppers = [found.upper[np.isfinite(found.upper)].max(initial=finding.tolerance) for finding, found in rows]
    top = 1.1 * max(float(upper) for upper in uppers)  # an infinite distance fits on no axis
    far = top > FAR * tolerance
    for panel in axes:
        if far:
            panel.set_yscale("log")
            panel.yaxis.set_major_locator(LogLocator(numticks=4))
            panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            panel.yaxis.set_minor_formatter(NullFormatter())
        panel.set_ylim(tolerance / 20.0 if far else 0.0, 1.5 * top if far else top)
    return far


def _few(found: Line, time: np.ndarray) -> bool:
    return len(found.step) < 0.5 * len(time)


def _ends(time: np.ndarray) -> tuple:
    """First and last time step, with a margin."""
    margin = (time[-1] - time[0]) * 0.03 if len(time) > 1 else 1
    return time[0] - margin, time[-1] + margin
