"""Handlers around the scan, emissions of every kind, types of the carry."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.control_flow import scan
from numpyro.infer.reparam import LocScaleReparam

from ppl_worldmodel import read
from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.exact import finite, gaussian
from ppl_worldmodel.infer.gibbs import gibbs

from ..agreement import assert_logs_close, assert_probabilities_close
from ..references.enumeration import enumerate_program

T = jnp.array([[0.9, 0.1], [0.2, 0.8]])
Y = np.array([0.3, -1.0, 2.0])


def walk(y: Any) -> None:
    def step(x: Any, y: Any) -> Any:
        x = numpyro.sample("x", dist.Normal(x, 1.0))
        numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None

    scan(step, numpyro.sample("x0", dist.Normal(0.0, 1.0)), y)


def in_a_plate(y: Any) -> None:
    with numpyro.plate("series", 3):
        walk(y)


AROUND = {
    "mask": (handlers.mask(walk, mask=False), "inside handlers.mask"),
    "scale": (handlers.scale(walk, scale=0.5), "inside handlers.scale"),
    "reparam": (handlers.reparam(walk, config={"x": LocScaleReparam(0.0)}), "names site 'x' of the step"),
    "plate": (in_a_plate, "inside a numpyro.plate"),
}


@pytest.mark.parametrize("name", AROUND)
def test_a_handler_around_the_scan_is_not_passed_over(name: str) -> None:
    program, message = AROUND[name]
    with pytest.raises(NotExactlySolvable, match=message):
        read(program, {"y": Y})


def test_a_harmless_handler_is() -> None:
    found = gaussian.evidence(read(handlers.seed(walk, rng_seed=0), {"y": Y}).system)
    assert_logs_close(found, gaussian.evidence(read(walk, {"y": Y}).system), "log predictive")


EMISSIONS: dict[str, tuple[Any, np.ndarray]] = {
    "Poisson": (lambda s: dist.Poisson(1.0 + 3.0 * s), np.array([0, 4, 2])),
    "NegativeBinomial2": (lambda s: dist.NegativeBinomial2(1.0 + 3.0 * s, 2.0), np.array([0, 4, 2])),
    "ZeroInflatedPoisson": (lambda s: dist.ZeroInflatedPoisson(0.3, 1.0 + 3.0 * s), np.array([0, 4, 2])),
    "Binomial": (lambda s: dist.Binomial(5, 0.2 + 0.5 * s), np.array([0, 4, 2])),
    "Multinomial": (lambda s: dist.Multinomial(3, T[s]), np.array([[3, 0], [1, 2], [0, 3]])),
    "Gamma": (lambda s: dist.Gamma(2.0, 1.0 + s), np.array([0.4, 2.0, 1.0])),
    "Beta": (lambda s: dist.Beta(2.0 + s, 3.0), np.array([0.4, 0.1, 0.8])),
    "LogNormal": (lambda s: dist.LogNormal(1.0 * s, 1.0), np.array([0.4, 2.0, 1.0])),
    "StudentT": (lambda s: dist.StudentT(3.0, 2.0 * s, 1.0), Y),
    "VonMises": (lambda s: dist.VonMises(2.0 * s, 1.5), np.array([0.4, 2.0, -1.0])),
    "Dirichlet": (lambda s: dist.Dirichlet(jnp.array([1.0, 2.0]) + s), np.array([[0.5, 0.5], [0.2, 0.8], [0.9, 0.1]])),
    "MixtureSameFamily": (
        lambda s: dist.MixtureSameFamily(dist.Categorical(T[s]), dist.Normal(jnp.array([-1.0, 1.0]), 1.0)), Y,
    ),
    "MultivariateNormal": (
        lambda s: dist.MultivariateNormal(jnp.ones(2) * s, jnp.array([[1.0, 0.5], [0.5, 2.0]])),
        np.array([[0.1, np.nan], [1.0, 2.0], [np.nan, np.nan]]),
    ),
    "Categorical": (lambda s: dist.Categorical(logits=jnp.array([0.0, 1.0, -1.0]) * s), np.array([0, 2, 1])),
    "Delta": (lambda s: dist.Delta(1.0 * s), np.array([0.0, 1.0, 1.0])),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", EMISSIONS)
def test_every_emission_that_has_a_density(name: str) -> None:
    emission, y = EMISSIONS[name]

    def model(y: Any) -> Any:
        def step(s: Any, y: Any) -> Any:
            s = numpyro.sample("s", dist.Categorical(T[s]))
            numpyro.sample("y", emission(s), obs=y)
            return s, s

        return scan(step, numpyro.sample("s0", dist.Categorical(jnp.array([0.5, 0.5]))), y)[1]

    found = finite.smooth(read(model, {"y": y}).system)
    if name == "MultivariateNormal":  # a component that was not seen is integrated out: the marginal is a normal, too
        alone = [dist.Normal(s, 1.0).log_prob(0.1) for s in (0.0, 1.0)]
        np.testing.assert_allclose(read(model, {"y": y}).system.log_likelihood[0], alone, rtol=1e-12)
        np.testing.assert_allclose(read(model, {"y": y}).system.log_likelihood[2], 0.0)
        return
    listed = enumerate_program(model, {"y": y}, {}, {"s0": np.arange(2), "s": np.arange(2)})
    assert_logs_close(found.log_predictive, listed.log_predictive, "log predictive")
    for t, belief in enumerate(found.smoothed):
        assert_probabilities_close(belief, [listed.smoothed[t][(s,)] for s in range(2)], f"smoothed {t}")


@pytest.mark.slow
def test_a_carry_of_32_bits() -> None:
    """Programs written for float32 are read, and sampled, in float64."""

    def model(y: Any) -> None:
        def step(s: Any, y: Any) -> Any:
            s = numpyro.sample("s", dist.Categorical(T[s]))
            numpyro.sample("y", dist.Normal(s, 1.0), obs=y)
            return s, None

        scan(step, jnp.zeros((), jnp.int32), y)

    exact = finite.smooth(read(model, {"y": Y}).system).smoothed
    draws = gibbs(num_samples=3000)(read(model, {"y": Y}, {}), jax.random.key(0))
    np.testing.assert_allclose(draws["beliefs"]["smoothed"], exact, atol=0.05)
