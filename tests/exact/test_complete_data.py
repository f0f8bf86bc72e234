"""Is the joint density of a path the program's own, and are drawn paths from the posterior?"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from numpyro.infer.util import log_density

from ppl_worldmodel import read
from ppl_worldmodel.exact import finite, gaussian
from ppl_worldmodel.exact.complete_data import Path, log_joint, sample_path

from ..agreement import assert_logs_close

T, O = jnp.array([[0.7, 0.2, 0.1], [0.0, 0.6, 0.4], [0.5, 0.0, 0.5]]), jnp.array([0.0, 1.0, 3.0])
A, Q = jnp.array([[0.9, 0.2], [0.0, 0.7]]), jnp.array([[0.5, 0.1], [0.1, 0.3]])
Y = np.array([0.2, np.nan, 2.1, -0.4, 1.0])
DRAWS = 20_000


def program(family: str, order: str) -> Any:
    """A chain of three states, or two Gaussian dimensions; emission first, transition first, or from both states."""
    finite_state = family == "finite"

    def move(x: Any) -> Any:
        return dist.Categorical(T[x]) if finite_state else dist.MultivariateNormal(A @ x, Q)

    def emission(x: Any, new: Any) -> Any:
        before = 0.5 * (x if finite_state else x[0]) if order == "both" else 0.0
        at = x if order == "emission first" else new
        return dist.Normal((O[at] if finite_state else at[0] - at[1]) + before, 0.8)

    def model(y: Any) -> None:
        def step(x: Any, inputs: Any) -> Any:
            y, seen = inputs
            new = x
            if order != "emission first":
                new = numpyro.sample("x", move(x))
            with numpyro.handlers.mask(mask=seen):
                numpyro.sample("y", emission(x, new), obs=jnp.where(seen, y, 0.0))
            return (numpyro.sample("x", move(x)) if order == "emission first" else new), None

        start = dist.Categorical(jnp.ones(3) / 3) if finite_state else dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2))
        scan(step, numpyro.sample("x0", start), (jnp.nan_to_num(y), ~jnp.isnan(y)))

    return model


CASES = [("finite", order) for order in ("transition first", "emission first", "both")]
CASES += [("gaussian", order) for order in ("transition first", "emission first")]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "order"), CASES)
def test_the_density_is_the_programs(family: str, order: str) -> None:
    model = program(family, order)
    system = read(model, {"y": Y}).system
    path = sample_path(system, jax.random.key(3))
    values = {"x0": path.start, "x": path.states}
    expected = 0.0
    if order == "emission first":  # the program also draws the state after the last observation
        last = T[path.states[-1]].argmax() if family == "finite" else A @ path.states[-1] + 0.1
        values = {"x0": path.states[0], "x": jnp.concatenate([path.states[1:], last[None]])}
        move = (
            dist.Categorical(T[path.states[-1]])
            if family == "finite"
            else dist.MultivariateNormal(A @ path.states[-1], Q)
        )
        expected = move.log_prob(last)
    assert_logs_close(log_joint(system, path) + expected, log_density(model, (), {"y": Y}, values)[0], "log joint")


@pytest.mark.slow
@pytest.mark.parametrize(("family", "order"), CASES)
def test_paths_are_drawn_from_the_posterior(family: str, order: str) -> None:
    """The states, against the exact smoother; of the start see the next test."""
    system = read(program(family, order), {"y": Y}).system
    paths = jax.vmap(lambda key: sample_path(system, key))(jax.random.split(jax.random.key(0), DRAWS))
    verbs: Any = finite if family == "finite" else gaussian
    smoothed = verbs.smooth(system).smoothed
    if family == "finite":
        shares = np.stack([(np.asarray(paths.states) == k).mean(axis=0) for k in range(3)], axis=-1)
        error = np.sqrt(np.asarray(smoothed * (1 - smoothed)) / DRAWS) + 1e-12
        assert np.all(np.abs(shares - smoothed) < 5 * error)
        return
    mean, error = np.asarray(paths.states).mean(axis=0), np.asarray(paths.states).std(axis=0) / np.sqrt(DRAWS)
    assert np.all(np.abs(mean - smoothed) < 5 * error)


@pytest.mark.parametrize("order", ["transition first", "both"])
def test_the_start_given_the_data(order: str) -> None:
    """p(s_0 | y) from the pairs (s_0, s_1): sum over s_1 of p(s_0 | s_1, y_1) p(s_1 | y)."""
    system = read(program("finite", order), {"y": Y}).system
    paths = jax.vmap(lambda key: sample_path(system, key))(jax.random.split(jax.random.key(1), DRAWS))
    likelihood = system.log_likelihood[0] if order == "both" else jnp.zeros((3, 3))
    joint = system.initial[:, None] * system.transition * jnp.exp(likelihood)
    expected = (joint / joint.sum(axis=0)) @ finite.smooth(system).smoothed[0]
    found = np.array([(np.asarray(paths.start) == k).mean() for k in range(3)])
    assert np.all(np.abs(found - expected) < 5 * np.sqrt(np.asarray(expected * (1 - expected)) / DRAWS))


@pytest.mark.slow
def test_several_series_add_up() -> None:
    def model(y: Any) -> None:
        def step(s: Any, y: Any) -> Any:
            with numpyro.plate("series", 2):
                s = numpyro.sample("s", dist.Categorical(T[s]))
                numpyro.sample("y", dist.Normal(O[s], 0.8), obs=y)
            return s, None

        with numpyro.plate("start", 2):
            s0 = numpyro.sample("s0", dist.Categorical(jnp.ones(3) / 3))
        scan(step, s0, y)

    y = np.stack([np.nan_to_num(Y), 1.0 - np.nan_to_num(Y)], axis=1)
    system = read(model, {"y": y}).system
    path = sample_path(system, jax.random.key(0))
    expected = log_density(model, (), {"y": y}, {"s0": path.start, "s": path.states.T})[0]
    assert_logs_close(log_joint(system, path), expected, "log joint of two series")
    other = Path(path.start, path.states.at[0, 0].set((path.states[0, 0] + 1) % 3))
    assert abs(log_joint(system, other) - expected) > 1e-3
