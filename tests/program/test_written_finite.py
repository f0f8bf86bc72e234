"""Is every way of writing a finite-state program read exactly?  Against all values of all its sites, listed."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import handlers
from numpyro.infer import MCMC, NUTS
from numpyro.infer.util import log_density

from ppl_worldmodel import marginalize, read
from ppl_worldmodel.exact import FiniteState, finite
from ppl_worldmodel.program.intercept import starting_sites

from ..agreement import assert_logs_close, assert_probabilities_close
from ..references.enumeration import enumerate_program
from .contract import draw_parameters
from .written_finite import WRITTEN, Written

every_way = pytest.mark.parametrize("name", WRITTEN)


def parameters_of(written: Written, seed: int) -> dict[str, Any]:
    return draw_parameters(written.model, written.data, starting_sites(written.model, written.data).sites, seed)


@every_way
def test_beliefs_and_evidence(name: str) -> None:
    written = WRITTEN[name]
    parameters = parameters_of(written, 1)
    system = read(written.model, written.data, parameters)
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


@every_way
def test_nuts_runs_on_the_marginal(name: str) -> None:
    written = WRITTEN[name]
    mcmc = MCMC(NUTS(marginalize(written.model)), num_warmup=20, num_samples=20, progress_bar=False)
    mcmc.run(jax.random.key(0), **written.data)
    draws = mcmc.get_samples()
    assert draws
    assert all(np.isfinite(values).all() for values in draws.values())
    trace = handlers.trace(handlers.seed(marginalize(written.model), 0)).get_trace(**written.data)
    assert not set(written.latents) & {site for site, found in trace.items() if found["type"] == "sample"}
