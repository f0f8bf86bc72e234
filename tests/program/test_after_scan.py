"""What follows the scan, against the program's own log density: summed over all paths, or integrated as the Gaussian that it is."""

import itertools
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
from scipy.special import logsumexp

from ppl_worldmodel import marginalize, read
from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.exact import finite, gaussian

from ..agreement import assert_logs_close

P = jnp.array([[0.9, 0.1], [0.2, 0.8]])
Y = np.array([0.3, 1.5, 2.2, -0.4, 0.1])
N = len(Y)


def chain(series: int = 0, y: Any = None) -> Any:
    """A finite state (of several series), handed out by its scan."""

    def step(z: Any, y: Any) -> Any:
        if series:
            with numpyro.plate("series", series):
                z = numpyro.sample("z", dist.Categorical(P[z]))
        else:
            z = numpyro.sample("z", dist.Categorical(P[z]))
        if y is not None:
            numpyro.sample("seen", dist.Normal(z, 0.9), obs=y)
        return z, {"state": z, "double": 2.0 * z}

    return scan(step, jnp.zeros(series, int) if series else 0, y, length=N)


def walk(y: Any = None) -> Any:
    def step(x: Any, y: Any) -> Any:
        old, x = x, numpyro.sample("x", dist.Normal(0.8 * x, 1.0))
        if y is not None:
            numpyro.sample("seen", dist.Normal(x, 0.9), obs=y)
        return x, (x, 3.0 * x - old)

    return scan(step, 0.5, y, length=N)


def one_statement(y: Any) -> None:
    s = numpyro.sample("s", dist.HalfNormal(1.0))
    numpyro.sample("y", dist.Normal(chain()[1]["double"], s), obs=y)


def parameter_behind(y: Any) -> None:
    z = chain()[1]["state"]
    s = numpyro.sample("s", dist.HalfNormal(1.0))
    numpyro.deterministic("where", 2.0 * z)
    numpyro.sample("y", dist.Normal(2.0 * z, s).to_event(1), obs=y)


def a_table(y: Any) -> None:
    O = jnp.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    z = chain()[1]["state"]
    with numpyro.plate("time", N):
        numpyro.sample("y", dist.Categorical(O[z]), obs=jnp.array([0, 2, 1, 1, 2]))


def some_steps(y: Any) -> None:
    """Twice at step one, once at step four; and a factor of the last state, and of every state but the first."""
    last, out = chain()
    numpyro.sample("y", dist.Normal(2.0 * out["state"][jnp.array([1, 1, 4])], 0.6), obs=y[:3])
    numpyro.factor("last", jnp.where(last == 1, -0.7, 0.2))
    numpyro.factor("later", 0.3 * out["state"][1:])


def several_series(y: Any) -> None:
    z = chain(series=2)[1]["state"]
    numpyro.sample("y", dist.Normal(2.0 * z, 0.6).to_event(2), obs=jnp.stack([y, y[::-1]], axis=1))


def series_first(y: Any) -> None:
    z = chain(series=2)[1]["state"].T
    with numpyro.plate("who", 2, dim=-2), numpyro.plate("when", N, dim=-1):
        numpyro.sample("y", dist.Normal(2.0 * z, 0.6), obs=jnp.stack([y, y[::-1]]))


def in_both_places(y: Any) -> None:
    out = chain(y=y)[1]
    numpyro.sample("y", dist.Poisson(jnp.exp(out["double"])), obs=jnp.array([0, 3, 7, 1, 0]))


def scaled(y: Any) -> None:
    z = chain()[1]["state"]
    with handlers.scale(scale=0.5):
        numpyro.sample("y", dist.Normal(z, 0.6), obs=y)


FINITE = (one_statement, parameter_behind, a_table, some_steps, several_series, series_first, in_both_places, scaled)


@pytest.mark.slow
@pytest.mark.parametrize("program", FINITE, ids=lambda program: program.__name__)
def test_a_finite_state(program: Callable) -> None:
    parameters = {"s": jnp.asarray(0.6)} if program in (one_statement, parameter_behind) else {}
    shape = (N, 2) if program in (several_series, series_first) else (N,)
    paths = np.array(list(itertools.product((0, 1), repeat=int(np.prod(shape))))).reshape(-1, *shape)
    each = jax.jit(jax.vmap(lambda z: log_density(program, (), {"y": Y}, {**parameters, "z": z})[0]))(paths)
    found, _ = log_density(marginalize(program), (), {"y": Y}, parameters)
    assert_logs_close(found, logsumexp(np.asarray(each)), "log density")
    if program in (several_series, series_first):
        assert read(program, {"y": Y}).system.structure.sequences == 2


def of_the_state(y: Any) -> None:
    _, (x, _) = walk()
    numpyro.sample("y", dist.Normal(1.5 * x + 0.2, 0.6), obs=y)


def of_both_states(y: Any) -> None:
    """What is handed out depends on the old and the new state; and there is an observation in the step, too."""
    _, (_, moved) = walk(y[::-1].copy())
    numpyro.sample("y", dist.Normal(moved, 0.6 + 0.1 * jnp.arange(N)), obs=y)


def vectors(y: Any) -> None:
    _, (x, moved) = walk()
    mean = jnp.stack([x, moved], axis=-1)
    covariance = jnp.array([[1.0, 0.3], [0.3, 0.5]])
    numpyro.sample("y", dist.MultivariateNormal(mean, covariance), obs=jnp.stack([y, y[::-1]], axis=1))


