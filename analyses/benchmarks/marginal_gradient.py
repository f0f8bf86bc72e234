"""Benchmark of `marginalize`: the gradient of the log density, against that of the same likelihood written by hand.

Reading a program happens while JAX traces, and should cost nothing at run time. Both gradients are compiled, and compared pair by
pair in one run (same recursion, same prior, by hand on arrays). The time to trace and compile the marginalised program is measured,
too. The ratio is the result; absolute times are those of a shared machine.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.contrib.control_flow import scan
from numpyro.infer.util import log_density
from rich.console import Console
from rich.table import Table

from ppl_worldmodel import marginalize
from ppl_worldmodel.exact import FiniteState, LinearGaussian, Structure, finite, gaussian

STEPS = 500


def hidden_markov(num_states: int) -> tuple[Callable, Callable, dict[str, Array], dict[str, Array]]:
    """A program with `num_states` states and Gaussian emissions, the same by hand, parameters and data."""
    prior_T = dist.Dirichlet(jnp.ones((num_states, num_states))).to_event(1)
    prior_mean = dist.Normal(jnp.arange(num_states) * 1.0, 1.0).to_event(1)
    uniform = jnp.full(num_states, 1.0 / num_states)

    def program(observations: Array) -> None:
        T, mean = numpyro.sample("T", prior_T), numpyro.sample("mean", prior_mean)

        def step(state: Array, y: Array) -> tuple[Array, None]:
            state = numpyro.sample("state", dist.Categorical(T[state]))
            numpyro.sample("y", dist.Normal(mean[state], 1.0), obs=y)
            return state, None

        scan(step, numpyro.sample("start", dist.Categorical(uniform)), observations)

    def by_hand(parameters: dict[str, Array], observations: Array) -> Array:
        T, mean = parameters["T"], parameters["mean"]
        log_likelihood = dist.Normal(mean, 1.0).log_prob(observations[:, None])
        prior = prior_T.log_prob(T) + prior_mean.log_prob(mean)
        return prior + finite.evidence(FiniteState(uniform, T, log_likelihood)).sum()

    random = np.random.default_rng(0)
    values = {
        "T": jnp.array(random.dirichlet(np.full(num_states, 2.0), num_states)),
        "mean": jnp.arange(num_states) * 1.1,
    }
    return program, by_hand, values, {"observations": jnp.array(random.normal(size=STEPS) * num_states)}


def state_space() -> tuple[Callable, Callable, dict[str, Array], dict[str, Array]]:
    """A linear-Gaussian program with n = 4 and m = 2, the same by hand, parameters and data."""
    A = jnp.array([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.9, 0.1], [0.0, 0.0, -0.1, 0.9]])
    C, eye = jnp.eye(2, 4), jnp.eye
    prior = dist.LogNormal(0.0, 1.0)

    def program(observations: Array) -> None:
        q, r = numpyro.sample("q", prior), numpyro.sample("r", prior)

        def step(state: Array, y: Array) -> tuple[Array, None]:
            state = numpyro.sample("state", dist.MultivariateNormal(A @ state, q**2 * eye(4)))
            numpyro.sample("y", dist.MultivariateNormal(C @ state, r**2 * eye(2)), obs=y)
            return state, None

        scan(step, numpyro.sample("start", dist.MultivariateNormal(jnp.zeros(4), eye(4))), observations)

    def by_hand(parameters: dict[str, Array], observations: Array) -> Array:
        q, r = parameters["q"], parameters["r"]
        system = LinearGaussian(
            jnp.zeros(4), eye(4), A, jnp.zeros(4), q**2 * eye(4), C, jnp.zeros(2), r**2 * eye(2), observations, Structure()
        )  # fmt: skip
        return prior.log_prob(q) + prior.log_prob(r) + gaussian.evidence(system).sum()

    values = {"q": jnp.array(0.7), "r": jnp.array(1.3)}
    return (
        program,
        by_hand,
        values,
        {"observations": jnp.array(np.random.default_rng(1).normal(size=(STEPS, 2)).cumsum(axis=0))},
    )


def seconds(function: Callable, *arguments: Any, repeats: int) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        jax.block_until_ready(function(*arguments))
    return (time.perf_counter() - started) / repeats


def main(*, rounds: int = 15, repeats: int = 20) -> dict[str, float]:
    """Measure all three systems; returns {system: median ratio}."""
    table = Table(
        "system",
        "marginalized, ms",
        "by hand, ms",
        "ratio (median of pairs)",
        "range",
        "trace + compile, s",
        title=f"T = {STEPS}",
    )
    ratios = {}
    for name, (program, by_hand, values, data) in {
        "finite, K = 2": hidden_markov(2),
        "finite, K = 8": hidden_markov(8),
        "Gaussian, n = 4, m = 2": state_space(),
    }.items():
        marginal = marginalize(program)
        started = time.perf_counter()
        read_off = jax.jit(
            jax.grad(lambda values, marginal=marginal, data=data: log_density(marginal, (), data, values)[0])
        )
        read_off.lower(values).compile()
        compiling = time.perf_counter() - started
        written = jax.jit(jax.grad(lambda values, by_hand=by_hand, data=data: by_hand(values, **data)))
        for site, gradient in read_off(values).items():
            np.testing.assert_allclose(gradient, written(values)[site], rtol=1e-8)
        pairs = [
            (seconds(read_off, values, repeats=repeats), seconds(written, values, repeats=repeats))
            for _ in range(rounds)
        ]
        each = np.array([a / b for a, b in pairs])
        ratios[name] = float(np.median(each))
        ours, theirs = np.median(pairs, axis=0) * 1e3
        table.add_row(
            name,
            f"{ours:.2f}",
            f"{theirs:.2f}",
            f"{ratios[name]:.3f}",
            f"{each.min():.2f} to {each.max():.2f}",
            f"{compiling:.2f}",
        )
    Console(width=130).print(table)
    return ratios


if __name__ == "__main__":
    main()
