"""Is the rate the Kullback-Leibler rate, and does it take as many steps as it says?"""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan

from ppl_worldmodel.comparisons.sample_size import StepsToTell, steps_to_tell, told
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.models import nile, two_state_pomdp

KEY = jax.random.key(0)
FREE = np.full((2, 2), 0.5)  # a chain without memory: what it emits is independent from step to step
P, Q = np.array([0.7, 0.3]), np.array([0.5, 0.5])


def of_two_states(T: Any, O: Any, T_b: Any, O_b: Any, **settings: Any) -> StepsToTell:
    a, b = ({"T": np.array(T), "O": np.array(O)} for T, O in ((T, O), (T_b, O_b)))
    return steps_to_tell(two_state_pomdp.model, a, two_state_pomdp.model, b, KEY, **settings)


@cache
def independent() -> StepsToTell:
    return of_two_states(FREE, [P, P], FREE, [Q, Q])


def test_independent_draws_have_the_rate_of_their_distributions() -> None:
    p, q, found = P, Q, independent()
    ratio = np.log(p / q)
    rate = p @ ratio
    sd = np.sqrt(p @ ratio**2 - rate**2)
    assert abs(found.nats - rate) < 4.0 * found.error
    np.testing.assert_allclose(found.spread, sd, rtol=0.15)
    np.testing.assert_allclose(found.error, found.spread / np.sqrt(5000), rtol=1e-12)
    assert found.steps == np.ceil(max(np.log(20.0) / found.nats, (2.0 * found.spread / found.nats) ** 2))
    assert found.simulated == 5000
    assert found.tells


def test_so_many_steps_do_tell() -> None:
    """Of many series of that length the ratio is above zero in nearly all, as two standard deviations promise; of a tenth not."""
    p, q, steps = P, Q, int(independent().steps)
    zeros = np.random.default_rng(0).binomial(steps, p[0], 4000)
    ratio = zeros * np.log(p[0] / q[0]) + (steps - zeros) * np.log(p[1] / q[1])
    assert ratio.mean() > 0.9 * np.log(20.0)
    assert 0.96 < (ratio > 0).mean() <= 1.0
    few = steps // 10
    zeros = np.random.default_rng(0).binomial(few, p[0], 4000)
    assert ((zeros * np.log(p[0] / q[0]) + (few - zeros) * np.log(p[1] / q[1])) > 0).mean() < 0.85


def test_a_model_is_never_told_from_its_mirror_image() -> None:
    T, O = two_state_pomdp.truth["T"], two_state_pomdp.truth["O"]
    found = of_two_states(T, O, T[::-1, ::-1], O[::-1], num_steps=200)
    assert found.steps == np.inf
    assert abs(found.nats) < 1e-9


def test_one_impossible_observation_is_enough() -> None:
    found = of_two_states(FREE, [[0.9, 0.1], [0.9, 0.1]], FREE, [[1.0, 0.0], [1.0, 0.0]], num_steps=300)
    assert found.nats == np.inf
    assert 1 <= found.steps <= 80


def test_the_long_run_spread_counts_dependence() -> None:
    """A ratio that stays the same for ten steps has sqrt(10) times the spread."""
    rng = np.random.default_rng(0)
    once = 0.2 + rng.normal(size=5000)
    assert abs(told(once).spread - 1.0) < 0.1
    held = told(np.repeat(once[:500], 10))
    assert 0.7 < held.spread / np.sqrt(10.0) < 1.3
    assert held.steps > 5 * told(once).steps
    against = told(-once)
    assert against.steps == np.inf
    assert not against.tells


def noisy(observations: Any = None, num_steps: int = 50, noise: float = 100.0) -> None:
    """Independent normal values around 1000, as a state that forgets at once."""

    def step(x: Any, y: Any) -> Any:
        x = numpyro.sample("x", dist.Normal(1000.0 + 0.0 * x, noise))
        numpyro.sample("volume", dist.Normal(x, 1.0), obs=y)
        return x, None

    scan(step, jnp.zeros(()), observations, length=num_steps if observations is None else len(observations))


@pytest.mark.slow
def test_models_that_name_their_arguments_alike_need_no_more() -> None:
    river = {"level_scale": 38.0, "observation_scale": 123.0}
    found = steps_to_tell(nile.model, river, noisy, {}, KEY, num_steps=200, arguments_b={"noise": 90.0})
    assert found.nats > 0.2
    assert found.simulated == 200

    def unrelated(temperature: Any = None, num_steps: int = 5) -> None:
        def step(x: Any, y: Any) -> Any:
            x = numpyro.sample("x", dist.Normal(x, 1.0))
            numpyro.sample("heat", dist.Normal(x, 1.0), obs=y)
            return x, None

        scan(step, jnp.zeros(()), temperature, length=num_steps if temperature is None else len(temperature))

    with pytest.raises(DataError, match="no simulated site stands for"):
        steps_to_tell(nile.model, river, unrelated, {}, KEY, num_steps=50)


@pytest.mark.slow
def test_many_short_series_tell_the_same_rate_of_independent_draws() -> None:
    found = of_two_states(FREE, [P, P], FREE, [Q, Q], num_steps=50, num_series=60)
    rate = P @ np.log(P / Q)
    assert found.simulated == 3000
    assert abs(found.nats - rate) < 4.0 * found.error < 0.5 * rate


def drifting(observations: Any = None, num_steps: int = 50) -> None:
    """A level that starts at 1000 and wanders."""

    def step(x: Any, y: Any) -> Any:
        x = numpyro.sample("x", dist.Normal(x, 10.0))
        numpyro.sample("volume", dist.Normal(x, 1.0), obs=y)
        return x, None

    scan(step, jnp.array(1000.0), observations, length=num_steps if observations is None else len(observations))


@pytest.mark.slow
def test_a_drifting_level_is_judged_in_series_as_long_as_the_data() -> None:
    """Beside a model that knows no drift a longer series is predicted ever worse: the rate is that of its length."""
    found = steps_to_tell(drifting, {}, noisy, {}, KEY, num_steps=100, num_series=20)
    assert found.simulated == 2000
    ahead = 0.5 * (
        100.0 + np.sqrt(100.0**2 + 4 * 100.0)
    )  # steady variance of the predicted level, observed with variance one
    away = 100.0 * np.arange(1, 101).mean() + 1.0  # mean square of an observation around 1000
    expected = 0.5 * np.log((100.0**2 + 1.0) / (ahead + 1.0)) + 0.5 * (away / (100.0**2 + 1.0) - 1.0)
    assert abs(found.nats - expected) < 4.0 * found.error < 0.5
