"""Uses of a missing observation, one by one: what is read, what is refused and how, and that engines agree."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.control_flow import scan
from numpyro.infer.util import log_density

from ppl_worldmodel import exact_engine, gibbs, marginalize, nuts, read, smc
from ppl_worldmodel.checks import beliefs as belief_check
from ppl_worldmodel.errors import DataError, NotExactlySolvable
from ppl_worldmodel.exact import gaussian
from ppl_worldmodel.program.missing.masking import NO_GAPS
from ppl_worldmodel.program.missing.unknowns import gaps_of

from ...agreement import assert_logs_close
from ...references.quadratic import solve_program

NAN = np.nan
Y = np.array([0.5, NAN, 1.2, 0.3, -0.4])
PAIRS = np.array([[0.5, 0.1], [NAN, -0.3], [1.2, NAN], [0.3, 0.8]])
T = jnp.array([[0.9, 0.1], [0.2, 0.8]])


def walk(step: Callable, start: Any = 0.0) -> Callable:
    return lambda y: scan(step, start, y)[1]


def regression(hand_on: Callable) -> Callable:
    """y depends on the last y as `hand_on(returned value, input, last)` gives it."""

    def model(y: Any) -> Any:
        def step(carry: Any, y: Any) -> Any:
            x, last = carry
            x = numpyro.sample("x", dist.Normal(0.8 * x, 0.6))
            seen = numpyro.sample("y", dist.Normal(x + 0.5 * last, 0.7), obs=y)
            return (x, hand_on(seen, y, last)), x

        return scan(step, (0.0, 0.2), y)[1]

    return model


@pytest.mark.parametrize("hand_on", [lambda seen, y, last: seen, lambda seen, y, last: 0.5 * y + last - 1.0])
def test_beliefs_with_an_unknown(hand_on: Callable) -> None:
    """Every belief is that of the dense normal of latent sites and missing values."""
    model = regression(hand_on)
    system = read(model, {"y": Y}).system
    assert "is missing at time step 1 (from 0), and the program goes on to use it" in repr(system)
    found, expected = gaussian.smooth(system), solve_program(model, {"y": Y}, {}, ["x"])
    assert_logs_close(found.log_predictive, expected.log_predictive, "log predictive")
    for kind in ("predicted", "filtered", "smoothed"):
        np.testing.assert_allclose(getattr(found, kind)[:, 0], getattr(expected, f"{kind}_mean")[:, 0], atol=1e-10)
        covariance = getattr(expected, f"{kind}_covariance")[:, 0, 0]
        np.testing.assert_allclose(getattr(found, f"{kind}_covariance")[:, 0, 0], covariance, atol=1e-10)


def test_without_gaps_nothing_is_added() -> None:
    model, full = regression(lambda seen, y, last: seen), np.nan_to_num(Y)
    assert gaps_of(model, {"y": full}) is NO_GAPS
    assert read(model, {"y": full}).system.structure.states == ("x",)


@pytest.mark.parametrize(
    "hand_on",
    [
        lambda seen, y, last: jnp.where(jnp.isnan(y), last, y),
        lambda seen, y, last: jnp.where(jnp.isnan(seen), last, seen),
    ],
)
def test_a_program_that_asks_for_gaps_is_handed_them(hand_on: Callable) -> None:
    """The last observation carried forward is what the program says: the same as a covariate that holds it."""
    carried = np.array([0.2, 0.5, 0.5, 1.2, 0.3])

    def with_covariate(y: Any, past: Any) -> None:
        def step(x: Any, inputs: Any) -> Any:
            y, past = inputs
            x = numpyro.sample("x", dist.Normal(0.8 * x, 0.6))
            numpyro.sample("y", dist.Normal(x + 0.5 * past, 0.7), obs=y)
            return x, None

        scan(step, 0.0, (y, past))

    found, expected = (
        gaussian.filter(system).log_evidence
        for system in (
            read(regression(hand_on), {"y": Y}).system,
            read(with_covariate, {"y": Y, "past": carried}).system,
        )
    )
    assert_logs_close(found, expected, "log evidence")


@pytest.mark.slow
def test_two_sites_of_one_input_that_is_carried() -> None:
    def model(y: Any) -> Any:
        def step(carry: Any, y: Any) -> Any:
            x, last = carry
            x = numpyro.sample("x", dist.Normal(0.8 * x, 0.6))
            numpyro.sample("a", dist.Normal(x + 0.5 * last[1], 0.7), obs=y[0])
            numpyro.sample("b", dist.Normal(x - 0.3 * last[0] + 0.2 * y[0], 0.5), obs=y[1])
            return (x, y), x

        return scan(step, (0.0, jnp.zeros(2)), y)[1]

    expected = solve_program(model, {"y": PAIRS}, {}, ["x"])
    assert_logs_close(
        gaussian.filter(read(model, {"y": PAIRS}).system).log_evidence, expected.log_evidence, "log evidence"
    )


def test_a_covariate_beside_the_observation_in_one_input() -> None:
    """Only the entry that is never missing is used."""
    y = np.stack([Y, np.arange(5.0)], axis=1)

    def step(x: Any, y: Any) -> Any:
        x = numpyro.sample("x", dist.Normal(x + y[1], 1.0))
        numpyro.sample("y", dist.Normal(x, 1.0), obs=y[0])
        return x, None

    assert gaps_of(walk(step), {"y": y}) == NO_GAPS
    read(walk(step), {"y": y})


def difference(carry: Any, y: Any) -> Any:
    x, last = carry
    x = numpyro.sample("x", dist.Normal(x, 1.0))
    numpyro.sample("y", dist.Normal(x, 1.0), obs=y - last)
    return (x, y), None


def seen_twice(x: Any, y: Any) -> Any:
    x = numpyro.sample("x", dist.Normal(x, 1.0))
    numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
    numpyro.sample("again", dist.Normal(x, 2.0), obs=y)
    return x, None


def looked_at_before(x: Any, y: Any) -> Any:
    x = numpyro.sample("x", dist.Normal(x + 0.1 * y, 1.0))
    numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
    return x, None


def scaled(carry: Any, y: Any) -> Any:
    x, last = carry
    x = numpyro.sample("x", dist.Normal(x + last, 1.0))
    with handlers.scale(scale=0.5):
        y = numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
    return (x, y), None


def logarithm(carry: Any, y: Any) -> Any:
    x, last = carry
    x = numpyro.sample("x", dist.Normal(x + last, 1.0))
    numpyro.sample("y", dist.Normal(x, 1.0), obs=jnp.log(y))
    return (x, y), None


def switching(carry: Any, y: Any) -> Any:
    z, last = carry
    z = numpyro.sample("z", dist.Categorical(T[z]))
    y = numpyro.sample("y", dist.Normal(1.0 * z + 0.5 * last, 0.5), obs=y)
    return (z, y), None


REFUSED = {
    "a difference": (
        difference,
        (0.0, 0.0),
        "'y' is missing at time step 1 .* use the value that numpyro.sample returns",
    ),
    "one value seen twice": (
        seen_twice,
        0.0,
        "'y', 'again' observe one and the same value, which is missing at time step 1",
    ),
    "before it is seen": (
        looked_at_before,
        0.0,
        "'y' is missing at time step 1 .* site 'x' looks at it before it is observed",
    ),
    "a scaled density": (scaled, (0.0, 0.0), "'y' is missing at time step 1 .* its density is scaled"),
    "another function of it": (logarithm, (0.0, 0.0), "use the value that numpyro.sample returns"),
    "beside a chain": (
        switching,
        (0, 0.0),
        r"'y' is missing at time step 1 .*continuous \(Normal\), beside the discrete state 'z'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_site_and_the_step(name: str) -> None:
    step, start, message = REFUSED[name]
    with pytest.raises(NotExactlySolvable, match=message):
        read(walk(step, start), {"y": Y})
    if step is not scaled:
        read(walk(step, start), {"y": np.abs(np.nan_to_num(Y)) + 0.1})


def test_a_shifted_copy_made_outside_is_refused() -> None:
    def model(y: Any) -> None:
        def step(x: Any, inputs: Any) -> Any:
            y, past = inputs
            x = numpyro.sample("x", dist.Normal(0.8 * x, 1.0))
            numpyro.sample("y", dist.Normal(x + (past > 0), 1.0), obs=y)
            return x, None

        scan(step, 0.0, (y[1:], y[:-1]))

    with pytest.raises(NotExactlySolvable, match=r"NaN at time step 1 .*Write the past of a series as a carry"):
        read(model, {"y": Y})
    read(model, {"y": np.array([0.5, 0.1, 1.2, 0.3, NAN])})


def choices(y: Any) -> None:
    """A chain that is pushed by the last choice; what is chosen depends on the chain and on the last choice."""

    def step(carry: Any, y: Any) -> Any:
        z, last = carry
        z = numpyro.sample("z", dist.Categorical(jnp.stack([T, T[::-1]])[last, z]))
        y = numpyro.sample("y", dist.Bernoulli(jnp.array([[0.2, 0.6], [0.7, 0.9]])[z, last]), obs=y)
        return (z, y), None

    scan(step, (0, 0), y)


CHOSEN = np.array([1.0, NAN, NAN, 0.0, 1.0, NAN, 1.0])


@pytest.mark.parametrize("value", [1.7, 0.5])
def test_a_choice_that_is_no_whole_number(value: float) -> None:
    y = CHOSEN.copy()
    y[3] = value
    with pytest.raises(DataError, match=rf"'y' at time step 3 \(from 0\) is {value}: expected a whole number"):
        read(choices, {"y": y})


@pytest.mark.slow
def test_gradients_go_through_an_unknown() -> None:
    def model(y: Any) -> None:
        a = numpyro.sample("a", dist.Normal(0.0, 1.0))

        def step(carry: Any, y: Any) -> Any:
            x, last = carry
            x = numpyro.sample("x", dist.Normal(0.8 * x, 0.6))
            y = numpyro.sample("y", dist.Normal(x + a * last, 0.7), obs=y)
            return (x, y), None

        scan(step, (0.0, 0.2), y)

    marginal = marginalize(model)
    marginal_density = jax.jit(jax.value_and_grad(lambda a: log_density(marginal, (), {"y": Y}, {"a": a})[0]))
    (low, _), (_, slope), (high, _) = (marginal_density(a) for a in (0.4 - 1e-5, 0.4, 0.4 + 1e-5))
    np.testing.assert_allclose(slope, (high - low) / 2e-5, rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "y", "engine"),
    [
        (choices, CHOSEN, gibbs(num_samples=2000)),
        (choices, CHOSEN, smc(num_particles=1000)),
        (regression(lambda seen, y, last: seen), Y, nuts(num_chains=2)),
        (regression(lambda seen, y, last: seen), Y, smc(num_particles=1000)),
        (regression(lambda seen, y, last: y), Y, smc(num_particles=1000)),
    ],
    ids=["gibbs", "smc of a chain", "nuts", "smc", "smc of an input"],
)
def test_other_engines_agree(model: Callable, y: np.ndarray, engine: Callable) -> None:
    key = jax.random.key(3)
    reading = read(model, {"y": y}, {})
    findings = belief_check.findings(engine(reading, key), exact_engine()(reading, key))
    assert findings
    assert all(finding.verdict != "disagrees" for finding in findings)
