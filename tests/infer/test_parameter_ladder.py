"""Are learned parameters the exact posterior?  Gibbs and NUTS against enumerated mixtures and against quadrature.

Within five Monte Carlo standard errors, at ten thousand draws and, nightly, at a hundred thousand.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import arviz_stats  # noqa: F401
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.contrib.control_flow import scan

from ppl_worldmodel import gibbs, nuts, read
from ppl_worldmodel.models import nile, two_state_pomdp

from ..references import mixtures, quadrature

DRAWS = [2500, pytest.param(25_000, marks=pytest.mark.nightly)]
Y = np.array([0, 0, 1, 0, 0, 1, 1, 1, 0, 1, 1, 0])
COUNTS = np.array([1.0, 0.0, 4.0, np.nan, 7.0, 2.0, 0.0, 1.0])
VOLUMES = nile.data()["observations"]


class Exact(NamedTuple):
    mean: dict[str, np.ndarray]
    variance: dict[str, np.ndarray]


def poisson(counts: Any) -> None:
    """Two Poisson regimes that emit first; a count is missing."""
    T = numpyro.sample("T", dist.Dirichlet(jnp.array([[3.0, 1.0], [1.0, 2.0]])).to_event(1))
    rate = numpyro.sample("rate", dist.Gamma(jnp.array([1.0, 4.0]), jnp.array([1.0, 1.0])).to_event(1))

    def step(s: Any, count: Any) -> Any:
        numpyro.sample("count", dist.Poisson(rate[s]), obs=count)
        return numpyro.sample("s", dist.Categorical(T[s])), None

    scan(step, numpyro.sample("s0", dist.Categorical(jnp.array([0.5, 0.5]))), counts)


def level(volumes: Any) -> None:
    """The flow of the Nile with conjugate priors of the variances."""
    move = numpyro.sample("move", dist.InverseGamma(2.0, 2000.0))
    noise = numpyro.sample("noise", dist.InverseGamma(2.0, 15_000.0))

    def step(x: Any, volume: Any) -> Any:
        numpyro.sample("volume", dist.Normal(x, jnp.sqrt(noise)), obs=volume)
        return numpyro.sample("x", dist.Normal(x, jnp.sqrt(move))), None

    scan(step, numpyro.sample("x0", dist.Normal(1000.0, 500.0)), volumes)


def exact_two_state() -> Exact:
    T, O = (mixtures.Dirichlet(np.array(a)) for a in ([[8.0, 2.0], [2.0, 8.0]], [[12.0, 4.0], [4.0, 12.0]]))
    found = mixtures.moments(mixtures.mixture(Y, initial=[0.5, 0.5], T=T, O=O))
    return Exact({"T": found.T_mean, "O": found.O_mean}, {"T": found.T_variance, "O": found.O_variance})


def exact_poisson() -> Exact:
    T = mixtures.Dirichlet(np.array([[3.0, 1.0], [1.0, 2.0]]))
    rate = mixtures.Gamma(np.array([1.0, 4.0]), np.array([1.0, 1.0]))
    found = mixtures.moments(mixtures.mixture(COUNTS, initial=[0.5, 0.5], T=T, O=rate, emission_first=True))
    return Exact({"T": found.T_mean, "rate": found.O_mean}, {"T": found.T_variance, "rate": found.O_variance})


def by_quadrature(log_prior: Callable, names: list[str], power: float) -> Exact:
    def density(theta: np.ndarray) -> np.ndarray:
        scales = theta**power
        known = {"initial_mean": 1000.0, "initial_scale": 500.0}
        return log_prior(theta) + quadrature.local_level(VOLUMES, scales[:, 0], scales[:, 1], **known)

    start = [40.0 ** (1 / power), 120.0 ** (1 / power)]
    found = quadrature.integrate_posterior(density, [quadrature.positive()] * 2, start=start, rtol=1e-8)
    variance = np.diag(found.covariance)
    return Exact(dict(zip(names, found.mean, strict=True)), dict(zip(names, variance, strict=True)))


def exact_level() -> Exact:
    def log_prior(theta: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            each = -3.0 * np.log(theta) - np.array([2000.0, 15_000.0]) / theta
        return np.where(np.isfinite(each), each, -np.inf).sum(axis=1)

    return by_quadrature(log_prior, ["move", "noise"], 0.5)


def exact_nile() -> Exact:
    def log_prior(theta: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return -0.5 * ((theta / np.array([100.0, 200.0])) ** 2).sum(axis=1)

    return by_quadrature(log_prior, ["level_scale", "observation_scale"], 1.0)


CASES = {
    "gibbs, two states": (gibbs, two_state_pomdp.model, {"observations": Y}, exact_two_state),
    "nuts, two states": (nuts, two_state_pomdp.model, {"observations": Y}, exact_two_state),
    "gibbs, Poisson": (gibbs, poisson, {"counts": COUNTS}, exact_poisson),
    "gibbs, level": (gibbs, level, {"volumes": VOLUMES}, exact_level),
    "nuts, nile": (nuts, nile.model, {"observations": VOLUMES}, exact_nile),
}


def far_off(posterior: xr.Dataset, exact: Exact) -> dict[str, float]:
    """The largest difference in Monte Carlo standard errors, of means and of variances."""
    found = {}
    for name, mean in exact.mean.items():
        draws = posterior[name]
        square = (draws - mean) ** 2  # around the exact mean, so that its mean is the variance
        for what, values, expected in (("mean", draws, mean), ("variance", square, exact.variance[name])):
            error = values.azstats.mcse(method="mean").values
            found[f"{what} of {name}"] = float(np.max(np.abs(values.mean(("chain", "draw")).values - expected) / error))
    return found


def quick(name: str) -> Any:
    return name if name == "gibbs, two states" else pytest.param(name, marks=pytest.mark.nightly)


@pytest.mark.slow
@pytest.mark.parametrize("num_samples", DRAWS)
@pytest.mark.parametrize("name", [quick(name) for name in CASES])
def test_posterior_of_the_parameters(name: str, num_samples: int) -> None:
    engine, model, data, exact = CASES[name]
    result = engine(num_samples=num_samples)(read(model, data), jax.random.key(5))
    off = far_off(result["posterior"].to_dataset(), exact())
    assert max(off.values()) < 5.0, off


@pytest.mark.slow
def test_a_wrong_prior_is_far_off() -> None:
    """The check can fail: a posterior under other priors is dozens of standard errors away."""
    result = gibbs(num_samples=2500)(read(poisson, {"counts": COUNTS}), jax.random.key(5))
    T = mixtures.Dirichlet(np.ones((2, 2)))
    rate = mixtures.Gamma(np.array([1.0, 4.0]), np.array([1.0, 1.0]))
    found = mixtures.moments(mixtures.mixture(COUNTS, initial=[0.5, 0.5], T=T, O=rate, emission_first=True))
    wrong = Exact({"T": found.T_mean, "rate": found.O_mean}, {"T": found.T_variance, "rate": found.O_variance})
    assert max(far_off(result["posterior"].to_dataset(), wrong).values()) > 20.0
