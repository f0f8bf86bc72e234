"""Section "Learned against the truth": how far the learned values are from the truth of the simulation."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ppl_worldmodel.identifiability.recovery import recovery
from ppl_worldmodel.reports.figures.embedding import Picture
from ppl_worldmodel.reports.figures.recovery import heat_map, map_labels
from ppl_worldmodel.reports.figures.styles import Look
from ppl_worldmodel.reports.names import text
from ppl_worldmodel.reports.numbers import Number, shown
from ppl_worldmodel.reports.page import Page
from ppl_worldmodel.reports.parameters import learned

ORDER = 70
TEMPLATE = """
<section id="recovery">
<h2>Learned against the truth</h2>
<p>What {{ recovered.engine }} learned. {{ recovered.coverage }}</p>
{% if recovered.pictures %}
<div class="pair">
{% for picture in recovered.pictures %}
{{ figure(picture) }}
{% endfor %}
</div>
{% endif %}
<details{% if recovered.rows|length <= 16 %} open{% endif %}>
<summary>Table: {{ recovered.rows|length }} rows</summary>
<div class="box" tabindex="0" role="region" aria-label="Table of errors against the truth">
<table>
<thead><tr>
  <th scope="col">parameter</th><th scope="col" class="n">error of the mean</th><th scope="col" class="n">error of a draw</th>
<th scope="col">unit</th>
</tr></thead>
<tbody>
{% for row in recovered.rows %}
<tr><th scope="row">{{ row.label }}</th><td class="n">{{ value(row.error) }}</td><td class="n">{{ value(row.spread) }}</td>
<td>{{ row.unit }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
</details>
<p class="note">Rows that are distributions have an error in total variation, single entries a relative one. Error of a draw: the
posterior mean of the error, at least as large as the error of the mean.</p>
</section>
"""


class RecoveryRow(NamedTuple):
    """A distribution, or an entry, of the learned parameters against the truth."""

    label: str
    error: Number
    spread: Number
    unit: str


class Recovered(NamedTuple):
    """The section 'Learned against the truth', of one engine."""

    engine: str
    coverage: str
    pictures: list[Picture]
    rows: list[RecoveryRow]


def fill(page: Page) -> dict[str, Any] | None:
    found = recovered(page.engines, page.truth, page.look)
    return None if found is None else {"recovered": found}


def recovered(
    engines: Mapping[str, xr.DataTree], truth: Mapping[str, Any], look: Mapping[str, Look]
) -> Recovered | None:
    """The parameters that NUTS (or else the first engine) learned, against the truth; None where there is no truth."""
    draws = {
        name: {parameter: values for parameter, values in parameters.items() if parameter in truth}
        for name, parameters in learned(engines).items()
    }
    usable = [name for name, parameters in draws.items() if parameters and _finite(parameters)]
    if not usable:
        return None
    name = next((name for name in usable if text(engines[name].attrs, "engine") == "nuts"), usable[0])
    found = recovery(engines[name], {parameter: truth[parameter] for parameter in draws[name]})
    said = found.attrs
    coverage = (
        f"{said['covered']} of {said['of']} true values lie in their central 90 % intervals"
        f" (between {said['low']} and {said['high']} in 95 % of cases, if the intervals are right and the values independent)."
    )
    posterior = engines[name]["posterior"].to_dataset()
    pictures = [
        heat_map(parameter, values, truth[parameter], map_labels(posterior[parameter]))
        for parameter, values in draws[name].items()
        if 1 <= values.ndim - 2 <= 3
    ]
    rows = [
        RecoveryRow(str(label), shown(found["error"].values[i]), shown(found["spread"].values[i]), str(unit))
        for i, (label, unit) in enumerate(zip(found["row"].values, found["unit"].values, strict=True))
    ]
    return Recovered(look[name].name, coverage, pictures, rows)


def _finite(parameters: Mapping[str, np.ndarray]) -> bool:
    return all(np.isfinite(values).all() for values in parameters.values())
