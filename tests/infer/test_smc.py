"""Is the particle filter right?  Against the exact recursion, all regimes listed, and a fine grid; and is its evidence unbiased?"""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.contrib.control_flow import scan
from scipy import stats

from ppl_worldmodel import exact_engine, read
from ppl_worldmodel.checks import beliefs as belief_check
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.infer.smc import smc

KEY = jax.random.key(5)
GAP = np.nan
T = np.array([[[0.8, 0.2], [0.3, 0.7]], [[0.5, 0.5], [0.05, 0.95]]])
O = np.array([[0.8, 0.15, 0.05], [0.2, 0.3, 0.5]])
A, Q = np.array([[0.9, 0.2], [-0.1, 0.7]]), np.array([[0.3, 0.1], [0.1, 0.2]])


def pomdp(T, observations, actions):
    def step(state, at):
        action, observation = at
        state = numpyro.sample("state", dist.Categorical(T[action, state]))
        numpyro.sample("observation", dist.Categorical(jnp.asarray(O)[state]), obs=observation)
        return state, None

    start = numpyro.sample("start", dist.Categorical(jnp.array([0.7, 0.3])))
    scan(step, start, (actions, observations))


def driven(observations, actions):
    pomdp(numpyro.sample("T", dist.Dirichlet(jnp.ones((2, 2, 2))).to_event(2)), observations, actions)


def emission_first(observations):
    def step(state, observation):
        numpyro.sample("observation", dist.Poisson(jnp.array([1.0, 4.0, 9.0])[state]), obs=observation)
        moves = jnp.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]])
        return numpyro.sample("state", dist.Categorical(moves[state])), None

    scan(step, numpyro.sample("start", dist.Categorical(jnp.array([0.5, 0.3, 0.2]))), observations)


def several(observations):
    """Three sequences of two states; the third ends early."""
    length = jnp.array([6, 6, 4])

    def step(carry, observation):
        state, t = carry
        with numpyro.plate("sequence", 3), numpyro.handlers.mask(mask=t < length):
            state = numpyro.sample("state", dist.Categorical(jnp.asarray(T[0])[state]))
            numpyro.sample("observation", dist.Normal(state * 2.0, 1.0), obs=observation)
        return (state, t + 1), None

    with numpyro.plate("sequence", 3):
        start = numpyro.sample("start", dist.Categorical(jnp.array([0.5, 0.5])))
    scan(step, (start, 0), observations)


def gaussian(observations, first):
    """Moves, then shows itself; something was seen of the first state, too."""
    start = numpyro.sample("start", dist.MultivariateNormal(jnp.array([1.0, 0.0]), jnp.eye(2)))
    numpyro.sample("first", dist.Normal(start[0], 0.5), obs=first)

    def step(x, observation):
        x = numpyro.sample("x", dist.MultivariateNormal(jnp.asarray(A) @ x, jnp.asarray(Q)))
        numpyro.sample("observation", dist.Normal(x[0] - x[1], 0.7), obs=observation)
        return x, None

    scan(step, start, observations)


def gaussian_emission_first(observations):
    def step(x, observation):
        numpyro.sample("observation", dist.Normal(x, 0.7), obs=observation)
        return numpyro.sample("x", dist.Normal(0.8 * x + 0.3, 0.5)), None

    scan(step, numpyro.sample("start", dist.Normal(1.0, 2.0)), observations)


SIX = np.array([0.3, 1.9, GAP, -0.8, 0.4, 2.5])
DRIVEN = {"observations": np.array([0.0, 2, GAP, 1, 2, 0]), "actions": np.array([0, 1, 1, 0, 0, 1])}
READ: dict[str, tuple[Callable, dict, dict]] = {
    "finite, with actions": (driven, DRIVEN, {"T": T}),
    "finite, emission first": (emission_first, {"observations": np.array([2.0, 5, GAP, 1, 0, 11])}, {}),
    "finite, several": (several, {"observations": np.stack([SIX, SIX[::-1], SIX * 0.5], axis=1)}, {}),
    "Gaussian, seen before": (gaussian, {"observations": SIX, "first": jnp.array(1.7)}, {}),
    "Gaussian, emission first": (gaussian_emission_first, {"observations": SIX}, {}),
}


