"""Is the marginalised program the prior times the evidence, and is a given parameter gone?"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.control_flow import scan
from numpyro.infer import util

from ppl_worldmodel import given, marginalize, read
from ppl_worldmodel.exact import finite, gaussian
from ppl_worldmodel.exact.system import FiniteState
from ppl_worldmodel.models import nile, two_state_pomdp

from ..agreement import assert_logs_close, assert_probabilities_close

SEEN = np.array([0, 1, 1, 0, 1, 0])
TRUTH = two_state_pomdp.truth
VOLUMES = nile.data()["observations"][:12]
SCALES = {"level_scale": 40.0, "observation_scale": 120.0}
PROGRAMS: dict[str, tuple[Any, Any, Any, dict[str, dist.Distribution]]] = {
    "finite": (
        two_state_pomdp.model,
        SEEN,
        TRUTH,
        {"T": dist.Dirichlet(6 * np.eye(2) + 2).to_event(1), "O": dist.Dirichlet(8 * np.eye(2) + 4).to_event(1)},
    ),
    "gaussian": (
        nile.model,
        VOLUMES,
        SCALES,
        {"level_scale": dist.HalfNormal(100.0), "observation_scale": dist.HalfNormal(200.0)},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "gaps"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_marginalize_is_the_prior_times_the_evidence(name: str, gaps: bool) -> None:
    model, series, parameters, priors = PROGRAMS[name]
    data = {"observations": np.where(np.arange(len(series)) == 2, np.nan, series) if gaps else series}
    values = {site: jnp.asarray(value) for site, value in parameters.items()}
    marginal = marginalize(model)
    density = jax.jit(jax.value_and_grad(lambda values: util.log_density(marginal, (), data, values)[0]))
    log_density, gradient = density(values)
    system = read(model, data, parameters).system
    evidence = (finite if isinstance(system, FiniteState) else gaussian).evidence(system)
    log_prior = sum(priors[site].log_prob(value) for site, value in values.items())
    assert_logs_close(log_density, evidence.sum() + log_prior, "log density")
    for site, value in values.items():
        assert np.isfinite(gradient[site]).all()
        # A direction that keeps the sum of a row: from its first entry to its last.
        way = jnp.zeros(value.shape).at[..., 0].set(1.0).at[..., -1].set(-1.0) if value.ndim else jnp.ones(())
        step = 1e-5 * float(jnp.abs(value).max())
        ahead, back = (density(values | {site: value + sign * step * way})[0] for sign in (1, -1))
        np.testing.assert_allclose((gradient[site] * way).sum(), (ahead - back) / (2 * step), rtol=1e-6, err_msg=site)


def test_marginalize_has_one_factor_with_one_term_for_every_step() -> None:
    values = {site: jnp.asarray(value) for site, value in TRUTH.items()}
    program = handlers.substitute(marginalize(two_state_pomdp.model), data=values)
    trace = handlers.trace(handlers.seed(program, 0)).get_trace(observations=SEEN)
    assert {name for name, site in trace.items() if site["type"] == "sample"} == {"T", "O", "log_predictive"}
    expected = finite.evidence(read(two_state_pomdp.model, {"observations": SEEN}, TRUTH).system)
    assert_logs_close(trace["log_predictive"]["fn"].log_factor, expected, "log predictive of every step")


def test_marginalize_has_a_finite_gradient_where_the_program_has_constant_zeros() -> None:
    def model(observations: Any) -> None:
        p = numpyro.sample("p", dist.Beta(2.0, 2.0))
        T = jnp.stack([jnp.stack([p, 1 - p, 0 * p]), jnp.array([0.0, 0.5, 0.5]), jnp.array([1.0, 0.0, 0.0])])

        def step(state: Any, seen: Any) -> Any:
            state = numpyro.sample("state", dist.Categorical(T[state]))
            chances = jnp.stack([jnp.stack([p, 1 - p]), jnp.array([1.0, 0.0]), jnp.array([0.3, 0.7])])
            numpyro.sample("seen", dist.Categorical(chances[state]), obs=seen)
            return state, None

        scan(step, jnp.array(0), observations)

    density = jax.jit(
        jax.value_and_grad(lambda p: util.log_density(marginalize(model), (), {"observations": SEEN}, {"p": p})[0])
    )
    slope = (density(0.4 + 1e-5)[0] - density(0.4 - 1e-5)[0]) / 2e-5
    np.testing.assert_allclose(density(0.4)[1], slope, rtol=1e-6)


def test_given_removes_a_parameter_and_its_prior() -> None:
    data = {"observations": SEEN}
    fixed = given(two_state_pomdp.model, {"T": TRUTH["T"]})
    system = read(fixed, data, {"O": TRUTH["O"]}).system
    assert_probabilities_close(system.transition, TRUTH["T"], "T")
    assert "'T'" not in repr(system)
    trace = handlers.trace(handlers.seed(fixed, 0)).get_trace(**data)
    assert "T" not in trace
    assert "O" in trace
    all_fixed = given(two_state_pomdp.model, TRUTH)
    log_density, _ = util.log_density(marginalize(all_fixed), (), data, {})
    whole = read(two_state_pomdp.model, data, TRUTH).system
    assert_logs_close(log_density, finite.evidence(whole).sum(), "log density")
