"""Is what `read` finds in a program what the program says?  Every shipped model against oracles that know its density only.

A new file in `models/` is tested by being there: a state with finitely many values by listing all paths, a Gaussian one as
one dense Gaussian vector. Both ask NumPyro for the program's log density and nothing else.
"""

from functools import cache
from typing import Any

import numpy as np
import pytest

from ppl_worldmodel import read
from ppl_worldmodel.exact import finite, gaussian
from ppl_worldmodel.exact.system import FiniteState
from ppl_worldmodel.files.load import Loaded, default_data, load, shipped
from ppl_worldmodel.program.reading import System

from ..references import dense
from .contract import assert_density_along_random_paths, assert_finite_beliefs, assert_gaussian_beliefs, draw_parameters

every_model = pytest.mark.parametrize("name", shipped())


@cache
def whole(name: str) -> tuple[Loaded, dict[str, Any], System]:
    """A model, all of its own data, and its structure."""
    loaded = load(name)
    data, _ = default_data(loaded, 0)
    return loaded, data, read(loaded.model, data).system


@cache
def short(name: str, seed: int) -> tuple[Loaded, dict[str, Any], dict[str, Any]]:
    """A model, a few steps of its data, another piece for another seed, and parameters drawn from its prior."""
    loaded, data, system = whole(name)
    steps = 6 if isinstance(system, FiniteState) else 10
    piece = {argument: np.asarray(value)[7 * seed : 7 * seed + steps] for argument, value in data.items()}
    return loaded, piece, draw_parameters(loaded.model, piece, system.structure.initials, seed)


@pytest.mark.slow
@every_model
@pytest.mark.parametrize("seed", [0, 1])
def test_every_shipped_model(name: str, seed: int) -> None:
    """Beliefs, and the density along random paths."""
    loaded, data, parameters = short(name, seed)
    system = read(loaded.model, data, parameters).system
    assert_beliefs(system, loaded, data, parameters)
    assert_density_along_random_paths(system, loaded.model, data, parameters, seed)


@pytest.mark.slow
@every_model
@pytest.mark.parametrize(("seed", "missing"), [(2, [0, 3, 4]), (3, [1, 5])])
def test_every_shipped_model_with_missing_data(name: str, seed: int, missing: list[int]) -> None:
    loaded, data, parameters = short(name, seed)
    integers = np.issubdtype(data["observations"].dtype, np.integer)
    data = data | {"observations": data["observations"].astype(float)}
    data["observations"][missing] = np.nan
    system = read(loaded.model, data, parameters).system
    assert_beliefs(system, loaded, data, parameters, ("observations",) if integers else ())


def assert_beliefs(
    system: System,
    loaded: Loaded,
    data: dict[str, Any],
    parameters: dict[str, Any],
    integer_data: tuple[str, ...] = (),
) -> None:
    (observed,) = system.structure.observed
    if isinstance(system, FiniteState):
        series = {observed: data["observations"]}
        assert_finite_beliefs(system, loaded.model, data, parameters, series, integer_data)
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


QUICK = {"two_state_pomdp", "nile"}  # one of each family


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in shipped()]
)
def test_the_verbs_run_on_the_whole_series_of_every_shipped_model(name: str) -> None:
    _, _, system = whole(name)
    verbs = finite if isinstance(system, FiniteState) else gaussian
    beliefs = verbs.smooth(system)
    assert np.isfinite(beliefs.log_evidence)
    for field in beliefs:
        assert np.isfinite(field).all()
