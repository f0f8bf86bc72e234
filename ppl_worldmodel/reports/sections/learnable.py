"""Section "What can be learned": what the data can tell of each parameter."""

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ppl_worldmodel.reports.figures.styles import called
from ppl_worldmodel.reports.names import group, text
from ppl_worldmodel.reports.numbers import Number, shown
from ppl_worldmodel.reports.page import Page

ORDER = 80
TEMPLATE = """
<section id="learnable">
<h2>What can be learned</h2>
{% if learnable.left_out %}
<p>Nothing can be said here: {{ learnable.left_out }}.</p>
{% else %}
<p>{{ learnable.sentence }} Known least: {{ learnable.least_known }}</p>
{% if learnable.facts %}
<div class="box" tabindex="0" role="region" aria-label="Table of ranks">
<table>
<thead><tr><th scope="col">of the system</th><th scope="col" class="n">number</th><th scope="col">what it says</th></tr></thead>
<tbody>
{% for row in learnable.facts %}
<tr><th scope="row">{{ row.fact }}</th>
<td class="n">{{ value(row.amount) }}</td>
<td>{{ row.says }}{% if row.fails %} <strong>(too few)</strong>{% endif %}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
{% endif %}
<details{% if learnable.rows|length <= 20 %} open{% endif %}>
<summary>Table: {{ learnable.rows|length }} entries</summary>
<div class="box" tabindex="0" role="region" aria-label="Table of what the data say about each parameter">
<table>
<thead><tr>
  <th scope="col">parameter</th><th scope="col" class="n">value</th><th scope="col" class="n">prior sd</th>
<th scope="col" class="n">data alone: sd</th>
  <th scope="col" class="n">data / prior</th><th scope="col" class="n">posterior sd</th><th scope="col" class="n">overlap</th>
  <th scope="col" class="n">prior sensitivity</th><th scope="col" class="n">data sensitivity</th><th scope="col">from the data</th>
</tr></thead>
<tbody>
{% for row in learnable.rows %}
<tr>
  <th scope="row">{{ row.label }}</th><td class="n">{{ value(row.value) }}</td><td class="n">{{ value(row.prior_sd) }}</td>
<td class="n">{{ value(row.data_sd) }}</td>
  <td class="n">{{ value(row.ratio) }}</td><td class="n">{{ value(row.posterior_sd) }}</td>
<td class="n">{{ value(row.overlap) }}</td>
  <td class="n">{{ value(row.prior_felt) }}</td><td class="n">{{ value(row.data_felt) }}</td><td>{{ row.verdict }}</td>
</tr>
{% endfor %}
</tbody>
</table>
</div>
</details>
{% if learnable.unfelt %}<p class="note">Sensitivity could not be computed: {{ learnable.unfelt }}.</p>
{% endif %}
<p class="note">Data alone: the standard deviation that the Fisher information of these data leaves, without any prior; &infin;
where they
leave the value open. Learned: less than half of the prior's. Not at all: data and prior together leave more than 99 % of it. Only
in
combination: the data fix it as soon as others are fixed. Posterior sd: under {{ learnable.engine }}. Overlap of posterior and
prior: 1 where
nothing was learned. Sensitivity: how fast the posterior moves if the prior, or the likelihood, is raised to a power near one
(Kallioinen et al. 2024); from 0.05
on it matters. If both matter, prior and data may be in conflict; if the prior alone does, it decides.</p>
{% endif %}
</section>
"""


class FactRow(NamedTuple):
    """A rank or another number about the system; `fails`: it is smaller than it would have to be."""

    fact: str
    amount: Number
    says: str
    fails: bool


class EntryRow(NamedTuple):
    """What the data say about one entry of the parameters."""

    label: str
    value: Number
    prior_sd: Number
    data_sd: Number
    ratio: Number
    posterior_sd: Number
    overlap: Number
    prior_felt: Number
    data_felt: Number
    verdict: str


class Learnable(NamedTuple):
    """The section 'What can be learned'; `left_out` is the reason where there is nothing to say, `unfelt` the
    reason where the sensitivity could not be computed.
    """

    sentence: str
    least_known: str
    engine: str
    facts: list[FactRow]
    rows: list[EntryRow]
    unfelt: str
    left_out: str


def fill(page: Page) -> dict[str, Any] | None:
    found = learnable(group(page.run, "identifiability"))
    return None if found is None else {"learnable": found}


def learnable(found: xr.Dataset | None) -> Learnable | None:
    """The section of a run's group `identifiability`; None where a run has none."""
    if found is None:
        return None
    if "left_out" in found.attrs:
        return Learnable("", "", "", [], [], "", text(found.attrs, "left_out"))
    said = found.attrs
    facts = [
        FactRow(
            str(found["fact"].values[i]), shown(found["amount"].values[i]), str(found["says"].values[i]),
            bool(found["amount"].values[i] < found["needed"].values[i]),
        )
        for i in range(found.sizes["row"])
    ]  # fmt: skip
    nothing = np.full(found.sizes["entry"], np.nan)  # results of earlier versions have no sensitivity
    columns = {name: found[name].values if name in found else nothing for name in EntryRow._fields[1:-1]}
    entries = [
        EntryRow(label=str(label), verdict=str(verdict), **{name: shown(columns[name][i]) for name in columns})
        for i, (label, verdict) in enumerate(zip(found["entry"].values, found["verdict"].values, strict=True))
    ]
    sentence = f"At {text(said, 'at')} the parameters are {text(said, 'verdict')}: {text(said, 'why')}."
    least = text(said, "least_known")
    return Learnable(sentence, f"{least}.", called(text(said, "engine")), facts, entries, text(said, "unfelt"), "")
