"""Are the curves of Gaussian models drawn, and only theirs?"""

import numpy as np
import xarray as xr

from ppl_worldmodel.identifiability.gaussian_invariants import frequencies
from ppl_worldmodel.identifiability.invariants import STATISTICS
from ppl_worldmodel.reports.figures.responses import responses


def table(components: int, *, settles: bool = True, spectrum: bool = True) -> xr.Dataset:
    """A summary as `comparisons.invariants` makes it."""
    rng, lags = np.random.default_rng(0), 5
    response = np.sort(rng.normal(size=(len(STATISTICS), lags, components, components)), axis=0)
    found = xr.Dataset(
        {
            "response": (
                ("statistic", "lag", "dim_y", "dim_y_bis"),
                response if settles else np.full(response.shape, np.nan),
            )
        },
        {"statistic": list(STATISTICS), "lag": np.arange(lags), "frequency": np.asarray(frequencies(8))},
    )
    if spectrum:
        found["spectrum"] = (
            ("statistic", "frequency", "dim_y"),
            np.exp(rng.normal(size=(len(STATISTICS), 8, components))),
        )
    return found


def test_every_component_has_a_row() -> None:
    one, two = responses({"one": table(1)}), responses({"one": table(1), "two": table(2)})
    assert one is not None
    assert two is not None
    assert "component" not in one.html
    assert "response, component 1" in two.html
    assert "two" in two.html
    assert "mathdefault" not in two.html


def test_a_component_answers_to_its_own_surprise() -> None:
    """Only the diagonal is drawn: what one component does to another changes nothing."""
    same, other = table(2), table(2)
    other["response"][:, :, 0, 1] += 100.0
    pictures = [responses({"one": each}) for each in (same, other)]
    assert pictures[0] == pictures[1]
    other["response"][:, :, 1, 1] += 100.0
    assert responses({"one": other}) != pictures[0]


def test_what_is_not_there_is_not_drawn() -> None:
    assert responses({"finite": xr.Dataset(), "unsettled": table(1, settles=False, spectrum=False)}) is None
    half = responses({"unsettled": table(1, settles=False)})
    assert half is not None
    assert "unsettled" in half.html