def last_of_all(y: Any) -> None:
    last, (x, _) = walk(y)
    numpyro.sample("final", dist.Normal(2.0 * last, 0.4), obs=1.3)
    numpyro.sample("first two", dist.Normal(x[:2], 0.4), obs=y[:2])
    numpyro.sample("next", dist.Normal(last, 1.0))


GAUSSIAN = (of_the_state, of_both_states, vectors, last_of_all)


@pytest.mark.slow
@pytest.mark.parametrize("program", GAUSSIAN, ids=lambda program: program.__name__)
def test_a_gaussian_state(program: Callable) -> None:
    forecasts = ["next"] if program is last_of_all else {}

    def density(x: Any) -> Any:
        values = {"x": x[:N]} | {name: x[N + i] for i, name in enumerate(forecasts)}
        return log_density(program, (), {"y": Y}, values)[0]

    size = N + len(forecasts)
    slope, curvature = jax.grad(density)(jnp.zeros(size)), jax.hessian(density)(jnp.zeros(size))
    top = np.linalg.solve(-np.asarray(curvature), np.asarray(slope))
    whole = (
        float(density(jnp.asarray(top))) + (size * np.log(2 * np.pi) - np.linalg.slogdet(-np.asarray(curvature))[1]) / 2
    )
    found, trace = log_density(marginalize(program), (), {"y": Y}, {})
    assert_logs_close(found, whole, "log density")
    assert "next" not in trace


@pytest.mark.slow
def test_what_is_missing_is_left_out() -> None:
    """Part of a vector and all of one, against the program without these terms."""
    seen = np.array([[0.1, 0.4], [np.nan, 1.0], [np.nan, np.nan], [0.3, -0.2], [0.0, 1.0]])

    def gaps(y: Any) -> None:
        _, (x, moved) = walk()
        numpyro.sample("y", dist.Normal(jnp.stack([x, moved], axis=1), 0.5).to_event(1), obs=y)

    def without(y: Any, kept: Any) -> None:
        _, (x, moved) = walk()
        numpyro.sample("y", dist.Normal(jnp.stack([x, moved], axis=1), 0.5).mask(kept), obs=y)

    found = gaussian.evidence(read(gaps, {"y": seen}).system)
    assert_logs_close(
        found,
        gaussian.evidence(read(without, {"y": np.nan_to_num(seen), "kept": ~np.isnan(seen)}).system),
        "log predictive",
    )
    assert found[2] == 0.0

    def counts(y: Any) -> None:
        numpyro.sample("y", dist.Poisson(1.0 + chain()[1]["double"]), obs=y)

    terms = finite.evidence(read(counts, {"y": np.array([1.0, np.nan, 2.0, 0.0, 4.0])}).system)
    np.testing.assert_array_equal(terms < -1e-3, [True, False, True, True, True])
    assert_logs_close(terms[1], 0.0, "a step where nothing is seen")


def test_forecasts_change_nothing() -> None:
    def plain(y: Any) -> None:
        walk(y)

    def forecasting(y: Any) -> None:
        last, (x, _) = walk(y)
        noise = numpyro.sample("noise", dist.HalfNormal(1.0))
        ahead = numpyro.sample("ahead", dist.Normal(last, noise))
        numpyro.sample("replicated", dist.Normal(x, 1.0).to_event(1))
        numpyro.deterministic("twice", 2 * ahead)
        numpyro.deterministic("path", x)

    found, trace = log_density(marginalize(forecasting), (), {"y": Y}, {})
    assert_logs_close(found, log_density(marginalize(plain), (), {"y": Y}, {})[0], "log density")
    assert set(trace) == {"log_predictive"}


REFUSED: dict[str, tuple[Callable, str]] = {
    "two steps": (lambda x: dist.Normal(x[1:] + x[:-1], 1.0), r"its entry \[0\] looks at the states of several steps"),
    "a sum over time": (lambda x: dist.Normal(jnp.cumsum(x), 1.0), "looks at the states of several steps"),
    "a joint normal": (lambda x: dist.MultivariateNormal(x, jnp.eye(N) + 0.5), "one term of the states of several steps"),
    "counts of a Gaussian state": (lambda x: dist.Poisson(jnp.exp(x)), "site 'y' is Poisson"),
    "a bend": (lambda x: dist.Normal(x**3, 1.0), "'y' is not (affine|linear)"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_emission_is_refused(name: str) -> None:
    law, message = REFUSED[name]

    def program(y: Any) -> None:
        fn = law(walk()[1][0])
        numpyro.sample("y", fn, obs=jnp.ones(fn.shape(), int))

    with pytest.raises(NotExactlySolvable, match=message):
        read(program, {"y": Y})


def test_a_latent_site_between_the_states_and_what_is_seen_is_refused() -> None:
    def program(y: Any) -> None:
        level = numpyro.sample("level", dist.Normal(walk()[1][0], 1.0).to_event(1))
        numpyro.sample("y", dist.Normal(level, 1.0), obs=y)

    with pytest.raises(
        NotExactlySolvable, match="'level' is drawn from the states after the scan, and 'y' is observed given it"
    ):
        read(program, {"y": Y})


def test_a_sum_of_all_steps_is_refused() -> None:
    def program(y: Any) -> None:
        numpyro.factor("sum", dist.Normal(chain()[1]["state"], 1.0).log_prob(y).sum())

    with pytest.raises(NotExactlySolvable, match="'sum' after the scan is one term of the states of several steps"):
        read(program, {"y": Y})
