"""Does path enumeration equal arithmetic done by hand, and does it refuse what it cannot do?"""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from numpyro.infer.util import log_density

from . import paths

numpyro.enable_x64()
T2, O2 = np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([[0.8, 0.2], [0.3, 0.7]])


def assert_close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def chain(
    observations: Any, T: Any = T2, shape: Any = (2, 2), emission_first: bool = False, memory: float = 0.0
) -> None:
    """A finite-state program with a learned O; `memory` mixes the previous observation into the next one."""
    T, emission = jnp.asarray(T), numpyro.sample("O", dist.Dirichlet(jnp.ones(shape)).to_event(1))

    def step(carry: Any, y: Any) -> Any:
        old, last = carry
        new = numpyro.sample("state", dist.Categorical(T[old]))
        shown = (1 - memory) * emission[old if emission_first else new] + memory * jnp.eye(shape[1])[last]
        numpyro.sample("observation", dist.Categorical(shown), obs=y)
        return (new, y), None

    initial = numpyro.sample("initial_state", dist.Categorical(jnp.full(len(T), 1 / len(T))))
    scan(step, (initial, 0), jnp.asarray(observations))


def enumerate_chain(
    y: Any,
    T: Any = T2,
    emission: Any = O2,
    *,
    emission_first: bool = False,
    memory: float = 0.0,
    **changes: Any,
) -> paths.PathPosterior:
    def model(observations: Any) -> None:
        chain(observations, T, emission.shape, emission_first, memory)

    y = np.asarray(y, dtype=float)
    arguments: dict[str, Any] = {
        "observed": {"observation": y},
        "state_site": "state",
        "initial_site": "initial_state",
        "num_states": len(T),
        "num_steps": len(y),
        "emission_first": emission_first,
        "integer_data": ["observations"],
    }
    return paths.enumerate_paths(model, {"observations": y}, {"O": emission}, **{**arguments, **changes})


def test_paths_equal_two_steps_by_hand() -> None:
    found = enumerate_chain([0.0, 1.0])
    # Uniform start, symmetric T: s_1 is uniform. Columns of O at the data: (0.8, 0.3), then (0.2, 0.7).
    one, other = 0.5 * 0.8, 0.5 * 0.3
    pair = np.array([[one * 0.9 * 0.2, one * 0.1 * 0.7], [other * 0.1 * 0.2, other * 0.9 * 0.7]])
    evidence = 0.072 + 0.028 + 0.003 + 0.0945
    assert_close(found.log_evidence, np.log(evidence))
    assert_close(found.log_predictive, np.log([0.55, evidence / 0.55]))
    assert_close(found.pairwise, [pair / evidence])
    assert_close(found.predicted, [[0.5, 0.5], [0.375 / 0.55, 0.175 / 0.55]])
    assert_close(found.filtered, [[0.4 / 0.55, 0.15 / 0.55], [0.075 / evidence, 0.1225 / evidence]])
    assert_close(found.smoothed, [pair.sum(1) / evidence, pair.sum(0) / evidence])
    assert_close(found.path_smoothed, found.smoothed)
    # p(s_0 = 0, y) = 0.9 p(s_1 = 0, y) + 0.1 p(s_1 = 1, y), as s_0 and s_1 are uniform beforehand.
    assert_close(found.smoothed_initial[0], (0.9 * 0.1 + 0.1 * 0.0975) / evidence)


def test_paths_emission_first_by_hand() -> None:
    found = enumerate_chain([0.0, 1.0], emission_first=True)
    evidence = 0.072 + 0.028 + 0.003 + 0.0945  # the same pair of states, now (s_0, s_1)
    assert_close(found.log_evidence, np.log(evidence))
    assert_close(found.smoothed[0], [0.1 / evidence, 0.0975 / evidence])
    assert_close(found.smoothed_initial, found.smoothed[0])
    assert_close(found.path_smoothed[0], found.smoothed[1])
    assert_close(found.path_smoothed[1], found.smoothed[1] @ T2)


