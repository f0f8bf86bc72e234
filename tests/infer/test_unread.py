"""Programs that are not read exactly, at given parameters: particle filter and NUTS against a fine grid, and each other."""

from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.contrib.control_flow import scan
from scipy import stats

from ppl_worldmodel import read
from ppl_worldmodel.checks import beliefs as belief_check
from ppl_worldmodel.errors import NotExactlySolvable, WorldModelError
from ppl_worldmodel.files.load import Loaded
from ppl_worldmodel.infer.nuts import nuts
from ppl_worldmodel.infer.smc import smc
from ppl_worldmodel.studies.applicable_engines import answering, asked_at

KEY = jax.random.key(4)
RETURNS = np.array([0.3, -1.2, np.nan, 2.5, 0.1])


def volatility(returns, phi=0.9, sigma=0.6):
    """The state is the logarithm of a variance."""

    def step(x, value):
        x = numpyro.sample("log_variance", dist.Normal(phi * x - 0.1, sigma))
        numpyro.sample("return", dist.Normal(0.0, jnp.exp(0.5 * x)), obs=value)
        return x, None

    scan(step, numpyro.sample("start", dist.Normal(0.0, 1.0)), returns)


def by_grid(returns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of the filtered and smoothed state, by the rectangle rule on a fine grid."""
    x = np.linspace(-9.0, 9.0, 1201)
    moves = stats.norm.pdf(x[None], 0.9 * x[:, None] - 0.1, 0.6)
    moves /= moves.sum(axis=1, keepdims=True)
    belief, filtered, seen = stats.norm.pdf(x), [], []
    for value in returns:
        seen.append(np.ones_like(x) if np.isnan(value) else stats.norm.pdf(value, 0.0, np.exp(0.5 * x)))
        belief = (belief @ moves) * seen[-1]
        belief /= belief.sum()
        filtered.append(belief)
    ahead, smoothed = np.ones_like(x), []
    for t in range(len(returns) - 1, -1, -1):
        both = filtered[t] * ahead
        smoothed.append(both / both.sum())
        ahead = moves @ (ahead * seen[t])
    return np.array(filtered) @ x, np.array(smoothed[::-1]) @ x


@pytest.fixture(scope="module")
def found() -> dict[str, xr.DataTree]:
    reading = read(volatility, {"returns": RETURNS}, {}, exactly=False)
    sampled = nuts(num_warmup=200, num_samples=500, num_chains=2, prefixes=[1, 3])
    return {"smc": smc(num_particles=2000, num_replicates=16)(reading, KEY), "nuts": sampled(reading, KEY)}


@pytest.mark.slow
def test_both_are_the_grid(found: dict[str, xr.DataTree]) -> None:
    filtered, smoothed = by_grid(RETURNS)
    for engine, kind, exact in (
        ("smc", "filtered", filtered),
        ("nuts", "filtered", filtered),
        ("nuts", "smoothed", smoothed),
    ):
        beliefs = found[engine]["beliefs"].to_dataset()
        asked = np.isfinite(beliefs[kind].values[:, 0])
        assert asked.sum() == (2 if (engine, kind) == ("nuts", "filtered") else 5)
        z = (beliefs[kind].values[:, 0] - exact)[asked] / beliefs[f"{kind}_mcse"].values[asked, 0]
        assert np.abs(z).max() < 5.0, (engine, kind, z)


@pytest.mark.slow
def test_filtered_beliefs_are_compared_with_filtered_ones(found: dict[str, xr.DataTree]) -> None:
    rows = belief_check.findings(found["smc"], found["nuts"])
    assert {row.quantity for row in rows} == {"predicted beliefs", "filtered beliefs"}
    assert all(row.n == 2 for row in rows)
    assert not [row for row in rows if row.verdict == "disagrees"]


@pytest.mark.slow
def test_a_filter_that_misses_an_observation_disagrees(found: dict[str, xr.DataTree]) -> None:
    forgetful = np.where(np.arange(5) == 3, np.nan, RETURNS)
    other = smc(num_particles=2000, num_replicates=16)(read(volatility, {"returns": forgetful}, {}, exactly=False), KEY)
    rows = {row.quantity: row for row in belief_check.findings(other, found["nuts"])}
    assert rows["filtered beliefs"].verdict == "disagrees"


def test_a_discrete_site_is_refused_by_name() -> None:
    def switching(y):
        def step(carry, y):
            regime, x = carry
            regime = numpyro.sample("regime", dist.Bernoulli(0.1 + 0.8 * regime))
            x = numpyro.sample("x", dist.Normal(jnp.where(regime == 1, 0.9, -0.5) * x, 1.0))
            numpyro.sample("y", dist.Normal(x, 0.5), obs=y)
            return (regime, x), None

        first = numpyro.sample("first_regime", dist.Bernoulli(0.5)), numpyro.sample("first_x", dist.Normal(0.0, 1.0))
        scan(step, first, y)

    with pytest.raises(NotExactlySolvable, match=r"discrete site '(first_)?regime'"):
        nuts()(read(switching, {"y": np.array([0.1, 0.2])}, {}, exactly=False), KEY)


def test_engines_that_only_run_the_program_are_offered() -> None:
    reading = read(volatility, {"returns": np.zeros(3), "phi": 0.9, "sigma": 0.1}, {}, exactly=False)
    assert answering([], True, reading, print) == ["nuts", "smc"]
    assert answering(["smc"], True, reading, print) == ["smc"]
    with pytest.raises(
        WorldModelError, match=r"'gibbs' does not answer .* not read exactly: (.|\n)*Choose from nuts, smc$"
    ):
        answering(["gibbs"], True, reading, print)


def test_parameters_that_nobody_gave_are_asked_for() -> None:
    def unknown(returns):
        phi = numpyro.sample("phi", dist.Uniform(0.0, 1.0))
        volatility(returns, phi, numpyro.sample("sigma", dist.HalfNormal(1.0)))

    loaded = Loaded("volatility", unknown, "", "", None, {}, {}, {}, ModuleType("volatility"))
    reading = read(unknown, {"returns": RETURNS}, exactly=False)
    with pytest.raises(WorldModelError, match=r"""--parameters '\{"phi": \.\.\., "sigma": \.\.\.\}'"""):
        asked_at(loaded, reading, None, nuts(), KEY, print)


def test_its_parts_are_named_without_values_of_its_parameters() -> None:
    def scaled(returns):
        phi = numpyro.sample("phi", dist.Uniform(0.0, 1.0))

        def step(h, y):
            h = numpyro.sample("h", dist.Normal(phi * h, 0.5))
            numpyro.sample("y", dist.Normal(0.0, jnp.exp(h / 2)), obs=y)
            return h, None

        scan(step, numpyro.sample("first", dist.Normal(0.0, 1.0)), returns)

    reading = read(scaled, {"returns": RETURNS}, exactly=False)
    assert reading.system is None
    assert list(reading.parameters) == ["phi"]
    assert reading.structure.factors == ("h",)
