"""Check that data observed through a discrete distribution are whole numbers; an error names the cell that is not."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.files.assemble import Data
from ppl_worldmodel.program.whole_numbers import Fraction, first_fraction


def check_categories(model: Callable, data: Mapping[str, Any], file: Data) -> None:
    """Raise DataError, naming row, column and value, if an observed value of a discrete site is not a whole number.

    data  all keyword arguments of the program, those from the file among them
    """
    found = first_fraction(model, data)
    if found is None:
        return
    expected = (
        f"expected a whole number, since site '{found.site}' has a discrete distribution (categories count from 0); an empty "
        "cell is a missing value"
    )
    for argument, names in file.columns.items() if file.rows.size and found.step is not None else ():
        place = _place(np.asarray(file.values[argument][found.step]), found)
        if place is not None:
            rest = place[file.rows.ndim - 1 :]
            row = file.rows[(found.step, *place[: file.rows.ndim - 1])]
            column = names[rest] if names.ndim else names
            raise DataError(
                f"column '{column}' of '{file.path}' holds {found.value:.10g} in row {row} (the header is row 1): {expected}"
            )
    raise DataError(f"{found.said()}, by the values in '{file.path}': {expected}")


def _place(values: np.ndarray, found: Fraction) -> tuple[int, ...] | None:
    """The place of the value among those of one step: its place in the site, or else the only place that holds it."""
    alike = [tuple(map(int, place)) for place in np.argwhere(values == found.value)]
    if found.entry in alike:
        return found.entry
    return alike[0] if len(alike) == 1 else None
