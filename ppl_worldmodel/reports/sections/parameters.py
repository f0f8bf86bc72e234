"""Section "Learned parameters" or "Given parameters": forests, rank plots and tables, entry by entry."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ppl_worldmodel.reports.figures.embedding import Picture
from ppl_worldmodel.reports.figures.forest import forest
from ppl_worldmodel.reports.figures.ranks import ranks
from ppl_worldmodel.reports.figures.styles import Look
from ppl_worldmodel.reports.page import Engines, Page
from ppl_worldmodel.reports.parameters import ParameterRow, entries, given_rows, learned, parameter_rows

ORDER = 60
TEMPLATE = """
<section id="parameters">
<h2>{{ "Given parameters" if page.known else "Learned parameters" }}</h2>
{% if parameter_rows %}
{% for pictures in parameter_pictures %}
<div class="pair">
{% for picture in pictures %}
{{ figure(picture) }}
{% endfor %}
</div>
{% endfor %}
{{ parameter_table(parameter_rows, page.look, has_truth, parameter_rows|length <= 16) }}
{% endif %}
{% if given %}
<p>{% if page.known %}All engines answered at these values{% else %}The exact beliefs above are drawn at these values{% endif %}
{%- if page.parameters_from %}: {{ page.parameters_from }}{% endif %}.</p>
<details{% if given|length <= 12 %} open{% endif %}>
<summary>Values</summary>
<div class="box" tabindex="0" role="region" aria-label="Table of given parameters">
<table>
<thead><tr><th scope="col">parameter</th><th scope="col" class="n">value</th></tr></thead>
<tbody>
{% for label, number in given %}
<tr><th scope="row">{{ label }}</th><td class="n">{{ value(number) }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
</details>
{% elif not parameter_rows %}
{% if page.parameters_from == "the program has none" %}
<p>The program has no parameters.</p>
{% else %}
<p>The run does not say at which values.</p>
{% endif %}
{% endif %}
</section>
"""


def fill(page: Page) -> dict[str, Any]:
    rows = parameter_rows(page.engines, page.truth)
    return {
        "parameter_rows": rows,
        "parameter_pictures": pictures(page.engines, page.look, page.truth, rows),
        "given": given_rows(page.engines),
        "has_truth": bool(page.truth),
    }


def pictures(
    engines: Engines, look: Mapping[str, Look], truth: Mapping[str, Any], rows: list[ParameterRow]
) -> list[list[Picture]]:
    """For each learned parameter its forest, and the rank plots of every engine that has several chains."""
    draws = learned(engines)
    found = []
    for name in dict.fromkeys(name for parameters in draws.values() for name in parameters):
        have = {engine: parameters[name] for engine, parameters in draws.items() if name in parameters}
        have = {engine: values for engine, values in have.items() if np.isfinite(values).all()}
        drawn = [forest(name, have, look, truth.get(name))] if have else []
        for engine, values in have.items():
            rhats = [row.rhat.value for row in rows if row.engine == engine and row.label in entries(name, values)]
            if np.isfinite(rhats).all():  # so there are several chains, and every entry varies
                drawn.append(ranks(name, values, look[engine], max(rhats)))
        found.append(drawn)
    return found
