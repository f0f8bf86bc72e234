"""Are particles judged: too few of them, a wrong evidence?  And other exact answers, and chains that cannot move?"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.contrib.control_flow import scan

from ppl_worldmodel import exact_engine, gibbs, read, smc
from ppl_worldmodel.checks import convergence, evidence

KEY = jax.random.key(4)
Y = np.array([0.1, 1.4, 0.9, -0.8, 1.2, 1.1, -0.3, 0.2])


def chain(y: Any, stay: float = 0.8) -> None:
    T = jnp.array([[stay, 1.0 - stay], [1.0 - stay, stay]])

    def step(s: Any, y: Any) -> Any:
        s = numpyro.sample("s", dist.Categorical(T[s]))
        numpyro.sample("y", dist.Normal(2.0 * s, 0.7), obs=y)
        return s, None

    scan(step, numpyro.sample("s0", dist.Categorical(jnp.array([0.3, 0.7]))), y)


@pytest.fixture(scope="module")
def exact() -> xr.DataTree:
    return exact_engine()(read(chain, {"y": Y}, {}), KEY)


@pytest.fixture(scope="module")
def particles() -> xr.DataTree:
    return smc()(read(chain, {"y": Y}, {}, exactly=False), KEY)


@pytest.mark.slow
def test_enough_particles_agree(particles: xr.DataTree, exact: xr.DataTree) -> None:
    assert [row.verdict for row in convergence.findings(particles)] == ["agrees"]
    assert [row.verdict for row in evidence.findings(particles, exact)] == ["agrees"]


@pytest.mark.slow
def test_few_particles_are_undecided_and_say_how_many_would_do() -> None:
    (found,) = convergence.findings(smc(num_particles=30)(read(chain, {"y": Y}, {}, exactly=False), KEY))
    assert found.verdict == "undecided"
    assert "particles would do" in found.why


def test_the_evidence_of_another_model_disagrees(particles: xr.DataTree) -> None:
    other = exact_engine()(read(chain, {"y": Y, "stay": 0.6}, {}), KEY)
    (found,) = evidence.findings(particles, other)
    assert found.verdict == "disagrees"


@pytest.mark.parametrize(("off", "verdict"), [(1e-6, "agrees"), (0.3, "disagrees"), (np.nan, "disagrees")])
def test_another_exact_evidence(exact: xr.DataTree, off: float, verdict: str) -> None:
    candidate = exact.copy()
    candidate.attrs = exact.attrs | {"log_evidence": exact.attrs["log_evidence"] + off}
    (found,) = evidence.findings(candidate, exact)
    assert found.verdict == verdict


@pytest.mark.slow
def test_a_chain_that_never_moves_is_not_converged() -> None:
    """A state that stays for ever: one at a time it cannot be changed, whatever the data say."""
    sampled = gibbs(num_samples=200, num_warmup=10)(read(chain, {"y": Y, "stay": 1.0}, {}), KEY)
    (found,) = convergence.findings(sampled)
    assert found.verdict != "agrees", found.why
