"""Section "The data": observed series, given series, and given values."""

from typing import Any, NamedTuple

import xarray as xr

from ppl_worldmodel.checks.verdict import Finding
from ppl_worldmodel.reports.figures.data import Fixed, data_figure, fixed
from ppl_worldmodel.reports.figures.distances import worst_series
from ppl_worldmodel.reports.figures.embedding import Picture
from ppl_worldmodel.reports.names import group
from ppl_worldmodel.reports.page import Engines, Page

ORDER = 50
TEMPLATE = """
<section id="data">
<h2>The data</h2>
{% if data.observed or data.given %}
<div class="pair">
{% for picture in data.observed + data.given %}
{{ figure(picture) }}
{% endfor %}
</div>
{% endif %}
{% if data.fixed %}
<div class="box" tabindex="0" role="region" aria-label="Table of given inputs">
<table>
<thead><tr><th scope="col">given</th><th scope="col">shape</th><th scope="col">value</th></tr></thead>
<tbody>
{% for row in data.fixed %}
<tr><th scope="row">{{ row.name }}</th><td>{{ row.shape }}</td><td>{{ row.value }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
{% endif %}
{% if not (data.observed or data.given or data.fixed) %}
<p>The run holds no data.</p>
{% endif %}
</section>
"""


class DataSection(NamedTuple):
    """Observed series, given series, and given values."""

    observed: list[Picture]
    given: list[Picture]
    fixed: list[Fixed]


def fill(page: Page) -> dict[str, Any]:
    return {"data": data(page.engines, page.findings)}


def data(engines: Engines, findings: tuple[Finding, ...]) -> DataSection:
    """The data, from the first engine that holds them; of several series first those whose beliefs differ most."""
    observed, given = (
        next((found for tree in engines.values() if (found := group(tree, name)) is not None), xr.Dataset())
        for name in ("observed_data", "constant_data")
    )
    first = worst_series(findings, engines)
    drawn = [
        [picture for name in dataset.data_vars if (picture := data_figure(dataset, str(name), first)) is not None]
        for dataset in (observed, given)
    ]
    return DataSection(drawn[0], drawn[1], fixed(given))
