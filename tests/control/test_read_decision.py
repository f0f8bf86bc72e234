"""Are T, O and R those that a program computes from, whatever the order of acting, moving, observing and earning?"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan

from ppl_worldmodel.control import read_decision
from ppl_worldmodel.errors import DataError, NotExactlySolvable

RANDOM = np.random.default_rng(8)
START = RANDOM.dirichlet(np.ones(3))
T = RANDOM.dirichlet(np.ones(3), (2, 3))
O = RANDOM.dirichlet(np.ones(4), (2, 3))
OLD, NEW, SEEN = RANDOM.normal(size=(2, 3)), RANDOM.normal(size=(2, 3)), RANDOM.normal(size=4)


def program(body: Callable[[Any, Any, Any], Any]) -> Callable:
    """A program whose step is `body(state, action, observation)`, which returns the new state."""

    def model(observations: Any = None, actions: Any = None) -> None:
        def step(state: Any, inputs: Any) -> Any:
            action, observation = inputs
            return body(state, action, observation), None

        start = numpyro.sample("start", dist.Categorical(jnp.asarray(START)))
        scan(step, start, (actions, observations), length=len(actions))

    return model


def moved(state: Any, action: Any) -> Any:
    return numpyro.sample("state", dist.Categorical(jnp.asarray(T)[action, state]))


def seen(state: Any, action: Any, observation: Any, of: Any = O) -> Any:
    return numpyro.sample("seen", dist.Categorical(jnp.asarray(of)[action, state]), obs=observation)


def earns_before_it_moves(state: Any, action: Any, observation: Any) -> Any:
    numpyro.deterministic("reward", jnp.asarray(OLD)[action, state])
    state = moved(state, action)
    seen(state, action, observation)
    return state


def earns_in_the_new_state(state: Any, action: Any, observation: Any) -> Any:
    state = moved(state, action)
    seen(state, action, observation)
    numpyro.sample("reward", dist.Normal(jnp.asarray(NEW)[action, state], 2.0))
    return state


def earns_by_all_of_them(state: Any, action: Any, observation: Any) -> Any:
    before = state
    state = moved(state, action)
    seen_now = seen(state, action, observation)
    numpyro.deterministic(
        "reward", jnp.asarray(OLD)[action, before] * jnp.asarray(NEW)[action, state] + jnp.asarray(SEEN)[seen_now]
    )
    return state


def observes_first(state: Any, action: Any, observation: Any) -> Any:
    seen_now = seen(state, 0, observation)
    numpyro.deterministic("reward", jnp.asarray(OLD)[action, state] + jnp.asarray(SEEN)[seen_now])
    return moved(state, action)


def expected_reward(reward: Callable[[int, int, int, int], float], observe_first: bool = False) -> np.ndarray:
    """R[a, s], a sum over all new states and observations."""
    return np.array(
        [
            [
                sum(
                    T[a, s, t] * (O[0, s, o] if observe_first else O[a, t, o]) * reward(a, s, t, o)
                    for t in range(3)
                    for o in range(4)
                )
                for s in range(3)
            ]
            for a in range(2)
        ]
    )


@pytest.mark.parametrize(
    ("body", "reward", "first"),
    [
        pytest.param(earns_before_it_moves, lambda a, s, t, o: OLD[a, s], False, marks=pytest.mark.slow),
        pytest.param(earns_in_the_new_state, lambda a, s, t, o: NEW[a, t], False, marks=pytest.mark.slow),
        (earns_by_all_of_them, lambda a, s, t, o: OLD[a, s] * NEW[a, t] + SEEN[o], False),
        pytest.param(observes_first, lambda a, s, t, o: OLD[a, s] + SEEN[o], True, marks=pytest.mark.slow),
    ],
)
def test_arrays_are_those_of_the_program(body: Any, reward: Any, first: bool) -> None:
    found = read_decision(program(body), {}, actions=range(2))
    np.testing.assert_allclose(found.initial, START, rtol=1e-12)
    np.testing.assert_allclose(found.transition, T, rtol=1e-12)
    np.testing.assert_allclose(found.observation, np.broadcast_to(O[:1], O.shape) if first else O, rtol=1e-12)
    np.testing.assert_allclose(found.reward, expected_reward(reward, first), rtol=1e-12)
    assert ("observe, act, move" if first else "act, move, observe") in repr(found)
    assert found.observations == (0, 1, 2, 3)


@pytest.mark.slow
def test_the_shipped_tiger_is_that_of_the_paper() -> None:
    found = read_decision("tiger", {"accuracy": np.array(0.75)})
    np.testing.assert_allclose(found.observation[0], [[0.75, 0.25], [0.25, 0.75]], rtol=1e-12)
    np.testing.assert_array_equal(found.reward, [[-1.0, -1.0], [-100.0, 10.0], [10.0, -100.0]])
    np.testing.assert_array_equal(found.transition[0], np.eye(2))
    assert found.actions == ("listen", "open left", "open right")
    assert found.states == ("tiger left", "tiger right")


def without_reward(state: Any, action: Any, observation: Any) -> Any:
    state = moved(state, action)
    seen(state, action, observation)
    return state


def with_a_vector_of_rewards(state: Any, action: Any, observation: Any) -> Any:
    numpyro.deterministic("reward", jnp.asarray(OLD)[action])
    return without_reward(state, action, observation)


def observes_the_old_state(state: Any, action: Any, observation: Any) -> Any:
    numpyro.deterministic("reward", 1.0 * state)
    new = moved(state, action)
    seen((new + state) % 3, action, observation)
    return new


def observes_first_by_the_action(state: Any, action: Any, observation: Any) -> Any:
    seen(state, action, observation)
    numpyro.deterministic("reward", 1.0 * state)
    return moved(state, action)


def counts(state: Any, action: Any, observation: Any) -> Any:
    numpyro.deterministic("reward", 1.0 * state)
    state = moved(state, action)
    numpyro.sample("seen", dist.Poisson(1.0 + state), obs=observation)
    return state


def follows_what_was_seen(state: Any, action: Any, observation: Any) -> Any:
    numpyro.deterministic("reward", 1.0 * state)
    seen_now = seen(state, action, observation)
    return numpyro.sample("state", dist.Categorical(jnp.asarray(T)[seen_now % 2, state]))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (without_reward, "no site 'reward': write numpyro.deterministic"),
        pytest.param(with_a_vector_of_rewards, r"'reward' has shape \(3,\)", marks=pytest.mark.slow),
        pytest.param(observes_the_old_state, "depends on the state before the move", marks=pytest.mark.slow),
        pytest.param(observes_first_by_the_action, "what is seen depends on the action", marks=pytest.mark.slow),
        pytest.param(counts, "cannot be listed", marks=pytest.mark.slow),
        pytest.param(follows_what_was_seen, "next state depends on the observation", marks=pytest.mark.slow),
    ],
)
def test_what_is_no_such_problem_is_refused(body: Any, message: str) -> None:
    with pytest.raises(NotExactlySolvable, match=message):
        read_decision(program(body), {}, actions=range(2))


@pytest.mark.slow
def test_a_continuous_state_is_refused() -> None:
    def model(observations: Any = None, actions: Any = None) -> None:
        def step(state: Any, inputs: Any) -> Any:
            action, observation = inputs
            numpyro.deterministic("reward", 1.0 * state)
            state = numpyro.sample("state", dist.Normal(state + action, 1.0))
            numpyro.sample("seen", dist.Bernoulli(logits=state), obs=observation)
            return state, None

        scan(step, numpyro.sample("start", dist.Normal(0.0, 1.0)), (actions, observations), length=len(actions))

    with pytest.raises(NotExactlySolvable):
        read_decision(model, {}, actions=range(2))


@pytest.mark.slow
def test_a_step_that_depends_on_the_time_is_refused() -> None:
    def model(observations: Any = None, actions: Any = None) -> None:
        def step(carry: Any, inputs: Any) -> Any:
            state, time = carry
            action, observation = inputs
            numpyro.deterministic("reward", 1.0 * state)
            state = numpyro.sample("state", dist.Categorical(jnp.asarray(T)[(action + time) % 2, state]))
            seen(state, action, observation)
            return (state, time + 1), None

        start = numpyro.sample("start", dist.Categorical(jnp.asarray(START)))
        scan(step, (start, 0), (actions, observations), length=len(actions))

    with pytest.raises(NotExactlySolvable, match="depends on the time, or on what was seen or done before"):
        read_decision(model, {}, actions=range(2))


def test_actions_that_nobody_lists_are_asked_for() -> None:
    with pytest.raises(DataError, match=r"which values does 'actions' take\? Give actions=range\(2\)"):
        read_decision(program(earns_before_it_moves), {})
    with pytest.raises(DataError, match=r"the actions have shape \(0,\)"):
        read_decision(program(earns_before_it_moves), {}, actions=[])