SLOW = {"finite, emission first", "finite, several", "finite, with actions", "Gaussian, emission first"}


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in READ]
)
def both(request: pytest.FixtureRequest) -> tuple[xr.DataTree, xr.DataTree]:
    model, data, parameters = READ[request.param]
    filtered = smc(num_particles=2000, num_replicates=32)(read(model, data, parameters, exactly=False), KEY)
    return filtered, exact_engine()(read(model, data, parameters), KEY)


def scores(found: xr.DataTree, exact: dict[str, np.ndarray]) -> np.ndarray:
    """Differences in standard errors of all means and variances (or probabilities); where there is no error they must be equal."""
    z = []
    beliefs = found["beliefs"].to_dataset()
    for name, expected in exact.items():
        kind, _, second = name.partition("_")
        values = np.diagonal(beliefs[name], axis1=-2, axis2=-1) if second else beliefs[name].values
        expected = np.diagonal(expected, axis1=-2, axis2=-1) if second else expected
        error = beliefs[f"{kind}_variance_mcse" if second else f"{kind}_mcse"].values
        certain = np.isnan(error)
        np.testing.assert_allclose(values[certain], expected[certain], atol=1e-10)
        z.append(((values - expected)[~certain] / error[~certain]).ravel())
    return np.concatenate(z)


@pytest.mark.slow
def test_beliefs_and_evidence_are_the_exact_ones(both: tuple[xr.DataTree, xr.DataTree]) -> None:
    found, exact = both
    kinds = [name for name in exact["beliefs"].data_vars if not str(name).startswith("smoothed")]
    assert set(kinds) <= set(found["beliefs"].data_vars)
    for name in kinds:
        assert found["beliefs"][name].dims == exact["beliefs"][name].dims
    z = scores(found, {str(name): exact["beliefs"][name].values for name in kinds})
    assert np.abs(z).max() < 5.0
    gap = found.attrs["log_evidence"] - exact.attrs["log_evidence"]
    assert abs(gap) < 4.0 * found.attrs["log_evidence_mcse"] < 0.2
    assert {"family", "question", "dtype"} <= set(found.attrs)
    assert all(found.attrs[name] == exact.attrs[name] for name in ("family", "question", "dtype"))
    for finding in belief_check.findings(found, exact):
        assert finding.verdict == "agrees", finding


def test_saved_and_read_back_equal(both: tuple[xr.DataTree, xr.DataTree], tmp_path: Path) -> None:
    found, _ = both
    found.to_netcdf(tmp_path / "result.nc", engine="h5netcdf")
    xr.testing.assert_identical(xr.open_datatree(tmp_path / "result.nc", engine="h5netcdf").load(), found)
    assert found["log_likelihood"]["log_predictive"].sizes["chain"] == 32
    assert found["posterior"]["last_state"].sizes["chain"] == 32


@pytest.mark.slow
def test_a_step_whose_weights_are_ignored_is_noticed() -> None:
    model, data, parameters = READ["finite, with actions"]
    exact = exact_engine()(read(model, data, parameters), KEY)
    forgetful = {**data, "observations": np.where(np.arange(6) == 1, GAP, data["observations"])}
    found = smc(num_particles=2000, num_replicates=32)(read(model, forgetful, parameters, exactly=False), KEY)
    assert np.abs(scores(found, {"filtered": exact["beliefs"]["filtered"].values})).max() > 20.0
    gap = found.attrs["log_evidence"] - exact.attrs["log_evidence"]
    assert abs(gap) > 20.0 * found.attrs["log_evidence_mcse"]
    assert {finding.verdict for finding in belief_check.findings(found, exact)} == {"disagrees"}


@pytest.mark.slow
def test_the_evidence_is_unbiased_with_few_particles_and_its_logarithm_is_not() -> None:
    reading = read(*READ["Gaussian, emission first"])
    exact = exact_engine()(reading, KEY).attrs["log_evidence"]
    found = smc(num_particles=8, num_replicates=20_000)(reading, KEY)
    log_ratio = found["log_likelihood"]["log_predictive"].values.sum(axis=(1, 2)) - exact
    ratio = np.exp(log_ratio)
    assert abs(ratio.mean() - 1.0) < 4.0 * ratio.std(ddof=1) / np.sqrt(20_000) < 0.1
    assert log_ratio.mean() < -10.0 * log_ratio.std(ddof=1) / np.sqrt(20_000)
    np.testing.assert_allclose(found.attrs["log_evidence"] - exact, np.log(ratio.mean()), atol=1e-10)


