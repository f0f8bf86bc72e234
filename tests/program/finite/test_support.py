"""Supports that depend on the state, against sums over all paths with SciPy's probabilities."""

from collections.abc import Callable
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from numpyro.infer.util import log_density
from scipy import stats
from scipy.optimize import approx_fprime

from ppl_worldmodel import gibbs, marginalize, read
from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.exact import finite
from ppl_worldmodel.program.finite import binomial

State = Any
Law = dict[State, float]


def evidence(
    start: Law, move: Callable[[State, int], Law], seen: Callable[[State, State, int], float], steps: int
) -> float:
    """log p(y_1:T): `move` are the next states and their probabilities, `seen` the likelihood of an old and a new state."""
    weights = dict(start)
    for t in range(steps):
        after: Law = {}
        for old, weight in weights.items():
            for new, chance in move(old, t).items():
                after[new] = after.get(new, 0.0) + weight * chance * seen(old, new, t)
        weights = after
    return float(np.log(sum(weights.values()))) if sum(weights.values()) > 0 else -np.inf


def binomial_law(n: int, p: float) -> Law:
    return {k: float(stats.binom.pmf(k, n, p)) for k in range(n + 1)}


def read_evidence(model: Callable, data: dict[str, Any], parameters: dict[str, Any]) -> float:
    return float(finite.filter(read(model, data, parameters).system).log_evidence)


def epidemic(cases):
    """Susceptible, exposed, infected: each count bounds the next move; two sites, one of which is observed in part."""
    beta = numpyro.sample("beta", dist.LogNormal(-1, 1))

    def step(carry, seen):
        s, e, i = carry
        exposed = numpyro.sample("exposed", dist.Binomial(s, 1 - jnp.exp(-beta * i / 6)))
        falls_ill = numpyro.sample("falls_ill", dist.Binomial(e, 0.6))
        recovers = numpyro.sample("recovers", dist.Binomial(i, 0.3))
        numpyro.sample("cases", dist.Binomial(falls_ill, 0.7), obs=seen)
        return (s - exposed, e + exposed - falls_ill, i + falls_ill - recovers), None

    scan(step, (3, 1, 1), cases)


def epidemic_by_hand(cases: list[float], beta: float) -> float:
    def move(state: State, t: int) -> Law:
        s, e, i, _ = state
        after: Law = {}
        laws = binomial_law(s, 1 - np.exp(-beta * i / 6)), binomial_law(e, 0.6), binomial_law(i, 0.3)
        for (a, p), (b, q), (c, r) in product(*(law.items() for law in laws)):
            new = (s - a, e + a - b, i + b - c, b)
            after[new] = after.get(new, 0.0) + p * q * r
        return after

    def seen(_: State, new: State, t: int) -> float:
        return 1.0 if np.isnan(cases[t]) else float(stats.binom.pmf(cases[t], new[3], 0.7))

    return evidence({(3, 1, 1, 0): 1.0}, move, seen, len(cases))


@pytest.mark.parametrize("cases", [[1, 0, 2], pytest.param([1.0, np.nan, 1.0], marks=pytest.mark.slow)])
def test_an_epidemic(cases: list[float]) -> None:
    data, parameters = {"cases": np.array(cases)}, {"beta": 0.8}
    np.testing.assert_allclose(read_evidence(epidemic, data, parameters), epidemic_by_hand(cases, 0.8), rtol=1e-10)


def test_states_are_those_that_can_be_reached() -> None:
    """Of at most two people at risk and one who is ill, and not 3 * 4 combinations."""

    def outbreak(cases):
        def step(carry, seen):
            s, i = carry
            new = numpyro.sample("new", dist.Binomial(s, 0.2 * i))
            numpyro.sample("cases", dist.Poisson(0.1 + new), obs=seen)
            return (s - new, i + new), None

        scan(step, (2, 1), cases)

    system = read(outbreak, {"cases": np.array([1, 0])}).system
    assert system.structure.labels == ((0, 3), (1, 2), (2, 1))
    np.testing.assert_allclose(system.transition.sum(axis=-1), 1.0, rtol=1e-12)


