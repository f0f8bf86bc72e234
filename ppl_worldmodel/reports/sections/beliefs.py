"""Section "Beliefs over time": predicted, filtered and smoothed beliefs of every engine, against the reference."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ppl_worldmodel.checks.beliefs import kinds
from ppl_worldmodel.reports.figures.beliefs import Drawn, Pair, belief_figure
from ppl_worldmodel.reports.figures.embedding import Picture
from ppl_worldmodel.reports.figures.styles import Look
from ppl_worldmodel.reports.names import group, text
from ppl_worldmodel.reports.page import Engines, Page, of_engine

ORDER = 30
TEMPLATE = """
<section id="beliefs">
<h2>Beliefs over time</h2>
{% for row in beliefs %}
<h3>{{ row.engine }}</h3>
<div class="{{ "three" if row.pictures | length > 2 else "pair" }}">
{% for kind, picture in row.pictures.items() %}
{% if picture %}
{{ figure(picture) }}
{% else %}
<p class="lacking">No {{ kind }} beliefs: {{ row.engine }} did not answer that question in this run.</p>
{% endif %}
{% endfor %}
</div>
{% else %}
<p>The run holds no beliefs.</p>
{% endfor %}
</section>
"""


class BeliefRow(NamedTuple):
    """One engine's beliefs: (predicted,) filtered and smoothed, side by side; None for what it did not answer."""

    engine: str
    pictures: dict[str, Picture | None]


def fill(page: Page) -> dict[str, Any]:
    return {"beliefs": beliefs(page.engines, page.look, parameters_from=page.parameters_from)}


def beliefs(engines: Engines, look: Mapping[str, Look], *, parameters_from: str) -> list[BeliefRow]:
    """A row for each engine, drawn against the exact answer or NUTS, whichever answers the same question."""
    exact, nuts = of_engine(engines, "exact"), of_engine(engines, "nuts")
    found = []
    for name in [name for name in engines if name != exact] or list(engines):
        question = text(engines[name].attrs, "question")
        others = [other for other in (exact, nuts) if other is not None and other != name]
        same = [other for other in others if text(engines[other].attrs, "question") == question]
        other = same[0] if same else exact if exact in others else None
        against = None
        if other is not None:
            called = look[other].name if same else f"exact at {parameters_from or 'single values of the parameters'}"
            against = Drawn(engines[other], look[other], called)
        pair = Pair(Drawn(engines[name], look[name], look[name].name), against, bool(same))
        drawn = {kind: belief_figure(kind, pair, _points(engines[name])) for kind in kinds(engines[name])}
        shown = {kind: picture for kind, picture in drawn.items() if picture or kind != "predicted"}
        found.append(BeliefRow(look[name].name, shown))
    return [row for row in found if any(row.pictures.values())]


def _points(tree: xr.DataTree) -> tuple[str, np.ndarray] | None:
    """The observed series (*sequence, time), if there is one and the state is a single number on about the same scale."""
    state, observed = group(tree, "beliefs"), group(tree, "observed_data")
    if state is None or observed is None or state.sizes.get("dim") != 1 or len(observed.data_vars) != 1:
        return None
    name, series = next(iter(observed.data_vars.items()))
    if set(series.dims) - {"sequence"} != {"time"} or series.dtype.kind not in "iuf" or "smoothed" not in state:
        return None
    values, means = series.transpose(..., "time").values.astype(float), state["smoothed"].values[..., 0]
    if values.shape != means.shape or not np.isfinite(values).any() or not np.isfinite(means).any():
        return None
    near = abs(np.nanmedian(values) - np.nanmedian(means)) <= 2.0 * (np.nanstd(values) + np.nanstd(means))
    return (str(name), values) if near else None