REGIMES, MOVE, NOISE = np.array([[0.9, 0.1], [0.3, 0.7]]), np.array([0.9, -0.5]), np.array([0.3, 1.0])


def switching(y):
    regime = numpyro.sample("first_regime", dist.Categorical(jnp.array([0.6, 0.4])))
    x = numpyro.sample("first_x", dist.Normal(0.5, 1.2))

    def step(carry, y):
        regime, x, t = carry
        regime = numpyro.sample("regime", dist.Categorical(jnp.asarray(REGIMES)[regime]))
        x = numpyro.sample("x", dist.Normal(jnp.asarray(MOVE)[regime] * x + 0.1 * t, jnp.asarray(NOISE)[regime]))
        numpyro.sample("y", dist.Normal(x, 0.5), obs=y)
        return (regime, x, t + 1), None

    scan(step, (regime, x, 0), y)


def all_regimes(y: np.ndarray) -> tuple[dict[str, np.ndarray], float]:
    """Every path of regimes with a Kalman filter of its own: moments of (regime, x), predicted and filtered; log evidence."""
    paths = [
        (np.log(p), r, 0.5, 1.2**2) for r, p in enumerate((0.6, 0.4))
    ]  # log weight, regime, mean and variance of x
    moments: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"predicted": [], "filtered": []}
    for t, value in enumerate(y):
        paths = [
            (log_weight + np.log(REGIMES[r, s]), s, MOVE[s] * mean + 0.1 * t, MOVE[s] ** 2 * variance + NOISE[s] ** 2)
            for log_weight, r, mean, variance in paths
            for s in (0, 1)
        ]
        moments["predicted"].append(_mixture(paths))
        if not np.isnan(value):
            paths = [
                (
                    log_weight + stats.norm.logpdf(value, mean, np.sqrt(variance + 0.25)),
                    s,
                    mean + variance / (variance + 0.25) * (value - mean),
                    variance * 0.25 / (variance + 0.25),
                )
                for log_weight, s, mean, variance in paths
            ]
        moments["filtered"].append(_mixture(paths))
    exact = {kind: np.stack([mean for mean, _ in each]) for kind, each in moments.items()}
    exact |= {f"{kind}_covariance": np.stack([spread for _, spread in each]) for kind, each in moments.items()}
    return exact, float(np.logaddexp.reduce([path[0] for path in paths]))


def _mixture(paths: list[tuple]) -> tuple[np.ndarray, np.ndarray]:
    weight = np.exp([path[0] for path in paths] - np.logaddexp.reduce([path[0] for path in paths]))
    each = np.array([path[1:3] for path in paths], float)
    mean = weight @ each
    within = np.diag([0.0, weight @ np.array([path[3] for path in paths])])
    return mean, within + np.einsum("p,pi,pj->ij", weight, each - mean, each - mean)


@pytest.mark.slow
def test_a_switching_system_is_that_of_all_its_paths() -> None:
    y = np.array([0.3, -1.0, GAP, 1.2, 0.8, 0.0])
    exact, log_evidence = all_regimes(y)
    found = smc(num_particles=2000, num_replicates=32)(read(switching, {"y": y}, {}, exactly=False), KEY)
    assert np.abs(scores(found, exact)).max() < 5.0
    assert abs(found.attrs["log_evidence"] - log_evidence) < 4.0 * found.attrs["log_evidence_mcse"] < 0.2
    assert found.attrs["family"] == "not read exactly"
    assert found["beliefs"].attrs["factors"] == '["regime", "x"]'


def test_an_impossible_observation_is_named() -> None:
    stay = np.broadcast_to(np.eye(2), (2, 2, 2))

    def sure(observations, actions):
        def step(state, at):
            state = numpyro.sample("state", dist.Categorical(jnp.asarray(stay)[at[0], state]))
            numpyro.sample("observation", dist.Categorical(jnp.eye(2)[state]), obs=at[1])
            return state, None

        scan(step, numpyro.sample("start", dist.Categorical(jnp.array([0.5, 0.5]))), (actions, observations))

    data = {"observations": np.array([0, 0, 1, 0]), "actions": np.zeros(4, int)}
    with pytest.raises(DataError, match=r"time step 2 .* impossible for all 50 particles .* log evidence is -inf"):
        smc(num_particles=50, num_replicates=3)(read(sure, data, {}, exactly=False), KEY)
