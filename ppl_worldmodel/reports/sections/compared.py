"""Section "What is compared with what": the reference of the run, in two sentences."""

from collections.abc import Mapping
from typing import Any

from ppl_worldmodel.program.reading import NOT_READ
from ppl_worldmodel.reports.figures.styles import called
from ppl_worldmodel.reports.names import text
from ppl_worldmodel.reports.page import Engines, Page, of_engine

ORDER = 20
TEMPLATE = """
<section id="compared">
<h2>What is compared with what</h2>
<p>{{ compared }}</p>
</section>
"""


def fill(page: Page) -> dict[str, Any]:
    return {"compared": compared(page.engines, known=page.known, truth=page.truth)}


def compared(engines: Engines, *, known: bool, truth: Mapping[str, Any]) -> str:
    """The reference of this run, in two sentences."""
    kinds = {text(tree.attrs, "engine", name) for name, tree in engines.items()}
    apart = (
        "filtered beliefs, p(state at t | data up to t), are compared with filtered ones only, and smoothed beliefs, "
        "p(state at t | all data), with smoothed ones only."
    )
    nuts = "NUTS, once its chains agree, is the reference of the other engines"
    if known:
        reference = "the exact recursion is the reference of every other engine" if "exact" in kinds else nuts
        if any(text(tree.attrs, "family") == NOT_READ for tree in engines.values()):
            reference = f"no exact reference exists, for the program is not read exactly{f'; {nuts}' if 'nuts' in kinds else ''}"
        elif not kinds & {"exact", "nuts"}:
            reference = "the exact recursion would be the reference, but it is not in this run"
        return f"The parameters are given, so {reference}. {apart[0].upper()}{apart[1:]}{_cost(engines)}"
    reference = nuts if "nuts" in kinds else "NUTS would be the reference, but it is not in this run"
    true = "; each posterior is also held against the truth that the data were simulated from" if truth else ""
    return (
        f"The parameters are learned, so {reference}{true}. Beliefs are the exact ones at each draw of the parameters, averaged "
        f"over the draws, so that comparing them checks the parameters and not the recursion; {apart}"
    )


def _cost(engines: Engines) -> str:
    """The time taken to sample the beliefs of prefixes, beside that of the recursion, which answers all of them."""
    exact = of_engine(engines, "exact")
    told = [
        f" {called(text(tree.attrs, 'engine', name))} sampled {int(tree.attrs['num_prefixes']) + 1} posteriors for that, of "
        f"the whole series and of its prefixes, in {float(tree.attrs['seconds']):.1f} s"
        for name, tree in engines.items()
        if int(tree.attrs.get("num_prefixes", 0))
    ]
    if not told:
        return ""
    recursion = f"; the recursion took {float(engines[exact].attrs['seconds']):.1f} s for all of them" if exact else ""
    return f"{'.'.join(told)}{recursion} (compilation included)."
