"""Are states that cannot be told apart counted once, and parts of a state that are never seen, or never moved, found?"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan

from ppl_worldmodel import read
from ppl_worldmodel.exact.system import FiniteState, LinearGaussian, Structure
from ppl_worldmodel.identifiability.rank_conditions import Fact, facts

from ..exact.systems import random_finite
from .systems import change_basis, stationary

T = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.3, 0.6]])
O = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])


def chain_of(T: np.ndarray, O: np.ndarray, symbols: list[int], **structure: Any) -> dict[str, Fact]:
    """The facts about a chain that showed these symbols; -1: nothing was seen."""
    seen = np.array([np.zeros(len(O)) if symbol < 0 else np.log(O[:, symbol]) for symbol in symbols])
    start = jnp.full(len(O), 1 / len(O))
    system = FiniteState(start, jnp.asarray(T), jnp.asarray(seen), Structure(**structure))
    return {fact.fact: fact for fact in facts(system)}


def test_full_rank() -> None:
    found = chain_of(T, O, [0, 1, 2, 2, 1, 0])
    assert not any(fact.fails for fact in found.values())
    assert found["rank of O"].amount == found["rank of T"].amount == 3
    slowest = np.sort(np.abs(np.linalg.eigvals(T)))[-2]
    np.testing.assert_allclose(found["spectral gap"].amount, 1 - slowest, rtol=1e-12)


@pytest.mark.parametrize("symbols", [[0, 1, 0, 0], [0, 1, -1, 1, -1]])
def test_a_symbol_that_was_never_seen_tells_no_states_apart(symbols: list[int]) -> None:
    found = chain_of(T, O, symbols)
    assert found["rank of O"].amount == 2
    assert found["rank of O"].fails
    assert not found["rank of T"].fails


def test_two_states_that_emit_alike_are_named() -> None:
    alike = O[[0, 1, 0]]
    found = chain_of(T, alike, [0, 1, 2])["rank of O"]
    assert found.amount == 2
    assert "states 0, 2 are not independent" in found.says
    nearly = chain_of(T, 0.97 * alike + 0.03 * O, [0, 1, 2])["rank of O"]
    assert nearly.amount == 3
    assert "nearly dependent" in nearly.says


def test_a_state_whose_moves_are_a_mixture_of_the_others() -> None:
    mixed = np.array([T[0], T[1], 0.25 * T[0] + 0.75 * T[1]])
    found = chain_of(mixed, O, [0, 1, 2])["rank of T"]
    assert found.amount == 2
    assert "rows of T 0, 1, 2 are not independent" in found.says


def test_where_it_varies_the_worst_step_counts() -> None:
    always = np.stack([T, np.tile(T[:1], (3, 1)), T])
    found = chain_of(always, O, [0, 1, 2], varying=frozenset({"transition"}))
    assert found["rank of T"].amount == 1
    assert "spectral gap" not in found


def test_emissions_of_pairs_of_states() -> None:
    """Transitions that never happen are no pairs; with as many numbers as steps, no rank is larger than that."""
    found = {fact.fact: fact for fact in facts(random_finite(0, "both states"))}
    assert found["rank of O"].needed == 8
    assert found["rank of O"].amount == 5  # six steps, in one of which nothing was seen


def test_visits_are_those_of_the_smoother() -> None:
    sure = np.array([[1.0, 0.0], [0.0, 1.0]])
    found = chain_of(np.array([[0.9, 0.1], [0.4, 0.6]]), np.clip(sure, 1e-300, 1.0), [0, 0, 1, 0, 0])["fewest visits"]
    np.testing.assert_allclose(found.amount, 1.0, rtol=1e-12)
    assert found.says.startswith("steps are expected in state 1, of 5")


def linear_of(system: LinearGaussian) -> dict[str, Fact]:
    return {fact.fact: fact for fact in facts(system)}


@pytest.mark.parametrize("scale", [1.0, 1e9])
@pytest.mark.parametrize("seed", range(3))
def test_hidden_and_unmoved_directions_are_counted_in_any_basis(seed: int, scale: float) -> None:
    """Two coordinates that nobody sees beside those of the system, and one that no noise moves."""
    system = stationary(seed)
    size, rng = system.A.shape[-1], np.random.default_rng(seed)
    more = size + 3
    A, Q, C = np.zeros((more, more)), np.zeros((more, more)), np.zeros((system.C.shape[0], more))
    A[:size, :size], Q[:size, :size], C[:, :size] = system.A, system.Q, system.C
    A[size:, size:] = np.diag([0.5, 0.7, 0.3])
    A[size : size + 2, :size] = rng.normal(size=(2, size))  # they are moved by the others, and do not move them
    A[0, -1] = 0.4  # the last one moves others, but nothing moves it
    larger = system._replace(
        initial_mean=jnp.zeros(more), initial_covariance=jnp.eye(more), A=jnp.asarray(A), b=jnp.zeros(more),
        Q=jnp.asarray(Q), C=jnp.asarray(C),
    )  # fmt: skip
    units = np.diag(np.geomspace(1.0, scale, more))
    for basis in (units, rng.normal(size=(more, more))):
        found = linear_of(change_basis(larger, basis))
        assert found["observable directions"].amount == more - 2
        assert found["directions moved by noise"].amount == more - 1
        assert found["observable directions"].fails
        assert "never seen" in found["observable directions"].says
    assert linear_of(system)["observable directions"].amount == size
    assert not any(fact.fails for fact in linear_of(system).values())


def test_a_trend_is_seen_through_its_level_and_a_constant_slope_is_not_moved() -> None:
    system = stationary(0)._replace(
        initial_mean=jnp.zeros(2), initial_covariance=jnp.eye(2), A=jnp.array([[1.0, 1.0], [0.0, 1.0]]), b=jnp.zeros(2),
        Q=jnp.diag(jnp.array([1e-12, 0.0])), C=jnp.array([[1.0, 0.0]]), R=jnp.eye(1), d=jnp.zeros(1),
        observations=jnp.zeros((4, 1)),
    )  # fmt: skip
    found = linear_of(system)
    assert found["observable directions"].amount == 2
    assert found["directions moved by noise"].amount == 1
    assert found["largest eigenvalue"].says == "its modulus: shocks are permanent"
    assert "explodes" in linear_of(system._replace(A=1.1 * system.A))["largest eigenvalue"].says


def test_a_difference_of_two_states_shows_the_state() -> None:
    def model(y: Any) -> None:
        def step(x: Any, y: Any) -> Any:
            new = numpyro.sample("x", dist.Normal(0.9 * x, 1.0))
            numpyro.sample("y", dist.Normal(new - x, 1.0), obs=y)
            return new, None

        scan(step, numpyro.sample("start", dist.Normal(0.0, 1.0)), y)

    found = linear_of(read(model, {"y": np.zeros(4)}).system)
    assert found["observable directions"].amount == found["observable directions"].needed == 1
