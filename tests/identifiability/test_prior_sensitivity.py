"""Is the overlap the integral of the smaller density, and does power-scaling see which part of a model decides?"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from scipy import stats

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.identifiability.prior_sensitivity import overlap, sensitivity
from ppl_worldmodel.program.coordinates import Coordinates, coordinates
from ppl_worldmodel.program.reading import read

CASES = {
    "the same": (stats.norm(), stats.norm()),
    "moved": (stats.norm(1.0), stats.norm()),
    "narrow": (stats.norm(0.0, 0.1), stats.norm()),
    "narrow, off the centre": (stats.norm(1.5, 0.1), stats.norm()),
    "probability near one": (stats.beta(50, 1), stats.beta(1, 1)),
    "scale": (stats.norm(38.0, 10.0), stats.halfnorm(0.0, 100.0)),
    "a prior without a mean": (stats.norm(2.0, 0.3), stats.halfcauchy()),
    "nothing in common": (stats.norm(20.0), stats.norm()),
}


@pytest.mark.parametrize("name", CASES)
def test_overlap_of_known_densities(name: str) -> None:
    posterior, prior = CASES[name]
    levels = np.linspace(1e-7, 1.0 - 1e-7, 20_001)
    at = np.unique(np.concatenate([posterior.ppf(levels), prior.ppf(levels)]))
    expected = np.trapezoid(np.minimum(posterior.pdf(at), prior.pdf(at)), at)
    rng = np.random.default_rng(0)
    found = [overlap(posterior.rvs(4000, random_state=rng), prior.rvs(1000, random_state=rng)) for _ in range(5)]
    bias = 0.06 if name == "the same" else 0.015
    assert abs(np.mean(found) - expected) < bias + 3.0 * np.std(found, ddof=1) / np.sqrt(5)
    assert max(found) <= 1.0


def coin(y: Any, a: float = 2.0, b: float = 2.0) -> None:
    """Tosses of a coin, from a state with a single value."""
    p = numpyro.sample("p", dist.Beta(a, b))

    def step(s: Any, y: Any) -> Any:
        s = numpyro.sample("s", dist.Categorical(jnp.ones(1)))
        numpyro.sample("y", dist.Bernoulli(p), obs=y)
        return s, None

    scan(step, numpyro.sample("start", dist.Categorical(jnp.ones(1))), y)


def tossed(heads: int, tails: int, a: float) -> tuple[Coordinates, dict[str, np.ndarray]]:
    """The program, and exact draws from its posterior."""
    data = {"y": np.repeat([1, 0], [heads, tails]), "a": a, "b": a}
    draws = np.random.default_rng(0).beta(a + heads, a + tails, (4, 1000))
    return coordinates(read(coin, data)), {"p": draws}


@pytest.mark.parametrize(
    ("heads", "tails", "a", "prior", "likelihood"),
    [(20, 20, 1.1, False, True), (20, 0, 30.0, True, True), (1, 1, 30.0, True, False)],
    ids=["data decide", "conflict", "prior decides"],
)
def test_power_scaling_sees_what_decides(heads: int, tails: int, a: float, prior: bool, likelihood: bool) -> None:
    found = sensitivity(*tossed(heads, tails, a)).sel(entry="p")
    assert (float(found["prior"]) > 0.05) == prior
    assert (float(found["likelihood"]) > 0.05) == likelihood
    assert ("conflict" in str(found["diagnosis"].values)) == (prior and likelihood)


def test_a_flat_prior_is_refused() -> None:
    with pytest.raises(DataError, match="no sensitivity to a flat prior"):
        sensitivity(*tossed(5, 5, 1.0))


def test_draws_of_the_prior() -> None:
    space, _ = tossed(1, 1, 3.0)
    keys = jax.random.split(jax.random.key(0), 2000)
    found = jax.jit(jax.vmap(lambda key: space.constrain(space.draw(key))))(keys)
    assert stats.kstest(found["p"], stats.beta(3, 3).cdf).pvalue > 1e-3