@pytest.mark.slow
def test_the_gradient_in_a_parameter() -> None:
    """Also where a probability is exactly zero: the state 0 stays 0."""

    def dying(counts):
        p = numpyro.sample("p", dist.Beta(2, 2))

        def step(alive, count):
            alive = numpyro.sample("alive", dist.Binomial(alive, p * (alive > 0)))
            numpyro.sample("count", dist.Binomial(alive, 0.5), obs=count)
            return alive, None

        scan(step, 3, counts)

    def by_hand(p: float) -> float:
        return evidence(
            {3: 1.0},
            lambda n, t: binomial_law(n, p * (n > 0)),
            lambda _, n, t: float(stats.binom.pmf(1 - t, n, 0.5)),
            2,
        )

    def log_p(p: Any) -> Any:
        density, trace = log_density(marginalize(dying), (), {"counts": jnp.array([1, 0])}, {"p": p})
        return density - trace["p"]["fn"].log_prob(p)

    slope = approx_fprime(np.array([0.8]), lambda at: by_hand(float(at[0])), 1e-7)
    np.testing.assert_allclose(jax.grad(log_p)(0.8), slope[0], rtol=1e-5)


def population(counts, births):
    """Survivors of what is alive, and recruits whose number has a bound that an input brings."""
    start = numpyro.sample("start", dist.DiscreteUniform(1, 3))

    def step(alive, seen):
        count, most = seen
        survivors = numpyro.sample("survivors", dist.Binomial(alive, 0.7))
        recruits = numpyro.sample("recruits", dist.BetaBinomial(2.0, 3.0, most))
        alive = survivors + recruits
        numpyro.sample("count", dist.Binomial(alive, 0.4), obs=count)
        return alive, None

    scan(step, start, (counts, births))


def test_survival_and_recruitment() -> None:
    counts, births = [1, 3, 0], [0, 2, 1]

    def move(alive: State, t: int) -> Law:
        after: Law = {}
        for survivors, p in binomial_law(alive, 0.7).items():
            for recruits in range(births[t] + 1):
                q = float(stats.betabinom.pmf(recruits, births[t], 2.0, 3.0))
                after[survivors + recruits] = after.get(survivors + recruits, 0.0) + p * q
        return after

    right = evidence(
        dict.fromkeys((1, 2, 3), 1 / 3), move, lambda _, n, t: float(stats.binom.pmf(counts[t], n, 0.4)), 3
    )
    data = {"counts": np.array(counts), "births": np.array(births)}
    np.testing.assert_allclose(read_evidence(population, data, {}), right, rtol=1e-10)


def farms(cases, sizes):
    """Herds of different sizes, in a plate: each has its own bound; the first state is two linked sites."""
    with numpyro.plate("farm", len(sizes)):
        ill = numpyro.sample("ill", dist.Binomial(sizes, 0.5))
        immune = numpyro.sample("immune", dist.Binomial(sizes - ill, 0.2))

    def step(carry, seen):
        ill, healthy = carry
        with numpyro.plate("farm", len(sizes)):
            new = numpyro.sample("new", dist.Binomial(healthy, 0.1 * (1 + ill)))
            numpyro.sample("cases", dist.Poisson(0.1 + new), obs=seen)
        return (ill + new, healthy - new), None

    scan(step, (ill, sizes - ill - immune), cases)


def test_a_plate_of_herds_of_different_sizes() -> None:
    sizes, cases = np.array([1, 3]), np.array([[0, 2], [1, 0], [0, 1]])

    def herd(size: int, series: np.ndarray) -> float:
        start: Law = {}
        for ill, p in binomial_law(size, 0.5).items():
            for immune, q in binomial_law(size - ill, 0.2).items():
                state = ill, size - ill - immune, 0
                start[state] = start.get(state, 0.0) + p * q

        def move(state: State, t: int) -> Law:
            ill, healthy, _ = state
            return {(ill + k, healthy - k, k): p for k, p in binomial_law(healthy, 0.1 * (1 + ill)).items()}

        return evidence(start, move, lambda _, new, t: float(stats.poisson.pmf(series[t], 0.1 + new[2])), len(series))

    system = read(farms, {"cases": cases, "sizes": sizes}).system
    assert system.structure.sequences == 2
    np.testing.assert_allclose(
        finite.filter(system).log_evidence, [herd(size, cases[:, n]) for n, size in enumerate(sizes)], rtol=1e-10
    )


def rising(marks):
    """A uniform jump between a moving floor and a fixed ceiling, seen through a uniform density whose end is the state."""

    def step(level, mark):
        level = numpyro.sample("level", dist.DiscreteUniform(level, 4))
        numpyro.sample("mark", dist.Uniform(0.0, 1.0 + level), obs=mark)
        return level, None

    scan(step, 1, marks)