def test_paths_missing_observation_is_the_sum_over_its_values() -> None:
    gap = enumerate_chain([0.0, np.nan, 1.0])
    whole = [enumerate_chain([0.0, y, 1.0]).log_evidence for y in (0.0, 1.0)]
    assert_close(np.exp(gap.log_evidence), np.exp(whole).sum())
    assert_close(gap.filtered[1], gap.predicted[1])
    assert gap.log_predictive[1] == pytest.approx(0.0, abs=1e-14)


def test_paths_three_states_eight_steps() -> None:
    rng = np.random.default_rng(0)
    T, emission = rng.dirichlet(np.ones(3), 3), rng.dirichlet(np.ones(4), 3)
    T[0] = [0.0, 0.4, 0.6]
    y = np.array([0, 3, 1, np.nan, 2, 2, 0, 1])
    found = enumerate_chain(y, T, emission)
    assert found.path.shape == (3**9, 9)
    assert found.pairwise[:, 0, 0].max() == 0
    assert_close(found.pairwise.sum(2), found.path_smoothed[:-1])
    assert_close(found.pairwise.sum(1), found.path_smoothed[1:])
    assert_close(found.filtered[-1], found.smoothed[-1])
    assert_close(found.log_predictive.sum(), found.log_evidence)


def test_path_weight_is_the_log_density_of_the_program() -> None:
    y = np.array([0.0, 1.0, 1.0])
    found = enumerate_chain(y)
    prior = float(dist.Dirichlet(jnp.ones(2)).log_prob(O2).sum())
    for row in (0, 5, 15):
        latent = {
            "O": jnp.asarray(O2),
            "initial_state": found.path[row, 0],
            "state": jnp.asarray(found.path[row, 1:]),
        }
        whole, _ = log_density(chain, (y.astype(int),), {}, latent)
        assert_close(found.log_joint[row] + prior, whole)


def test_paths_impossible_data() -> None:
    found = enumerate_chain([0.0, 1.0, 1.0], np.eye(2), np.eye(2))
    assert found.log_evidence == -np.inf
    np.testing.assert_array_equal(found.log_predictive[:2], [np.log(0.5), -np.inf])
    np.testing.assert_array_equal(found.filtered[0], [1, 0])
    assert np.isnan(found.smoothed).all()


def test_paths_refuse_what_they_cannot_do() -> None:
    remembers = enumerate_chain([0.0, 1.0, 1.0], memory=0.5)
    assert np.isfinite(remembers.log_evidence)
    with pytest.raises(ValueError, match="depends on a missing value"):
        enumerate_chain([0.0, np.nan, 1.0], memory=0.5)
    with pytest.raises(ValueError, match="`observed` lists"):
        enumerate_chain([0.0, 1.0], observed={"other": np.array([0.0, 1.0])})
    with pytest.raises(ValueError, match="do not cover"):
        enumerate_chain([0.0, 1.0], num_states=1)


def test_paths_without_an_initial_site() -> None:
    def model(observations: Any) -> None:
        def step(old: Any, y: Any) -> Any:
            new = numpyro.sample("state", dist.Categorical(jnp.asarray(T2)[old]))
            numpyro.sample("observation", dist.Normal(jnp.array([0.0, 1.0])[new], 1.0).expand([2]), obs=y)
            return new, None

        scan(step, 1, observations)

    y = np.array([[0.5, np.nan], [np.nan, np.nan]])
    found = paths.enumerate_paths(
        model,
        {"observations": y},
        {},
        observed={"observation": y},
        state_site="state",
        initial_site=None,
        initial_value=1,
        num_states=2,
        num_steps=2,
        emission_first=False,
    )
    # The state starts at 1; 0.5 lies in the middle of the two means, so it says nothing.
    assert_close(found.log_evidence, -(np.log(2 * np.pi) + 0.25) / 2)
    assert_close(found.filtered, [[0.1, 0.9], [0.18, 0.82]])
    assert_close(found.smoothed_initial, [0, 1])
