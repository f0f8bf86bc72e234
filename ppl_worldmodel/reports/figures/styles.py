"""Styles of engines: one name, colour and marker for each, on the whole page.

The colours are after Okabe and Ito (2008), "Color universal design", and told apart by the colour-blind; each engine has a
marker of its own as well.
"""

from collections.abc import Iterable
from typing import NamedTuple


class Look(NamedTuple):
    """What an engine is called in a sentence, and how it is drawn."""

    name: str
    colour: str
    marker: str


_KNOWN = {
    "exact": Look("exact", "#1a1a1a", "X"),
    "nuts": Look("NUTS", "#0072b2", "o"),
    "svi": Look("mean-field SVI", "#d55e00", "s"),
    "svi_full_rank": Look("full-rank SVI", "#00805e", "^"),
    "gibbs": Look("Gibbs", "#b0437f", "D"),
    "smc": Look("SMC", "#b87a00", "v"),
}
_SPARE = (("#3b8fc2", "P"), ("#7a5195", "p"), ("#8c6d1f", "<"), ("#4d4d4d", ">"), ("#c44e52", "h"), ("#4c9a2a", "d"))


def looks(engines: Iterable[str]) -> dict[str, Look]:
    """The look of each engine; names that the package does not know take spare colours in their order."""
    found: dict[str, Look] = {}
    spare = 0
    for name in engines:
        if name in _KNOWN:
            found[name] = _KNOWN[name]
        else:
            found[name] = Look(name, *_SPARE[spare % len(_SPARE)])
            spare += 1
    return found


def called(engine: str) -> str:
    """What an engine is called in a sentence."""
    return _KNOWN[engine].name if engine in _KNOWN else engine
