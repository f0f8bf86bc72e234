"""Are the signs of factors found on the program, and is every draw given those of the reference?"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.contrib.control_flow import scan

from ppl_worldmodel.checks import label_switching
from ppl_worldmodel.infer.beliefs import of_parameter_draws
from ppl_worldmodel.infer.result_tree import PARAMETERS
from ppl_worldmodel.labels.aligned_results import in_one_labelling, posterior_mean
from ppl_worldmodel.labels.factor_signs import Signs, signs, with_signs
from ppl_worldmodel.program.reading import read

RANDOM = np.random.default_rng(3)
LOADINGS, STAY = np.array([1.2, -0.8, 0.5]), np.array(0.7)
FACTOR = np.sin(np.arange(24.0) / 3.0)
Y = FACTOR[:, None] * LOADINGS + 0.3 * RANDOM.standard_normal((24, 3))


def one_factor(y: Any, location: float = 0.0) -> None:
    """Three series that load on one factor."""
    stay = numpyro.sample("stay", dist.Uniform(0.0, 1.0))
    loadings = numpyro.sample("loadings", dist.Normal(location, 1.0).expand([3]).to_event(1))
    level = numpyro.sample("level", dist.Normal(0.0, 1.0).expand([3]).to_event(1))

    def step(x: Any, y: Any) -> Any:
        x = numpyro.sample("x", dist.Normal(stay * x, 0.5))
        numpyro.sample("y", dist.Normal(level + loadings * x, 0.3).to_event(1), obs=y)
        return x, None

    scan(step, numpyro.sample("x0", dist.Normal(0.0, 1.0)), y)


def two_factors(y: Any) -> None:
    """The first loads on all series, the second not on the first one."""
    loadings = numpyro.sample("loadings", dist.Normal(0.0, 1.0).expand([3, 2]).to_event(2))
    C = loadings * jnp.array([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])

    def step(x: Any, y: Any) -> Any:
        x = numpyro.sample("x", dist.MultivariateNormal(jnp.array([0.9, 0.5]) * x, 0.25 * jnp.eye(2)))
        numpyro.sample("y", dist.Normal(C @ x, 0.3).to_event(1), obs=y)
        return x, None

    scan(step, numpyro.sample("x0", dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2))), y)


def free(model: Any, **settings: Any) -> Signs | None:
    return signs(read(model, {"y": Y, **settings}))


@pytest.mark.slow
def test_loadings_change_sign_with_their_factor_and_nothing_else_does() -> None:
    found = free(one_factor)
    assert found is not None
    np.testing.assert_array_equal(found.changes["loadings"], -np.ones((1, 3)))
    np.testing.assert_array_equal(found.changes["level"], np.ones((1, 3)))
    assert "stay" not in found.changes


@pytest.mark.slow
def test_each_of_two_factors_has_a_sign_of_its_own() -> None:
    found = free(two_factors)
    assert found is not None
    np.testing.assert_array_equal(found.changes["loadings"][0], np.tile([-1.0, 1.0], (3, 1)))
    np.testing.assert_array_equal(found.changes["loadings"][1], np.tile([1.0, -1.0], (3, 1)))


@pytest.mark.slow
def test_a_prior_that_knows_the_sign_leaves_it() -> None:
    assert free(one_factor, location=0.5) is None


@pytest.mark.slow
def test_draws_of_both_signs_become_those_of_one() -> None:
    reading = read(one_factor, {"y": Y})
    right = {
        "stay": np.broadcast_to(STAY, (2, 6)) + 0.01 * RANDOM.standard_normal((2, 6)),
        "loadings": LOADINGS + 0.05 * RANDOM.standard_normal((2, 6, 3)),
        "level": 0.05 * RANDOM.standard_normal((2, 6, 3)),
    }
    sign = np.where(RANDOM.random((2, 6, 1)) < 0.5, -1.0, 1.0)
    drawn = right | {"loadings": right["loadings"] * sign}
    posterior = {
        name: (("chain", "draw", *(["series"] if each.ndim > 2 else [])), each) for name, each in drawn.items()
    }
    result = xr.DataTree.from_dict(
        {"posterior": xr.Dataset(posterior), "beliefs": xr.Dataset(of_parameter_draws(reading, drawn)[0])}
    )
    result.attrs = {"question": PARAMETERS, "engine": "any"}
    truth = {"stay": STAY, "loadings": LOADINGS, "level": np.zeros(3)}
    found = in_one_labelling(reading, {"any": result}, truth)["any"]
    np.testing.assert_allclose(found["posterior"]["loadings"], right["loadings"], rtol=1e-12)
    np.testing.assert_array_equal(found["alignment"]["sign"].values, sign)
    expected = of_parameter_draws(reading, right)[0]
    np.testing.assert_allclose(found["beliefs"]["smoothed"], expected["smoothed"], rtol=1e-10)
    assert np.abs(found["beliefs"]["smoothed"]).max() > 2.0 * np.abs(result["beliefs"]["smoothed"]).max()
    # Without a truth the draws settle on one of the two signs, and a mean is taken of draws of one sign.
    mean = posterior_mean(reading, result)
    assert np.abs(mean["loadings"]) == pytest.approx(np.abs(LOADINGS), abs=0.1)
    (row,) = label_switching.findings(found)
    assert row.verdict == "agrees"
    assert "choices of signs" in row.why


def test_signs_act_on_each_component() -> None:
    draws = {"C": np.ones((1, 2, 2, 2)), "scale": np.ones((1, 2))}
    changes = {"C": np.stack([np.tile([-1.0, 1.0], (2, 1)), np.tile([1.0, -1.0], (2, 1))])}
    moved = with_signs(draws, Signs(changes), np.array([[[1.0, -1.0], [-1.0, -1.0]]]))
    np.testing.assert_array_equal(moved["C"][0, 0], [[1.0, -1.0], [1.0, -1.0]])
    np.testing.assert_array_equal(moved["C"][0, 1], -np.ones((2, 2)))
    np.testing.assert_array_equal(moved["scale"], draws["scale"])
