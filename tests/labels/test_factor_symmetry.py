"""Are the signs, orders and rotations of factors found on the program, and is every draw given those of the reference?"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.contrib.control_flow import scan

from ppl_worldmodel.checks import label_switching
from ppl_worldmodel.comparisons.fit import fit
from ppl_worldmodel.infer.beliefs import of_parameter_draws
from ppl_worldmodel.infer.result_tree import PARAMETERS
from ppl_worldmodel.labels.aligned_results import in_one_labelling, posterior_mean
from ppl_worldmodel.labels.factor_symmetry import WHOLE, FactorSymmetry, factor_symmetry, moved
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


def like_factors(y: Any, stays: int = 1, positive: bool = False, width: float = 1.0) -> None:
    """Two factors alike, of one persistence or of one each."""
    stay = numpyro.sample("stay", dist.Uniform(0.0, 1.0).expand([stays]).to_event(1))
    prior = dist.HalfNormal(1.0) if positive else dist.Normal(0.0, jnp.array([1.0, width]))
    loadings = numpyro.sample("loadings", prior.expand([3, 2]).to_event(2))

    def step(x: Any, y: Any) -> Any:
        x = numpyro.sample("x", dist.MultivariateNormal(stay * x, 0.25 * jnp.eye(2)))
        numpyro.sample("y", dist.Normal(loadings @ x, 0.3).to_event(1), obs=y)
        return x, None

    scan(step, numpyro.sample("x0", dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2))), y)


def free(model: Any, **settings: Any) -> FactorSymmetry | None:
    return factor_symmetry(read(model, {"y": Y, **settings}))


@pytest.mark.slow
def test_loadings_change_sign_with_their_factor_and_nothing_else_does() -> None:
    expected: dict[str, Any] = {"stay": (), "loadings": WHOLE, "level": ("fixed",)}
    assert free(one_factor) == FactorSymmetry("signs", expected)


@pytest.mark.slow
def test_factors_that_differ_have_signs_only() -> None:
    expected = FactorSymmetry("signs", {"loadings": ("fixed", "moved")})
    assert free(two_factors) == expected


@pytest.mark.slow
def test_priors_of_different_width_leave_signs_only() -> None:
    found = free(like_factors, width=2.0)
    assert found is not None
    assert found.group == "signs"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "group", "stay", "loadings"),
    [
        ({}, "rotations", "fixed", "moved"),
        ({"stays": 2}, "signed permutations", "permuted", "moved"),
        ({"stays": 2, "positive": True}, "permutations", "permuted", "permuted"),
    ],
)
def test_like_factors_are_exchanged_and_rotated(settings: Any, group: Any, stay: Any, loadings: Any) -> None:
    expected = FactorSymmetry(group, {"stay": (stay,), "loadings": ("fixed", loadings)})
    assert free(like_factors, **settings) == expected


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
    np.testing.assert_array_equal(found["alignment"]["rotation"].values[..., 0], sign)
    expected = of_parameter_draws(reading, right)[0]
    np.testing.assert_allclose(found["beliefs"]["smoothed"], expected["smoothed"], rtol=1e-10)
    assert np.abs(found["beliefs"]["smoothed"]).max() > 2.0 * np.abs(result["beliefs"]["smoothed"]).max()
    # Without a truth the draws settle on one of the two signs, and a mean is taken of draws of one sign.
    mean = posterior_mean(reading, result)
    assert np.abs(mean["loadings"]) == pytest.approx(np.abs(LOADINGS), abs=0.1)
    (row,) = label_switching.findings(found)
    assert row.verdict == "agrees"
    assert "choices of signs" in row.why


def test_parameters_move_with_the_state() -> None:
    G = np.array([[0.6, -0.8], [0.8, 0.6]])
    swap = np.array([[0.0, -1.0], [1.0, 0.0]])
    A = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_allclose(moved(A, ("moved", "moved"), G), G @ A @ G.T, rtol=1e-15)
    np.testing.assert_allclose(moved(A, ("fixed", "moved"), G), A @ G.T, rtol=1e-15)
    np.testing.assert_array_equal(moved(np.array([0.2, 0.9]), ("permuted",), swap), [0.9, 0.2])
    np.testing.assert_array_equal(moved(np.array([0.2, 0.9]), ("moved",), swap), [-0.9, 0.2])
    draws = RANDOM.standard_normal((2, 3, 4, 2))
    each = np.stack([G, swap, np.eye(2)] * 2).reshape(2, 3, 2, 2)
    found = moved(draws, ("fixed", "moved"), each)
    for chain in range(2):
        for draw in range(3):
            np.testing.assert_allclose(found[chain, draw], draws[chain, draw] @ each[chain, draw].T, rtol=1e-13)
    np.testing.assert_array_equal(moved(draws, ("fixed", "fixed"), each), draws)


@pytest.mark.slow
def test_rotated_draws_say_the_same_as_draws_that_were_not() -> None:
    """Draws near one value, each chain turned by a rotation of its own: aligned with that value they are near it again."""
    reading = read(like_factors, {"y": Y})
    loadings = np.array([[1.2, 0.1], [-0.8, 0.9], [0.5, 1.0]])
    right = loadings + 0.02 * RANDOM.standard_normal((2, 40, 3, 2))
    turns = np.stack([np.linalg.qr(RANDOM.standard_normal((2, 2)))[0] for _ in range(2)])
    turns = np.broadcast_to(turns[:, None], (2, 40, 2, 2))
    drawn = {"stay": np.full((2, 40, 1), 0.7), "loadings": moved(right, ("fixed", "moved"), turns)}
    dims = {"stay": ("chain", "draw", "one"), "loadings": ("chain", "draw", "series", "factor")}
    result = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset({name: (dims[name], values) for name, values in drawn.items()}),
            "beliefs": xr.Dataset(of_parameter_draws(reading, drawn)[0]),
        }
    )
    result.attrs = {"question": PARAMETERS, "engine": "any"}
    found = in_one_labelling(reading, {"any": result}, {"stay": np.array([0.7]), "loadings": loadings})["any"]
    # A draw's own small error may be turned a little further by the alignment: it stays as small as it was.
    assert np.abs(found["posterior"]["loadings"].values - loadings).max() < 0.15
    assert np.abs(drawn["loadings"] - loadings).max() > 1.0
    product = np.einsum("cdij,cdkj->cdik", found["posterior"]["loadings"], found["posterior"]["loadings"])
    np.testing.assert_allclose(product, np.einsum("cdij,cdkj->cdik", right, right), rtol=1e-10)
    (row,) = label_switching.findings(found)
    assert row.verdict == "agrees"
    assert "rotated" in row.why
    assert found["alignment"].attrs["rhat_before"] > 1.5  # of ranks in two chains apart it is 1.8
    assert found["alignment"].attrs["rhat_after"] < 1.1
    # For its evidence a model that is compared keeps every image of the posterior; its mean is that of one.
    fitted = fit(reading, jax.random.key(0), engine=lambda reading, key: result).result
    np.testing.assert_array_equal(fitted["posterior"]["loadings"], drawn["loadings"])
    mean = posterior_mean(reading, fitted)["loadings"]
    assert np.abs(mean @ mean.T - loadings @ loadings.T).max() < 0.1
    apart = drawn["loadings"].mean(axis=(0, 1))
    assert np.abs(apart @ apart.T - loadings @ loadings.T).max() > 0.3
