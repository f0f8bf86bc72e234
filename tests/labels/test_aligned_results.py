"""Does all of a result get the new names: parameters, beliefs, and what the program computes from its parameters?"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
import xarray as xr

from ppl_worldmodel import given, read
from ppl_worldmodel.infer.beliefs import of_parameter_draws
from ppl_worldmodel.infer.result_tree import PARAMETERS
from ppl_worldmodel.labels.aligned_results import in_one_labelling, posterior_mean
from ppl_worldmodel.labels.relabelling import Relabelling
from ppl_worldmodel.labels.state_axes import with_state_axes
from ppl_worldmodel.models import three_state


def program(observations: Any) -> None:
    """`three_state`, and how long each state lasts."""
    with numpyro.handlers.trace() as seen:
        three_state.model(observations)
    numpyro.deterministic("staying", jnp.diagonal(seen["T"]["value"]))


def test_a_parameter_called_state_leaves_the_axes_their_numbers() -> None:
    posterior = {
        "T": (("chain", "draw", "T_0", "T_1"), np.ones((1, 1, 2, 2))),
        "state": (("chain", "draw"), np.ones((1, 1))),
    }
    result = xr.DataTree.from_dict({"posterior": xr.Dataset(posterior)})
    found = with_state_axes(result, Relabelling(2, {"T": (0, 1), "state": ()}, True))
    assert found["posterior"]["T"].dims == ("chain", "draw", "T_0", "T_1")


@pytest.mark.slow
def test_all_of_a_result_is_renamed() -> None:
    observed = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0, 0])
    reading, rng = read(program, {"observations": observed}), np.random.default_rng(0)
    near, far = np.eye(3), np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.3, 0.6]])
    share = rng.uniform(0.6, 0.9, size=(2, 5, 1, 1))
    right = {"T": (1 - share) * near + share * far, "O": share * near + (1 - share) / 3}
    orders = np.stack([rng.permutation(3) for _ in range(10)]).reshape(2, 5, 3)
    draws = {name: np.empty(values.shape) for name, values in right.items()}
    for index in np.ndindex(2, 5):
        draws["T"][index] = right["T"][index][np.ix_(orders[index], orders[index])]
        draws["O"][index] = right["O"][index][orders[index]]
    posterior = {name: (("chain", "draw", f"{name}_0", f"{name}_1"), values) for name, values in draws.items()}
    posterior["staying"] = (("chain", "draw", "staying_0"), np.diagonal(draws["T"], axis1=-2, axis2=-1))
    beliefs, _ = of_parameter_draws(reading, draws)
    result = xr.DataTree.from_dict({"posterior": xr.Dataset(posterior), "beliefs": xr.Dataset(beliefs)})
    result.attrs = {"question": PARAMETERS, "engine": "any"}
    reference = {name: values[0, 0] for name, values in right.items()}
    found = in_one_labelling(reading, {"any": result}, reference)["any"]
    renamed = found["posterior"].to_dataset()
    np.testing.assert_array_equal(found["alignment"]["order"].values, np.argsort(orders, axis=-1))
    assert renamed["T"].dims == ("chain", "draw", "state", "state_bis")
    assert renamed["O"].dims == (
        "chain",
        "draw",
        "state",
        "O_1",
    )  # its symbols are as many as the states, and are no states
    np.testing.assert_allclose(renamed["T"], right["T"], rtol=1e-15)
    np.testing.assert_allclose(renamed["O"], right["O"], rtol=1e-15)
    np.testing.assert_allclose(renamed["staying"], np.diagonal(right["T"], axis1=-2, axis2=-1), rtol=1e-15)
    expected, _ = of_parameter_draws(reading, right)
    np.testing.assert_allclose(found["beliefs"]["smoothed"], expected["smoothed"], atol=1e-12)
    # The mean at which exact answers are asked is one of draws that name the states alike, whatever the names are.
    mean = posterior_mean(reading, result)
    average = {name: values.mean(axis=(0, 1)) for name, values in right.items()}
    names = [int(np.abs(mean["O"] - row).sum(axis=1).argmin()) for row in average["O"]]
    np.testing.assert_allclose(mean["O"][names], average["O"], rtol=1e-12)
    np.testing.assert_allclose(mean["T"][np.ix_(names, names)], average["T"], rtol=1e-12)
    assert np.abs(draws["T"].mean(axis=(0, 1)) - average["T"]).max() > 0.1
    assert posterior_mean(reading, found)["T"] == pytest.approx(average["T"], rel=1e-12)
    known = {name: jnp.asarray(value) for name, value in reference.items()}
    assert posterior_mean(read(given(program, known), reading.data), found) == {}
