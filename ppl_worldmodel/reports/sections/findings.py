"""Section "Findings": the table of all findings; every number is there twice, as it is shown and as it is."""

from typing import Any, NamedTuple

import numpy as np

from ppl_worldmodel.checks.verdict import Finding
from ppl_worldmodel.reports.figures.styles import called
from ppl_worldmodel.reports.names import MINUS, place
from ppl_worldmodel.reports.numbers import Number, shown
from ppl_worldmodel.reports.page import Page
from ppl_worldmodel.reports.sentence import UNITS

ORDER = 10
TEMPLATE = """
<section id="findings">
<h2>Findings</h2>
{% if findings %}
<div class="box" tabindex="0" role="region" aria-label="Table of findings">
<table class="findings">
<thead><tr>
  <th scope="col">candidate</th><th scope="col">against</th><th scope="col">quantity</th><th scope="col" class="n">n</th>
  <th scope="col">worst</th><th scope="col" class="n">|z|</th><th scope="col" class="n">joint p</th>
  <th scope="col" class="n">distance</th><th scope="col" class="n">upper limit</th><th scope="col" class="n">tolerance</th>
  <th scope="col">verdict</th><th scope="col">why</th>
</tr></thead>
<tbody>
{% for row in findings %}
<tr class="{{ row.verdict }}">
  <th scope="row">{{ sign(row.verdict) }}{{ row.candidate }}</th><td>{{ row.against }}</td><td>{{ row.quantity }}</td>
<td class="n">{{ row.n }}</td>
  <td class="worst">{{ row.worst }}</td><td class="n">{{ value(row.z) }}</td><td class="n">{{ value(row.p) }}</td>
  <td class="n">{{ value(row.distance) }} <span class="unit">{{ row.unit }}</span></td>
  <td class="n">{% if row.upper_is %}<span class="unit">{{ row.upper_is }}</span> {% endif %}{{ value(row.upper) }}</td>
  <td class="n">{{ value(row.tolerance) }}</td><td class="word {{ row.verdict }}">{{ row.verdict }}</td>
<td class="why">{{ row.why }}</td>
</tr>
{% endfor %}
</tbody>
</table>
</div>
<p class="note">n: how many numbers were compared. |z|: the largest difference in Monte Carlo standard errors. Joint p: of all n
together, valid under dependence. Distance: the largest of the n. Upper limit: the largest of their upper 95 % limits. TV: total
variation;
sd: standard deviations of the reference. Time steps t, series and entries are counted from 0.</p>
{% else %}
<p>There are no findings.</p>
{% endif %}
</section>
"""


class FindingRow(NamedTuple):
    """A finding as the page shows it; `upper_is`: what stands in `upper` where it is not an upper limit."""

    candidate: str
    against: str
    quantity: str
    n: int
    worst: str
    z: Number
    p: Number
    distance: Number
    unit: str
    upper: Number
    upper_is: str
    tolerance: Number
    verdict: str
    why: str


def fill(page: Page) -> dict[str, Any]:
    return {"findings": finding_rows(page.findings, page.time)}


def finding_rows(findings: tuple[Finding, ...], time: np.ndarray | None) -> list[FindingRow]:
    """All findings, in their order. The rows on chains show an effective sample size in the place of a limit."""
    return [_row(finding, time) for finding in findings]


def _row(finding: Finding, time: np.ndarray | None) -> FindingRow:
    chains = finding.about == "chains"
    p = Number(f"< 1e{MINUS}16", finding.p) if finding.p < 1e-16 else shown(finding.p, ".2g")
    z = Number("> 1e6", finding.z) if finding.z > 1e6 else shown(finding.z)
    return FindingRow(
        called(finding.candidate), called(finding.reference), finding.quantity, finding.n, place(finding.worst, time),
        z, p, shown(finding.distance, ".3f" if chains else ""), UNITS.get(finding.unit, finding.unit),
        shown(finding.ess if chains else finding.upper), "ESS" if chains else "", shown(finding.tolerance),
        finding.verdict, finding.why,
    )  # fmt: skip
