"""Panels of a figure of beliefs: of a state of several parts the marginal of each first; of several series the worst few."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from ppl_worldmodel.checks.distances import Distances
from ppl_worldmodel.exact.marginals import marginal
from ppl_worldmodel.reports.figures.embedding import MOST_PANELS
from ppl_worldmodel.reports.names import joined, part_label, series_names, state_labels, structure_of

MOST_ROWS = 3  # panels of a figure about several series


class Panel(NamedTuple):
    """One curve of a belief over time: weights @ belief, a probability, or a coordinate of a mean; of one series, if several."""

    label: str
    weights: np.ndarray
    series: int | None = None
    title: str = ""

    def values(self, beliefs: xr.Dataset, name: str) -> np.ndarray:
        """The curve at each time step, (time,)."""
        used = self.weights != 0  # what is not used may be undetermined
        return self._of_series(beliefs[name])[:, used] @ self.weights[used]

    def variances(self, beliefs: xr.Dataset, name: str) -> np.ndarray:
        """Its variance at each time step, (time,), from the covariances `name`."""
        used = self.weights != 0
        covariance = self._of_series(beliefs[name])[:, used][:, :, used]
        return np.einsum("i,tij,j->t", self.weights[used], covariance, self.weights[used])

    def _of_series(self, values: xr.DataArray) -> np.ndarray:
        return (values if self.series is None else values.isel(sequence=self.series)).values


def panels(
    kind: str, beliefs: xr.Dataset, other: xr.Dataset | None, found: Distances | None
) -> tuple[list[Panel], str]:
    """The panels of one figure, and a sentence that says which they are where not everything is shown.

    other  beliefs of the same shape, `found` the distances from them: the furthest curves are shown; None: the first ones
    """
    several = series_names(beliefs)
    most = MOST_ROWS if several else MOST_PANELS
    curves, left_out = _curves(beliefs, str(beliefs[kind].dims[-1]), most)
    series, told = _series(several, found, most, len(curves)) if several else ([None], "")
    chosen = _furthest(kind, curves, beliefs, other, series[0], most)
    if len(chosen) < len(curves):
        which = f"the {len(chosen)} with the largest differences" if other is not None else f"the first {len(chosen)}"
        told += f" Of {len(curves)} curves {which} are shown."
    shown = [
        curve._replace(series=number, title=several[number] if number is not None and i == 0 else "")
        for number in series
        for i, curve in enumerate(chosen)
    ]
    return shown, f"{told}{left_out}"


def state_at(kind: str, beliefs: xr.Dataset, other: xr.Dataset, found: Distances) -> str:
    """Which state of several parts makes up most of the largest distance; nothing for other states."""
    known = structure_of(beliefs)
    if "state" in beliefs.coords or len(known.factors) < 2 or len(known.labels) != beliefs.sizes.get("state"):
        return ""
    at = int(found.distance.argmax())
    place = (found.step[at],) if found.series is None else (found.series[at], found.step[at])
    most = np.abs(beliefs[kind].values[place] - other[kind].values[place]).argmax()
    return f", most of it in the state {part_label(known.factors, known.labels[int(most)])}"


def _curves(beliefs: xr.Dataset, axis: str, most: int) -> tuple[list[Panel], str]:
    """All curves of one series, and a sentence that says what is left out."""
    names, size = state_labels(beliefs, axis), beliefs.sizes[axis]
    one = np.eye(size)
    if axis != "state":
        return [Panel(name, one[i]) for i, name in enumerate(names)], ""
    joint = [Panel(f"p({name})" if " = " in name else name, one[i]) for i, name in enumerate(names)]
    known = structure_of(beliefs)
    if size == 2:
        title = names[1] if " = " in names[1] or axis not in beliefs.coords else f"state = {names[1]}"
        return [Panel(f"p({title})", one[1])], ""
    if axis in beliefs.coords or len(known.factors) < 2 or len(known.labels) != size:
        return joint, ""
    marginals = []
    for name in known.factors:
        values, weights = marginal(one, known, name)
        found = [Panel(f"p({name} = {value:g})", np.asarray(weights[:, i])) for i, value in enumerate(values)]
        marginals += found[1:] if len(found) <= 2 else found
    if not marginals or len(marginals) + size <= most:
        return marginals + joint, ""
    return marginals, f" Of each part of the state its marginal; the {size} joint states are not shown."


def _series(names: list[str], found: Distances | None, most: int, curves: int) -> tuple[list[int], str]:
    """The series that are shown, the furthest off first."""
    count = min(len(names), max(1, most // min(curves, most)))
    order = found.worst_series if found is not None else list(range(len(names)))
    if count == len(names):
        return sorted(order), ""
    shown = [names[number] for number in order[:count]]
    label = f"{joined([shown[0], *(name.removeprefix('series ') for name in shown[1:])])} of {len(names)}"
    if found is None:
        return order[:count], f" Shown: {label}."
    which = "the one with the largest difference" if count == 1 else "those with the largest differences"
    return order[:count], f" Shown: {label}, {which}."


def _furthest(
    kind: str, curves: list[Panel], beliefs: xr.Dataset, other: xr.Dataset | None, series: int | None, most: int
) -> list[Panel]:
    """At most so many of the curves, in their order: those furthest from the other's, in the series given."""
    if len(curves) <= most or other is None:
        return curves[:most]
    here = [curve._replace(series=series) for curve in curves]
    far = [np.abs(curve.values(beliefs, kind) - curve.values(other, kind)) for curve in here]
    size = np.array([each[np.isfinite(each)].max(initial=-np.inf) for each in far])
    return [curves[i] for i in sorted(np.argsort(-size, kind="stable")[:most])]
