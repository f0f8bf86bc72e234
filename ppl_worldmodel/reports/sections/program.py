"""Section "The program": as it was read, and its source."""

import ast
from typing import Any

from ppl_worldmodel.reports.names import text
from ppl_worldmodel.reports.page import Page

ORDER = 100
TEMPLATE = """
<section id="program">
<h2>The program</h2>
{% if structure %}
<p>As it was read:</p>
<pre class="structure">{{ structure }}</pre>
{% endif %}
{% if about %}
<details>
<summary>Docstring of the model file</summary>
<pre>{{ about }}</pre>
</details>
{% endif %}
{% if source %}
<details open>
<summary>Source</summary>
<pre><code>{{ source }}</code></pre>
</details>
{% endif %}
{% if not (structure or about or source) %}
<p>The results do not hold the program.</p>
{% endif %}
</section>
"""


def fill(page: Page) -> dict[str, Any]:
    return {
        "structure": text(page.run.attrs, "structure"),
        "about": page.about,
        "source": _without_docstring(text(page.run.attrs, "source"), page.about),
    }


def _without_docstring(source: str, about: str) -> str:
    """The program without the docstring of its file, where the page shows that already."""
    if not about:
        return source
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError):
        return source
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return "\n".join(source.splitlines()[first.end_lineno :]).strip("\n")
    return source
