"""`numpyro.deterministic` before and after the scan: computed from parameters alone it goes with the draws, else it is left out."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from numpyro.infer.util import log_density

from ppl_worldmodel import marginalize, nuts, read
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.program.coordinates import computed_sites, coordinates

Y = {"y": np.array([0.3, 1.5, 2.2, -0.4, 0.1])}


def model(y: Any) -> None:
    s = numpyro.sample("s", dist.HalfNormal(1.0))
    numpyro.deterministic("variance", s**2)

    def step(x: Any, y: Any) -> Any:
        x = numpyro.sample("x", dist.Normal(x, s))
        numpyro.deterministic("inside", 2 * x)
        numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
        return x, x

    _, x = scan(step, 0.0, y)
    numpyro.deterministic("level", x.mean())
    numpyro.deterministic("pair", jnp.stack([s, 2 * s]))


def test_what_is_computed_from_parameters_may_be_given_with_them() -> None:
    plain = read(model, Y, {"s": 0.6}).system
    again = read(model, Y, {"s": 0.6, "variance": 0.36, "pair": np.array([0.6, 1.2])}).system
    np.testing.assert_array_equal(plain.Q, again.Q)
    with pytest.raises(DataError, match="no parameter 'level'"):
        read(model, Y, {"s": 0.6, "level": 1.0})


def test_they_are_computed_anew() -> None:
    reading = read(model, Y)
    found = computed_sites(reading, {"s": jnp.asarray(0.6)})
    assert set(found) == {"variance", "pair"}
    np.testing.assert_allclose(found["pair"], [0.6, 1.2])
    assert coordinates(reading).names == ("s",)


def test_the_marginal_program_has_no_site_of_the_states() -> None:
    density, trace = log_density(marginalize(model), (), Y, {"s": 0.6})
    assert np.isfinite(density)
    assert set(trace) == {"s", "variance", "pair", "log_predictive"}


@pytest.mark.slow
def test_nuts_on_the_parameters_keeps_them() -> None:
    posterior = nuts(num_warmup=20, num_samples=20, num_chains=1)(read(model, Y), jax.random.key(0))[
        "posterior"
    ].to_dataset()
    assert set(posterior.data_vars) == {"s", "variance", "pair"}
    np.testing.assert_allclose(posterior["variance"], posterior["s"] ** 2)
