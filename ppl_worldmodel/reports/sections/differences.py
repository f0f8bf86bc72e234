"""Section "Where they differ": distances from the reference over time, one picture for each kind of belief."""

from typing import Any

from ppl_worldmodel.infer.beliefs import KINDS
from ppl_worldmodel.reports.figures.distances import distance_figure
from ppl_worldmodel.reports.page import Page

ORDER = 40
TEMPLATE = """
<section id="where">
<h2>Where they differ</h2>
{% if where %}
<div class="{{ "three" if where | length > 2 else "pair" }}">
{% for picture in where %}
{{ figure(picture) }}
{% endfor %}
</div>
{% else %}
<p>No beliefs were compared.</p>
{% endif %}
</section>
"""


def fill(page: Page) -> dict[str, Any]:
    pictures = [distance_figure(kind, page.findings, page.engines, page.look) for kind in KINDS]
    return {"where": [picture for picture in pictures if picture is not None]}
