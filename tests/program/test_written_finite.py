"""Is every way of writing a finite-state program read exactly?  Against all values of all its sites, listed."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax.flatten_util import ravel_pytree
from numpyro import handlers
from numpyro.contrib.control_flow import scan
from numpyro.infer import MCMC, NUTS, init_to_value
from numpyro.infer.util import initialize_model, log_density

from ppl_worldmodel import marginalize, read
from ppl_worldmodel.exact import FiniteState, finite
from ppl_worldmodel.program.start import starting_sites

from ..agreement import assert_logs_close, assert_probabilities_close
from ..references.enumeration import enumerate_program
from .contract import draw_parameters
from .written_finite import WRITTEN, Written


def some(name: str, quick: set[str]) -> Any:
    """The case, left to the nightly run if it is not one of the quick ones."""
    return name if name in quick else pytest.param(name, marks=pytest.mark.nightly)


every_way = pytest.mark.parametrize("name", WRITTEN)


def parameters_of(written: Written, seed: int) -> dict[str, Any]:
    return draw_parameters(written.model, written.data, starting_sites(written.model, written.data).sites, seed)


@pytest.mark.slow
@every_way
def test_beliefs_and_evidence(name: str) -> None:
    written = WRITTEN[name]
    parameters = parameters_of(written, 1)
    system = read(written.model, written.data, parameters).system
    assert isinstance(system, FiniteState)
    listed = enumerate_program(
        written.model, written.data, parameters, written.latents, sequence_axis=written.sequences
    )
    found = finite.smooth(system)
    assert system.structure.order == written.order
    series = [(listed, found)]
    if written.sequences:
        count = system.structure.sequences
        series = [(listed.sequences[n], jax.tree.map(lambda leaf, n=n: leaf[n], found)) for n in range(count)]
    for expected, beliefs in series:
        assert_logs_close(beliefs.log_predictive, expected.log_predictive, "log predictive")
        for kind in ("predicted", "filtered", "smoothed"):
            for t, belief in enumerate(getattr(beliefs, kind)):
                assert_listed(belief, system.structure.labels, getattr(expected, kind)[t], f"{kind} {t}")


def assert_listed(belief: Any, labels: Any, expected: Mapping[tuple, float], what: str) -> None:
    """The probability of every listed state; states of probability zero need not be listed."""
    indices = {tuple(label): k for k, label in enumerate(labels)}
    values = np.zeros(len(labels))
    for state, probability in expected.items():
        values[indices[state]] = probability
    assert_probabilities_close(belief, values, what)


@pytest.mark.slow
@every_way
def test_gradient_of_the_marginal(name: str) -> None:
    """Exact to 1e-6 against differences in float64, zeros and gaps included."""
    written = WRITTEN[name]
    parameters = parameters_of(written, 2)
    marginal = marginalize(written.model)
    density = jax.jit(jax.value_and_grad(lambda values: log_density(marginal, (), dict(written.data), values)[0]))
    values = {site: jnp.asarray(value) for site, value in parameters.items() if np.asarray(value).dtype.kind == "f"}
    if not values:
        return
    _, gradient = density(values)
    for site, value in values.items():
        way = jnp.zeros(value.shape).at[..., 0].set(1.0).at[..., -1].add(-1.0) if site == "T" else jnp.ones(value.shape)
        step = 1e-5 * min(1.0, float(jnp.abs(value).min()))
        ahead, back = (density(values | {site: value + sign * step * way})[0] for sign in (1, -1))
        np.testing.assert_allclose(
            (gradient[site] * way).sum(), (ahead - back) / (2 * step), rtol=1e-6, atol=1e-7, err_msg=site
        )


@pytest.mark.nightly
def test_a_learned_T_with_zeros_has_finite_gradients_from_any_start() -> None:
    """Points far out in the unconstrained space, where NUTS may be started; zeros of T, of the start and of the emission."""

    def model(y: Any) -> None:
        free = numpyro.sample("free", dist.Dirichlet(jnp.ones((2, 2))).to_event(1))
        T = jnp.zeros((3, 3)).at[0, :2].set(free[0]).at[1, 1:].set(free[1]).at[2, 2].set(1.0)
        seen = numpyro.sample("seen", dist.Dirichlet(jnp.ones(2)))
        O = jnp.stack([jnp.array([1.0, 0.0, 0.0]), jnp.zeros(3).at[1:].set(seen), jnp.array([0.2, 0.3, 0.5])])

        def step(s: Any, y: Any) -> Any:
            s = numpyro.sample("s", dist.Categorical(T[s]))
            numpyro.sample("y", dist.Categorical(O[s]), obs=y)
            return s, None

        scan(step, 0, y)

    data = {"y": np.array([0.0, 0.0, np.nan, 2.0, 1.0, 2.0])}
    marginal = marginalize(model)
    start = initialize_model(jax.random.key(0), lambda: marginal(**data), dynamic_args=False)
    flat, unravel = ravel_pytree(start.param_info.z)
    density = jax.jit(jax.value_and_grad(lambda point: start.potential_fn(unravel(point))))
    for seed in range(20):
        value, gradient = density(8.0 * jax.random.normal(jax.random.key(seed), flat.shape))
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
    far = init_to_value(values=start.postprocess_fn(unravel(jnp.full_like(flat, 6.0))))
    mcmc = MCMC(NUTS(marginal, init_strategy=far), num_warmup=100, num_samples=100, progress_bar=False)
    mcmc.run(jax.random.key(1), **data)
    assert float(np.ptp(mcmc.get_samples()["free"], axis=0).max()) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [some(name, {"factorial", "zeros, time, last observation", "plate"}) for name in WRITTEN]
)
def test_nuts_runs_on_the_marginal(name: str) -> None:
    written = WRITTEN[name]
    mcmc = MCMC(NUTS(marginalize(written.model)), num_warmup=20, num_samples=20, progress_bar=False)
    mcmc.run(jax.random.key(0), **written.data)
    draws = mcmc.get_samples()
    assert draws
    assert all(np.isfinite(values).all() for values in draws.values())
    trace = handlers.trace(handlers.seed(marginalize(written.model), 0)).get_trace(**written.data)
    assert not set(written.latents) & {site for site, found in trace.items() if found["type"] == "sample"}
