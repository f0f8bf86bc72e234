"""Both orders of a step, several observed sites, covariates, values that run along: small programs against the oracles."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan

from ppl_worldmodel import read
from ppl_worldmodel.exact.system import FiniteState, LinearGaussian

from ..references import dense
from .contract import assert_density_along_random_paths, assert_finite_beliefs, assert_gaussian_beliefs, draw_parameters

rng = np.random.default_rng(0)
STEPS = 6
PRICE = rng.normal(size=STEPS)
COUNTS, HEIGHTS = rng.integers(0, 3, STEPS), rng.normal(size=(STEPS, 2))


def rows(name: str, *shape: int) -> jax.Array:
    return numpyro.sample(name, dist.Dirichlet(jnp.ones(shape)).to_event(1))


def emission_first(counts: Any, heights: Any, price: Any) -> None:
    """Two observed sites, then a move that a covariate drives."""
    T, O, means = (
        rows("T", 3, 3),
        rows("O", 3, 3),
        numpyro.sample("means", dist.Normal(0.0, 1.0).expand([3]).to_event(1)),
    )

    def step(state: Any, inputs: Any) -> Any:
        count, height, price = inputs
        numpyro.sample("count", dist.Categorical(O[state]), obs=count)
        numpyro.sample("height", dist.Normal(means[state], jnp.array([0.5, 2.0])).to_event(1), obs=height)
        tilted = jnp.log(T[state]) + price * jnp.array([1.0, 0.0, -1.0])
        return numpyro.sample("state", dist.Categorical(logits=tilted)), None

    scan(step, numpyro.sample("first", dist.Categorical(jnp.array([0.2, 0.0, 0.8]))), (counts, heights, price))


def both_states(counts: Any, heights: Any, price: Any) -> None:
    """What is seen depends on the move: where it went and where it came from."""
    T, O = rows("T", 2, 2), rows("O", 2, 2, 3)

    def step(old: Any, inputs: Any) -> Any:
        count, height, price = inputs
        new = numpyro.sample("state", dist.Categorical(T[old]))
        numpyro.sample("count", dist.Categorical(O[old, new]), obs=count)
        numpyro.sample("height", dist.Normal(price * new, 1.0).expand([2]).to_event(1), obs=height)
        return new, None

    scan(step, numpyro.sample("first", dist.Categorical(jnp.array([0.5, 0.5]))), (counts, heights, price))


def runs_along(counts: Any, heights: Any, price: Any) -> None:
    """A tuple carry: the time and the last price beside the state, which starts known."""
    O = rows("O", 2, 3)
    stay = numpyro.sample("stay", dist.Beta(2.0, 2.0))

    def step(carry: Any, inputs: Any) -> Any:
        time, state, last = carry
        count, height, price = inputs
        new = numpyro.sample("state", dist.Bernoulli(jnp.where(state == 1, stay, 0.3)))
        numpyro.sample("count", dist.Categorical(O[new]), obs=count)
        numpyro.sample("height", dist.Normal(new + 0.1 * time + last, 1.0).expand([2]).to_event(1), obs=height)
        return (time + 1, new, price), None

    scan(step, (0, jnp.array(1), 0.5), (counts, heights, price))


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "gaps"), [(0, False), (1, False), (2, True)])
@pytest.mark.parametrize(
    ("model", "order", "varying"),
    [
        (emission_first, "emission first", {"transition"}),
        (both_states, "both states", set()),
        (runs_along, "transition first", set()),
    ],
)
def test_finite_programs(model: Any, order: str, varying: set[str], gaps: bool, seed: int) -> None:
    data: dict[str, Any] = {"counts": COUNTS, "heights": HEIGHTS, "price": PRICE}
    parameters = draw_parameters(model, data, ("first",), seed)
    if gaps:
        data["counts"], data["heights"] = COUNTS.astype(float), HEIGHTS.copy()
        data["counts"][[0, 3]] = data["heights"][[3, 4]] = np.nan
    system = read(model, data, parameters).system
    assert isinstance(system, FiniteState)
    assert (system.structure.order, set(system.structure.varying)) == (order, varying)
    assert system.structure.observed == ("count", "height")
    observed = {"count": data["counts"], "height": data["heights"]}
    start = {} if system.structure.initials else {"initial_value": 1}
    assert_finite_beliefs(system, model, data, parameters, observed, ("counts",) if gaps else (), **start)
    if not gaps:
        assert_density_along_random_paths(system, model, data, parameters, seed)


A, C = jnp.array([[0.9, 0.2, 0.0], [0.0, 0.5, 0.3], [-0.1, 0.0, 0.8]]), jnp.array([[1.0, 0.0, 0.5], [0.0, 1.0, 1.0]])
Q, R = jnp.array([[1.0, 0.2, 0.0], [0.2, 0.7, 0.1], [0.0, 0.1, 0.5]]), jnp.array([[0.5, 0.2], [0.2, 0.9]])


def gaussian_program(first: bool) -> Any:
    def model(heights: Any, price: Any) -> None:
        push = numpyro.sample("push", dist.Normal(0.0, 1.0))
        scale = numpyro.sample("scale", dist.LogNormal(0.0, 0.3))

        def step(old: Any, inputs: Any) -> Any:
            height, price = inputs
            new = numpyro.sample("x", dist.MultivariateNormal(A @ old + push * price, scale * Q))
            seen = C @ (old if first else new) + 3.0
            numpyro.sample("height", dist.MultivariateNormal(seen, R * (1 + price**2)), obs=height)
            return new, None

        scan(step, numpyro.sample("x0", dist.MultivariateNormal(jnp.ones(3), 2 * Q)), (heights, price))

    return model


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "gaps"), [(0, False), (1, False), (2, True)])
@pytest.mark.parametrize("order", ["transition first", "emission first"])
def test_gaussian_programs_with_a_covariate(order: str, gaps: bool, seed: int) -> None:
    first = order == "emission first"
    model, data = gaussian_program(first), {"heights": HEIGHTS, "price": PRICE}
    parameters = {"push": np.array([0.3, -2.0, 1.1][seed]), "scale": np.array([1.0, 0.2, 5.0][seed])}
    if gaps:
        data["heights"] = np.where(np.arange(STEPS)[:, None] % 4 == 0, np.nan, HEIGHTS)
    system = read(model, data, parameters).system
    assert isinstance(system, LinearGaussian)
    assert (system.structure.order, set(system.structure.varying)) == (order, {"b", "R"})
    by_hand = dense.joint(
        initial_mean=np.ones(3),
        initial_covariance=2 * Q,
        A=[A] * STEPS,
        b=np.outer(parameters["push"] * PRICE, np.ones(3)),
        Q=[parameters["scale"] * Q] * STEPS,
        C=[C] * STEPS,
        d=[[3.0, 3.0]] * STEPS,
        R=[R * (1 + price**2) for price in PRICE],
        emission_first=first,
    )
    assert_gaussian_beliefs(system, dense.posterior(by_hand, data["heights"], dim_x=3, emission_first=first))
    if not gaps:
        assert_density_along_random_paths(system, model, data, parameters, seed)


def level_and_slope(first: bool, known: bool) -> Any:
    """Two state sites, the level moved by the NEW slope, and two observed sites."""

    def model(heights: Any, price: Any) -> None:
        def step(carry: Any, inputs: Any) -> Any:
            old, pace = carry
            height, price = inputs
            faster = numpyro.sample("slope", dist.Normal(0.8 * pace + 0.1 * price, 0.4))
            new = numpyro.sample("level", dist.Normal(old + 0.5 * faster, 0.3))
            level, slope = (old, pace) if first else (new, faster)
            numpyro.sample("a", dist.Normal(2.0 * level, 0.7), obs=height[0])
            numpyro.sample("b", dist.Normal(level - slope + 1.0, 1.5), obs=height[1])
            return (new, faster), None

        start = (5.0, -1.0)
        if not known:
            start = (numpyro.sample("level0", dist.Normal(5.0, 2.0)), numpyro.sample("slope0", dist.Normal(-1.0, 1.0)))
        scan(step, start, (heights, price))

    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "known", "gaps"),
    [
        ("transition first", False, False),
        ("transition first", True, True),
        ("emission first", False, True),
        ("emission first", True, False),
    ],
)
def test_two_state_sites_and_two_observed_sites(order: str, known: bool, gaps: bool) -> None:
    """Matrices worked out by hand: level' = level + 0.5 (0.8 slope + 0.1 price + noise) + noise."""
    first = order == "emission first"
    model, data = level_and_slope(first, known), {"heights": HEIGHTS + 5.0, "price": PRICE}
    if gaps:
        data["heights"] = np.where(np.array([[1, 0], [0, 0], [1, 1], [0, 1], [0, 0], [0, 0]]), np.nan, data["heights"])
    system = read(model, data).system
    assert isinstance(system, LinearGaussian)
    assert (system.structure.states, system.structure.observed) == (("level", "slope"), ("a", "b"))
    assert (system.structure.order, set(system.structure.varying)) == (order, {"b"})
    by_hand = dense.joint(
        initial_mean=[5.0, -1.0],
        initial_covariance=np.zeros((2, 2)) if known else np.diag([4.0, 1.0]),
        A=[[[1.0, 0.4], [0.0, 0.8]]] * STEPS,
        b=np.outer(PRICE, [0.05, 0.1]),
        Q=[[[0.25 * 0.16 + 0.09, 0.5 * 0.16], [0.5 * 0.16, 0.16]]] * STEPS,
        C=[[[2.0, 0.0], [1.0, -1.0]]] * STEPS,
        d=[[0.0, 1.0]] * STEPS,
        R=[np.diag([0.49, 2.25])] * STEPS,
        emission_first=first,
    )
    assert_gaussian_beliefs(system, dense.posterior(by_hand, data["heights"], dim_x=2, emission_first=first))
    if not gaps:
        assert_density_along_random_paths(system, model, data, {}, seed=0)
