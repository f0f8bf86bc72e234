"""Is what `read` finds in a program what the program says?  Every shipped model against oracles that know its density only.

A new file in `models/` is tested by being there: a state with finitely many values by listing all paths, a Gaussian one as
one dense Gaussian vector. Both ask NumPyro for the program's log density and nothing else.
"""

from typing import Any

import numpy as np
import pytest

from ppl_worldmodel import read
from ppl_worldmodel.exact import finite, gaussian
from ppl_worldmodel.exact.system import FiniteState
from ppl_worldmodel.program.load import Loaded, default_data, load, shipped

from ..references import dense
from .contract import (
    assert_density_along_random_paths,
    assert_finite_beliefs,
    assert_gaussian_beliefs,
    draw_parameters,
)

every_model = pytest.mark.parametrize("name", shipped())
seeds = pytest.mark.parametrize("seed", [0, 1, 2])


def short(name: str, seed: int) -> tuple[Loaded, dict[str, Any], dict[str, Any]]:
    """A model, a few steps of its own data, another piece for another seed, and parameters drawn from its prior."""
    loaded = load(name)
    whole, _ = default_data(loaded, seed)
    steps = 6 if isinstance(read(loaded.model, whole), FiniteState) else 10
    data = {argument: np.asarray(value)[7 * seed : 7 * seed + steps] for argument, value in whole.items()}
    return loaded, data, draw_parameters(loaded.model, data, read(loaded.model, data), seed)


@every_model
@seeds
@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "gaps"])
def test_beliefs_of_every_shipped_model(name: str, seed: int, gaps: bool) -> None:
    loaded, data, parameters = short(name, seed)
    integers = np.issubdtype(data["observations"].dtype, np.integer)
    if gaps:
        data["observations"] = data["observations"].astype(float)
        data["observations"][[0, 3, 4]] = np.nan
    system = read(loaded.model, data, parameters)
    (observed,) = system.structure.observed
    if isinstance(system, FiniteState):
        arguments = ("observations",) if integers else ()
        assert_finite_beliefs(
            system, loaded.model, data, parameters, {observed: data["observations"]}, integer_data=arguments
        )
    else:
        expected = dense.from_program(
            loaded.model,
            data,
            parameters,
            state_site=system.structure.states[0],
            initial_site=system.structure.initials[0],
            observed_site=observed,
            observed_argument="observations",
            emission_first=system.structure.order == "emission first",
        )
        assert_gaussian_beliefs(system, expected)


@every_model
@seeds
def test_density_of_every_shipped_model_along_random_paths(name: str, seed: int) -> None:
    loaded, data, parameters = short(name, seed)
    assert_density_along_random_paths(read(loaded.model, data, parameters), loaded.model, data, parameters, seed)


@every_model
def test_the_verbs_run_on_the_whole_series_of_every_shipped_model(name: str) -> None:
    loaded = load(name)
    data, _ = default_data(loaded, 0)
    system = read(loaded.model, data)
    verbs = finite if isinstance(system, FiniteState) else gaussian
    beliefs = verbs.smooth(system)
    assert np.isfinite(beliefs.log_evidence)
    for field in beliefs:
        assert np.isfinite(field).all()
