"""Does every shipped model keep the promises of a model file?"""

import jax
import numpy as np
import pytest
from numpyro import handlers

from ppl_worldmodel.catalogue import catalogue, shipped
from ppl_worldmodel.program.load import default_data, load


@pytest.mark.parametrize("name", shipped())
def test_a_model_file_has_all_its_parts(name: str) -> None:
    loaded = load(name)
    assert "-->" in loaded.about, "the ASCII graph"
    assert "Reference" in loaded.about or "Source" in loaded.about
    assert loaded.truth is not None or callable(loaded.module.data)
    assert {"state", "dim"} & set(loaded.coords)


@pytest.mark.parametrize("name", shipped())
def test_a_model_simulates_and_its_data_fit_it(name: str) -> None:
    loaded = load(name)
    data, where_from = default_data(loaded, 0)
    assert where_from
    trace = handlers.trace(handlers.seed(loaded.model, 0)).get_trace(**data)
    observed = [site for site in trace.values() if site["type"] == "sample" and site["is_observed"]]
    assert observed
    for site in observed:
        assert bool(jax.numpy.all(site["fn"].support(site["value"])))
    simulated = handlers.trace(handlers.seed(loaded.model, 0)).get_trace()
    assert not [site for site in simulated.values() if site["type"] == "sample" and site["is_observed"]]


def test_the_data_are_what_their_sources_say() -> None:
    nile, earthquakes, geyser = (
        load(name).module.data()["observations"] for name in ("nile", "earthquakes", "old_faithful")
    )
    assert (len(nile), nile[0], nile[-1]) == (100, 1120, 740)
    assert (len(earthquakes), earthquakes[0], int(np.sum(earthquakes))) == (107, 13, 2072)
    assert len(geyser) == 299
    assert set(np.unique(geyser)) == {0, 1}


def test_the_catalogue_lists_the_folder() -> None:
    assert [entry.name for entry in catalogue()] == shipped()
    assert {entry.data for entry in catalogue()} == {"real data", "simulated"}


def test_the_tigers_rewards_are_those_of_the_paper() -> None:
    loaded = load("tiger")
    actions = loaded.module.simulation_inputs(8)["actions"]
    sites = handlers.trace(handlers.seed(loaded.model, 3)).get_trace(actions=actions)
    before = np.r_[int(sites["initial_state"]["value"]), np.asarray(sites["state"]["value"])[:-1]]
    expected = {
        0: lambda state: -1,
        1: lambda state: -100 if state == 0 else 10,
        2: lambda state: -100 if state == 1 else 10,
    }
    rewards = np.asarray(sites["reward"]["value"])
    assert [
        expected[int(action)](int(state)) for action, state in zip(actions, before, strict=True)
    ] == rewards.tolist()
