"""Section "Engines": what each engine did, and what it cost."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ppl_worldmodel.checks.verdict import Finding
from ppl_worldmodel.infer.result_tree import PARAMETERS
from ppl_worldmodel.reports.names import MINUS, NOTHING, group, number, text
from ppl_worldmodel.reports.page import Page

ORDER = 90
TEMPLATE = """
<section id="engines">
<h2>Engines</h2>
<div class="box" tabindex="0" role="region" aria-label="Table of engines">
<table class="engines">
<thead><tr><td></td>
{% for engine, how in page.look.items() %}
<th scope="col">{{ how.name }}{% if how.name != engine %} <code>{{ engine }}</code>{% endif %}</th>
{% endfor %}
</tr></thead>
<tbody>
{% for property, cells in engine_rows %}
<tr><th scope="row">{{ property }}</th>{% for cell in cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
</div>
</section>
"""


# Numbers that answer different questions never share a row: at given parameters the cost of learning is not included.
GIVEN, LEARNED = "at given parameters (nats)", "over the parameters (nats)"
_ORDER = (
    "algorithm", "question", "beliefs from", "draws", "warm-up steps", "optimiser steps", "worst R-hat", "fewest effective draws",
    "effective draws per second", "divergences", f"ELBO {GIVEN}", f"ELBO {LEARNED}", "Pareto k-hat", f"log evidence {GIVEN}",
    f"log evidence {LEARNED}", "seconds, in all",
    "seconds, sampling or fitting", "random key",
)  # fmt: skip


def fill(page: Page) -> dict[str, Any]:
    return {"engine_rows": engine_rows(page.engines, page.findings)}


def engine_rows(engines: Mapping[str, xr.DataTree], findings: tuple[Finding, ...]) -> list[tuple[str, list[str]]]:
    """(property, one cell an engine), without the properties that none has."""
    columns = [
        _told(tree) | _drawn(tree) | _chains(tree, [row for row in findings if row.candidate == name])
        for name, tree in engines.items()
    ]
    names = [name for name in _ORDER if any(column.get(name) for column in columns)]
    return [(name, [column.get(name) or NOTHING for column in columns]) for name in names]


def _told(tree: xr.DataTree) -> dict[str, str]:
    """What the engine says about itself."""
    said = tree.attrs
    found = {
        "algorithm": text(said, "algorithm"),
        "question": text(said, "question"),
        "beliefs from": text(said, "beliefs_from"),
        "random key": text(said, "key"),
    }
    of = LEARNED if text(said, "question") == PARAMETERS else GIVEN
    for name, key, form in (
        ("warm-up steps", "num_warmup", ",.0f"),
        ("optimiser steps", "num_steps", ",.0f"),
        (f"ELBO {of}", "elbo", ".2f"),
        ("Pareto k-hat", "pareto_k", ".2f"),
        (f"log evidence {of}", "log_evidence", ".2f"),
        ("seconds, in all", "seconds", ".1f"),
        ("seconds, sampling or fitting", "seconds_sampling", ".1f"),
    ):
        if key in said:
            found[name] = f"{float(said[key]):{form}}".replace("-", MINUS)
    if "elbo_mcse" in said and "elbo" in said:
        found[f"ELBO {of}"] += f" ± {number(said['elbo_mcse'], 2)}"
    return found


def _drawn(tree: xr.DataTree) -> dict[str, str]:
    """How many draws, and how many of them diverged."""
    posterior, stats = group(tree, "posterior"), group(tree, "sample_stats")
    found = {}
    if posterior is not None and {"chain", "draw"} <= set(posterior.sizes) and text(tree.attrs, "law") != "exact":
        chains, draws = posterior.sizes["chain"], posterior.sizes["draw"]
        found["draws"] = f"{draws:,} in each of {chains} chains" if chains > 1 else f"{draws:,}, independent"
    if stats is not None and "diverging" in stats:
        found["divergences"] = f"{int(stats['diverging'].sum()):,}"
    return found


def _chains(tree: xr.DataTree, findings: list[Finding]) -> dict[str, str]:
    """How well the chains mixed, as the finding on convergence has it."""
    gate = next((row for row in findings if row.about == "chains"), None)
    if gate is None:
        return {}
    found = {"worst R-hat": f"{gate.distance:.3f}", "fewest effective draws": number(gate.ess)}
    seconds = float(tree.attrs.get("seconds_sampling", np.nan))
    return found | ({"effective draws per second": number(gate.ess / seconds)} if seconds > 0 else {})
