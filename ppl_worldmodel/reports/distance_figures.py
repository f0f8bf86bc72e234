"""Where do beliefs differ?  The distance of each engine from its reference at every time step, against tolerance and noise."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from ppl_worldmodel.checks.verdict import Finding, limit
from ppl_worldmodel.reports.distances import Distances, distances
from ppl_worldmodel.reports.figures import Picture, picture, sheet, style
from ppl_worldmodel.reports.names import Look, at_step, number, time_axis
from ppl_worldmodel.reports.sentence import UNITS

DENSE = 3000


def distance_figure(
    kind: str, findings: tuple[Finding, ...], engines: Mapping[str, xr.DataTree], look: Mapping[str, Look]
) -> Picture | None:
    """One panel for each engine whose beliefs of this kind were checked, on one scale; None where none was.

    Also drawn is the upper 95 % limit of every distance (all at once), whose largest decides between agreement and undecided.
    """
    rows = _rows(kind, findings, engines)
    if not rows:
        return None
    group = engines[rows[0][0].candidate]["beliefs"]
    time, time_title = time_axis(group)
    unit = UNITS[rows[0][1].unit]
    both = [row for each in ("filtered", "smoothed") for row in _rows(each, findings, engines)]
    top = 1.1 * max(max(float(_upper(found).max()), finding.tolerance) for finding, found in both)
    told = []
    with style():
        figure, axes = sheet(len(rows), 0.75 + 1.25 * len(rows), share_y=True)
        for (finding, found), panel in zip(rows, axes, strict=True):
            engine = look[finding.candidate]
            at, few = time[found.step], len(found.step) < 0.5 * len(time)
            if few:
                panel.vlines(at, 0, 2 * found.error, color="#c9c9c9", linewidth=5, zorder=1)
                panel.plot(at, found.distance, engine.marker, color=engine.colour, markersize=4, markerfacecolor="white", zorder=3)
                panel.plot(at, _upper(found), "_", color=engine.colour, markersize=7, zorder=3)
            else:
                panel.fill_between(at, 0, 2 * found.error, color="#c9c9c9", linewidth=0, zorder=1)
                panel.plot(at, found.distance, color=engine.colour, linewidth=1.2, zorder=3)
                panel.plot(at, _upper(found), color=engine.colour, linewidth=0.8, linestyle=(0, (1, 1.2)), zorder=3)
            panel.axhline(finding.tolerance, color="#222222", linewidth=0.9, linestyle=(0, (5, 2)), zorder=2)
            panel.set_title(f"{engine.name} against {look[finding.reference].name}", color=engine.colour, fontweight="bold", pad=3)
            panel.set_ylim(0, top)
            panel.set_xlim(*_ends(time))
            panel.set_ylabel(f"distance ({unit})")
            worst = int(found.distance.argmax())
            step = at_step(int(found.step[worst]), time if "time" in group.coords else None)
            told.append(f"{engine.name} {number(found.distance[worst])} at {step}")
        axes[-1].set_xlabel(time_title)
        caption = (
            f"{kind.capitalize()} beliefs, {rows[0][1].unit}; largest: {'; '.join(told)}. Dashed: the tolerance, "
            f"{number(rows[0][0].tolerance)}. Dotted{_or_ticks(rows, len(time))}: upper 95 % limits of the distances. "
            "Grey: two standard errors, what Monte Carlo error alone would show."
        )
        return picture(figure, caption, caption, dense=len(time) * len(rows) > DENSE)


def _rows(kind: str, findings: tuple[Finding, ...], engines: Mapping[str, xr.DataTree]) -> list[tuple[Finding, Distances]]:
    """The findings about this kind of belief, with the distances that they are about."""
    rows = []
    for finding in findings:
        if finding.quantity.startswith(f"{kind} beliefs") and finding.candidate in engines and finding.reference in engines:
            found = distances(kind, engines[finding.candidate], engines[finding.reference])
            if found is not None:
                rows.append((finding, found))
    return rows


def _upper(found: Distances) -> np.ndarray:
    return found.distance + limit(found.distance.size) * found.error


def _or_ticks(rows: list[tuple[Finding, Distances]], steps: int) -> str:
    return " (or short bars)" if any(len(found.step) < 0.5 * steps for _, found in rows) else ""


def _ends(time: np.ndarray) -> tuple:
    """First and last time step with a margin."""
    margin = (time[-1] - time[0]) * 0.03 if len(time) > 1 else 1
    return time[0] - margin, time[-1] + margin
