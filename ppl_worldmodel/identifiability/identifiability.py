"""Identifiability of a program's parameters at given values, before anything is fitted: ranks and Fisher information.

Two questions. Does another system fit as well, however long the series? Rank conditions answer it (`rank_conditions`), up to the
names of the states or the coordinates of a Gaussian one; near the given values the rank of the Fisher information answers it for
the program's own parameters. And how much do these data say about each parameter, beside the prior? (`fisher_information`)
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import xarray as xr

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.exact.system import System
from ppl_worldmodel.identifiability.fisher_information import Information, information, least_known
from ppl_worldmodel.identifiability.fisher_scores import slopes
from ppl_worldmodel.identifiability.rank_conditions import Fact, facts
from ppl_worldmodel.program.coordinates import coordinates
from ppl_worldmodel.program.reading import Reading

UP_TO_NAMES = "identified up to the names of the states"
UP_TO_COORDINATES = "identified up to the coordinates of the state"
NEARBY = "identified near these values"
NOT = "not identified"


def identifiability(
    reading: Reading,
    parameters: Mapping[str, Any],
    *,
    num_prior: int = 200,
    key: jax.Array,
) -> xr.Dataset:
    """What the data can tell about the parameters of a program, near the given values.

    parameters  the truth of a simulation, a posterior mean, or any plausible values
    num_prior   draws from the prior, for its standard deviations

    Dimension `entry`: value, prior_sd, data_sd (that the data alone leave), ratio of the two, expected_sd (data and prior put
    together, linearised) and verdict in words; least_known, how much each entry takes part in the direction that the data know
    least. Dimension `direction`: strength, eigenvalues of the Fisher information in units of the prior. Dimension `row`: fact,
    amount, needed and says, about the system. Dimensions (prior_draw, entry): prior, draws from it. Attributes: verdict, why,
    least_known (in words), rank, size, steps.
    Raises DataError for a program without parameters, and for values at which the likelihood has no slope.
    """
    system, space = reading.at(parameters), coordinates(reading)
    if not space.size:
        raise DataError("the program has no parameters: there is nothing to learn")
    slope = slopes(reading, parameters, key, num_prior=num_prior)
    found, known = information(slope), facts(system)
    verdict, why = _verdict(system, known, found)
    columns = {
        "value": slope.value, "prior_sd": found.prior_sd, "data_sd": found.data_sd, "ratio": found.ratio,
        "expected_sd": found.expected_sd, "least_known": found.directions[-1], "verdict": found.verdicts,
    }  # fmt: skip
    return xr.Dataset(
        {name: ("entry", np.asarray(column)) for name, column in columns.items()}
        | {field: ("row", np.array([getattr(fact, field) for fact in known])) for field in Fact._fields}
        | {"strength": ("direction", found.strength), "prior": (("prior_draw", "entry"), slope.prior)},
        {"entry": found.labels},
        {
            "verdict": verdict, "why": why, "least_known": least_known(found), "rank": found.rank, "size": space.size,
            "steps": len(slope.scores), "family": type(system).__name__,
        },
    )  # fmt: skip


def _verdict(system: System, known: list[Fact], found: Information) -> tuple[str, str]:
    """The verdict and its reason. The theorems do not cover a system that varies in time or emits from two states."""
    failing = [fact.fact for fact in known if fact.fails]
    size = len(found.strength)
    if found.rank < size:
        why = f"the likelihood has no slope in {size - found.rank} of {size} directions"
        return NOT, f"{why}; {', '.join(failing)} not full" if failing else why
    slopes = f"the likelihood has a slope in each of {size} directions"
    if failing:
        return NEARBY, f"{slopes}, by the program's parametrisation: {', '.join(failing)} not full"
    structure = system.structure
    ranked = any(np.isfinite(fact.needed) for fact in known)
    if structure.varying or structure.order == "both states" or not ranked:
        return NEARBY, f"{slopes}; whether distant values fit as well is not known"
    names = UP_TO_COORDINATES if system.num_states is None else UP_TO_NAMES
    return names, f"{slopes}, and all ranks are full"
