"""Is every way of writing a linear-Gaussian program read exactly?  Against the Hessian of its log density."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.control_flow import scan
from numpyro.infer import MCMC, NUTS
from numpyro.infer.util import log_density

from ppl_worldmodel import marginalize, read
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.exact import LinearGaussian, gaussian
from ppl_worldmodel.program.start import starting_sites

from ..agreement import assert_covariances_close, assert_logs_close, assert_means_close
from ..references.quadratic import ProgramMoments, solve_program
from .contract import draw_parameters
from .test_written_finite import some
from .written_gaussian import WRITTEN, Written

every_way = pytest.mark.parametrize("name", WRITTEN)


def parameters_of(written: Written, seed: int) -> dict[str, Any]:
    return draw_parameters(written.model, written.data, starting_sites(written.model, written.data).sites, seed)


@pytest.mark.slow
@every_way
def test_beliefs_and_evidence(name: str) -> None:
    written = WRITTEN[name]
    parameters = parameters_of(written, 1)
    system = read(written.model, written.data, parameters).system
    assert isinstance(system, LinearGaussian)
    assert (system.structure.order, system.structure.sequences) == (written.order, written.sequences)
    expected = solve_program(written.model, written.data, parameters, written.latents)
    found = gaussian.smooth(system)._asdict()
    series = {
        field: np.asarray(value) if written.sequences else np.asarray(value)[None] for field, value in found.items()
    }
    assert_logs_close(series["log_predictive"].sum(axis=0), expected.log_predictive, "log predictive")
    size = expected.filtered_mean.shape[-1] // max(1, written.sequences)
    for n in range(max(1, written.sequences)):
        assert_moments({field: value[n] for field, value in series.items()}, expected, n * size, size)


def assert_moments(found: dict[str, Any], expected: ProgramMoments, start: int, size: int) -> None:
    """The coordinates from `start` on are the first ones of the state; what a density does not reach is not compared."""
    part = slice(start, start + size)
    for kind in ("predicted", "filtered", "smoothed"):
        mean = getattr(expected, f"{kind}_mean")[:, part]
        covariance = getattr(expected, f"{kind}_covariance")[:, part, part]
        known = np.isfinite(mean).all(axis=-1)
        assert known.any()
        found_mean, found_covariance = found[kind][:, :size], found[f"{kind}_covariance"][:, :size, :size]
        assert_means_close(found_mean[known], mean[known], covariance[known], f"{kind} mean")
        assert_covariances_close(
            found_covariance[known], covariance[known], covariance[known], covariance[known], f"{kind} covariance"
        )


@pytest.mark.slow
@every_way
def test_gradient_of_the_marginal(name: str) -> None:
    """Exact to 1e-6 against differences in float64, with gaps, known and flat starts, singular noise."""
    written = WRITTEN[name]
    parameters = parameters_of(written, 2)
    marginal = marginalize(written.model)
    density = jax.jit(jax.value_and_grad(lambda values: log_density(marginal, (), dict(written.data), values)[0]))
    values = {site: jnp.asarray(value) for site, value in parameters.items()}
    if not values:
        return
    _, gradient = density(values)
    for site, value in values.items():
        way, step = jnp.linspace(1.0, 2.0, value.size).reshape(value.shape), 1e-5
        ahead, back = (density(values | {site: value + sign * step * way})[0] for sign in (1, -1))
        slope = (ahead - back) / (2 * step)
        np.testing.assert_allclose((gradient[site] * way).sum(), slope, rtol=1e-6, atol=1e-6, err_msg=site)


LEARNED = [name for name in WRITTEN if parameters_of(WRITTEN[name], 0)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [some(name, {"non-centred", "diffuse level", "plate"}) for name in LEARNED])
def test_nuts_runs_on_the_marginal(name: str) -> None:
    written = WRITTEN[name]
    mcmc = MCMC(NUTS(marginalize(written.model)), num_warmup=20, num_samples=20, progress_bar=False)
    mcmc.run(jax.random.key(0), **written.data)
    assert all(np.isfinite(values).all() for values in mcmc.get_samples().values())
    trace = handlers.trace(handlers.seed(marginalize(written.model), 0)).get_trace(**written.data)
    assert not set(written.latents) & {site for site, found in trace.items() if found["type"] == "sample"}


@pytest.mark.slow
@pytest.mark.parametrize("flag", [False, True])
def test_a_flat_start_that_nothing_determines_is_an_error(flag: bool) -> None:
    """One observation does not tell a level and a slope."""
    written = WRITTEN["diffuse trend"]
    y = np.where(np.arange(6) > (1 if flag else 0), np.nan, written.data["y"])
    if flag:
        read(written.model, {"y": y})
    else:
        with pytest.raises(DataError, match=r"do not determine the diffuse first state \('start'"):
            read(written.model, {"y": y})


@pytest.mark.slow
@pytest.mark.parametrize("infinite", [False, True])
def test_an_infinite_variance_is_a_flat_start(infinite: bool) -> None:
    """And the limit of wide ones, with the constant that exact.diffuse states."""

    def program(start: dist.Distribution) -> Any:
        def model(y: Any) -> None:
            def step(x: Any, y: Any) -> Any:
                x = numpyro.sample("x", dist.Normal(x, 0.5))
                numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
                return x, None

            scan(step, numpyro.sample("x0", start), y)

        return model

    data = {"y": WRITTEN["diffuse level"].data["y"]}
    flat = gaussian.smooth(read(program(dist.ImproperUniform(dist.constraints.real, (), ())), data).system)
    wide = 1e4
    other = gaussian.smooth(read(program(dist.Normal(0.0, jnp.inf if infinite else wide)), data).system)
    constant = 0.0 if infinite else 0.5 * np.log(2 * np.pi * wide**2)
    rtol = 1e-12 if infinite else 1e-7
    np.testing.assert_allclose(other.log_evidence + constant, flat.log_evidence, rtol=rtol)
    np.testing.assert_allclose(other.smoothed, flat.smoothed, rtol=rtol)
    np.testing.assert_allclose(other.smoothed_covariance, flat.smoothed_covariance, rtol=rtol)