@pytest.mark.parametrize("marks", [[0.5, 2.5, 1.0], [4.5, 4.9, 0.1]])
def test_both_ends_of_a_support_and_a_density_that_ends_in_the_state(marks: list[float]) -> None:
    right = evidence(
        {1: 1.0}, lambda k, t: dict.fromkeys(range(k, 5), 1 / (5 - k)), lambda _, k, t: (marks[t] <= 1 + k) / (1 + k), 3
    )
    np.testing.assert_allclose(read_evidence(rising, {"marks": np.array(marks)}, {}), right, rtol=1e-10)


@pytest.mark.slow
def test_gibbs_draws_agree() -> None:
    """The sampler of the program's own log density, which NumPyro does not end where the support ends."""
    data = {"marks": np.array([0.5, 2.5])}
    exact = finite.smooth(read(rising, data).system).smoothed
    draws = gibbs(num_samples=4000, num_chains=2)(read(rising, data, {}), jax.random.key(1))
    sampled, error = (draws["beliefs"][name].values for name in ("smoothed", "smoothed_mcse"))
    assert np.all(np.abs(sampled - exact) < 5 * np.nan_to_num(error) + 5 / 8000)


def births(counts):
    """A count without an end: it may double at every step."""

    def step(alive, count):
        new = numpyro.sample("new", dist.Binomial(alive, 0.5))
        alive = alive + new
        numpyro.sample("count", dist.Poisson(alive), obs=count)
        return alive, None

    scan(step, 1, counts)


@pytest.mark.slow
def test_a_count_without_an_end_is_listed_as_far_as_the_series_reaches() -> None:
    counts = [1, 2, 3]
    system = read(births, {"counts": np.array(counts)}).system
    right = evidence(
        {1: 1.0},
        lambda n, t: {n + k: p for k, p in binomial_law(n, 0.5).items()},
        lambda _, n, t: float(stats.poisson.pmf(counts[t], n)),
        3,
    )
    np.testing.assert_allclose(finite.filter(system).log_evidence, right, rtol=1e-10)
    assert len(system.initial) == 8
    assert "as far as this series reaches: 4 states" in repr(system)
    with pytest.raises(NotExactlySolvable, match="at most"):
        read(births, {"counts": np.ones(12, int)})


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_the_binomial_at_its_edges(p: float) -> None:
    values, total = np.array([-1, 0, 1, 2, 3, 4, 0.5]), 3
    right = np.where(values == np.floor(values), stats.binom.pmf(values, total, p), 0.0)
    np.testing.assert_allclose(binomial.probability(values, total, p), right, rtol=1e-12)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(binomial.log_prob(values, total, p), np.log(right), rtol=1e-12)
    slope = jax.jacfwd(lambda p: binomial.probability(values, total, p))(p)
    k = np.clip(np.floor(values), 0, total)
    choose = np.where(right > -1, [0, 1, 3, 3, 1, 0, 0], 0)

    def by_hand(k: float, c: int) -> float:
        rest = total - k
        return c * (
            (k * p ** (k - 1) * (1 - p) ** rest if k else 0.0) - (rest * p**k * (1 - p) ** (rest - 1) if rest else 0.0)
        )

    np.testing.assert_allclose(slope, [by_hand(*pair) for pair in zip(k, choose, strict=True)], atol=1e-12)
    assert np.isfinite(jax.jacfwd(lambda p: jnp.where(right > 0, binomial.log_prob(values, total, p), 0.0))(p)).all()


def test_small_probabilities_are_not_zero() -> None:
    np.testing.assert_allclose(
        binomial.probability(512, 1024, 0.1), np.exp(stats.binom.logpmf(512, 1024, 0.1)), rtol=1e-9
    )


def test_which_outcomes_are_possible_is_no_part_of_what_is_compiled() -> None:
    """XLA would search through a constant of steps x states x outcomes when it compiles: minutes for some hundred states."""
    reading = read(epidemic, {"cases": np.array([1, 0, 2])})
    parameters = {"beta": jnp.array(0.4)}
    text = str(jax.make_jaxpr(lambda parameters: reading.at(parameters)[:3])(parameters))
    assert "binomial" in text or "lgamma" in text  # what is computed for each outcome
    assert "argmax" not in text
