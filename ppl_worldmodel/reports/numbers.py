"""Numbers of tables: as they are shown, and as they are."""

from typing import Any, NamedTuple

import numpy as np

from ppl_worldmodel.reports.names import MINUS, number


class Number(NamedTuple):
    """A number as it is shown, and as it is."""

    shown: str
    value: float


def shown(value: Any, form: str = "") -> Number:
    """A number with the text that shows it; `form` as in a format string, where three digits will not do."""
    value = float(value)
    if np.isposinf(value):
        return Number("\N{INFINITY}", value)
    if form and np.isfinite(value):
        return Number(f"{value:{form}}".replace("-", MINUS), value)
    return Number(number(value), value)
