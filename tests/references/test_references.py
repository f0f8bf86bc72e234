"""Do the linear-Gaussian oracles agree with each other?"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan

from . import dense, rational

numpyro.enable_x64()
both_orders = pytest.mark.parametrize("emission_first", [False, True])
both_have = [
    "log_predictive",
    "predicted_mean",
    "predicted_covariance",
    "filtered_mean",
    "filtered_covariance",
]
sites = {"state_site": "x", "initial_site": "x0", "observed_site": "y", "observed_argument": "observations"}


def assert_close(found: Any, expected: Any, name: str = "") -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10, err_msg=name)


def random_system(seed: int, *, num_steps: int, dim_x: int, dim_y: int, singular: bool = False) -> dict[str, Any]:
    """Matrices that change with time; `singular`: a known start and noise in one direction only."""
    rng = np.random.default_rng(seed)

    def covariances(size: int, rank: int) -> np.ndarray:
        root = rng.normal(size=(num_steps, size, rank))
        return root @ root.swapaxes(1, 2) + (0.5 * np.eye(size) if rank == size else 0)

    return {
        "initial_mean": rng.normal(size=dim_x),
        "initial_covariance": np.zeros((dim_x, dim_x)) if singular else 2 * np.eye(dim_x),
        "A": 0.7 * rng.normal(size=(num_steps, dim_x, dim_x)),
        "b": rng.normal(size=(num_steps, dim_x)),
        "Q": covariances(dim_x, 1 if singular else dim_x),
        "C": rng.normal(size=(num_steps, dim_y, dim_x)),
        "d": rng.normal(size=(num_steps, dim_y)),
        "R": covariances(dim_y, dim_y),
    }


def gaps(y: np.ndarray) -> np.ndarray:
    y = y.copy()
    y[1, 0] = y[3] = np.nan
    return y


def linear(system: dict[str, Any], emission_first: bool) -> Callable[..., None]:
    """The system as a NumPyro program with one learned scale, `unit`."""

    def model(observations: Any) -> None:
        unit = numpyro.sample("unit", dist.LogNormal(0.0, 1.0))

        def step(old: Any, inputs: Any) -> Any:
            A, b, Q, C, d, R, y = inputs
            new = numpyro.sample("x", dist.MultivariateNormal(A @ old + b, Q * unit))
            numpyro.sample("y", dist.MultivariateNormal(C @ (old if emission_first else new) + d, R), obs=y)
            return new, None

        first = numpyro.sample("x0", dist.MultivariateNormal(system["initial_mean"], system["initial_covariance"]))
        scan(step, first, tuple(jnp.asarray(system[name]) for name in "AbQCdR") + (observations,))

    return model


@both_orders
@pytest.mark.parametrize("singular", [False, True])
@pytest.mark.parametrize(("dim_x", "dim_y"), [(1, 1), (3, 2), (2, 3)])
def test_dense_equals_rational(dim_x: int, dim_y: int, singular: bool, emission_first: bool) -> None:
    system = random_system(dim_x, num_steps=5, dim_x=dim_x, dim_y=dim_y, singular=singular)
    y = gaps(np.random.default_rng(9).normal(size=(5, dim_y)))
    whole = dense.joint(**system, emission_first=emission_first)
    found = dense.posterior(whole, y, dim_x=dim_x, emission_first=emission_first)
    exact = rational.kalman_filter(y, **system, emission_first=emission_first)
    for name in both_have:
        assert_close(getattr(found, name), rational.floats(getattr(exact, name)), name)
    assert_close([found.log_evidence, found.log_predictive.sum()], exact.log_evidence)
    swapped = rational.kalman_filter(y, **system, emission_first=not emission_first)
    assert abs(swapped.log_evidence - exact.log_evidence) > 1e-3


@both_orders
def test_smoothing_is_filtering_a_state_that_remembers(emission_first: bool) -> None:
    T, dim = 4, 2
    system = random_system(5, num_steps=T, dim_x=dim, dim_y=1)
    y = gaps(np.random.default_rng(7).normal(size=(T, 1)))
    whole = dense.joint(**system, emission_first=emission_first)
    found = dense.posterior(whole, y, dim_x=dim, emission_first=emission_first)
    # The whole path is one state: step t writes block t + 1 and leaves the others alone.
    size = (T + 1) * dim
    path: dict[str, Any] = {"A": np.tile(np.eye(size), (T, 1, 1)), "C": np.zeros((T, 1, size))}
    path |= {"b": np.zeros((T, size)), "Q": np.zeros((T, size, size)), "d": system["d"], "R": system["R"]}
    path |= {"initial_mean": np.zeros(size), "initial_covariance": np.zeros((size, size))}
    path["initial_mean"][:dim], path["initial_covariance"][:dim, :dim] = (
        system["initial_mean"],
        2 * np.eye(dim),
    )
    blocks = [slice(t * dim, (t + 1) * dim) for t in range(T + 1)]
    emitting = blocks[:-1] if emission_first else blocks[1:]
    for t, (old, new) in enumerate(pairwise(blocks)):
        path["A"][t, new, new], path["A"][t, new, old] = 0, system["A"][t]
        path["b"][t, new], path["Q"][t, new, new] = system["b"][t], system["Q"][t]
        path["C"][t, :, emitting[t]] = system["C"][t]
    exact = rational.kalman_filter(y, **path, emission_first=emission_first)
    mean, covariance = (np.array(rational.floats(v[-1])) for v in (exact.filtered_mean, exact.filtered_covariance))
    known = emitting[-1].stop  # where the step emits first, the filter stops before it writes the last block
    assert_close(found.path_mean.ravel()[:known], mean[:known])
    assert_close(found.path_covariance.reshape(size, size)[:known, :known], covariance[:known, :known])
    assert_close(found.smoothed_mean, [mean[e] for e in emitting])
    assert_close(found.smoothed_covariance, [covariance[e, e] for e in emitting])
    assert_close(found.pairwise_covariance, [covariance[e, f] for e, f in pairwise(emitting)])


@pytest.mark.nightly
@both_orders
def test_dense_equals_the_program_alone(emission_first: bool) -> None:
    system = random_system(4, num_steps=5, dim_x=2, dim_y=2)
    y = gaps(np.random.default_rng(8).normal(size=(5, 2)))
    whole = dense.joint(**{**system, "Q": 1.7 * system["Q"]}, emission_first=emission_first)
    expected = dense.posterior(whole, y, dim_x=2, emission_first=emission_first)
    program, data = linear(system, emission_first), {"observations": y}
    found = dense.from_program(program, data, {"unit": 1.7}, emission_first=emission_first, **sites)
    for name, value in found._asdict().items():
        assert_close(value, getattr(expected, name), name)
    assert_close(found.log_predictive.sum(), found.log_evidence)


def test_from_program_refuses_a_program_that_is_not_gaussian() -> None:
    def model(observations: Any) -> None:
        def step(x: Any, y: Any) -> Any:
            x = numpyro.sample("x", dist.Normal(jnp.sin(x), 1.0))
            numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
            return x, None

        scan(step, numpyro.sample("x0", dist.Normal(0.0, 1.0)), observations)

    with pytest.raises(ValueError, match="not quadratic"):
        dense.from_program(model, {"observations": np.zeros(3)}, {}, emission_first=False, **sites)


def test_from_program_with_scalar_sites_and_a_known_start() -> None:
    def model(observations: Any) -> None:
        def step(x: Any, y: Any) -> Any:
            x = numpyro.sample("x", dist.Normal(x, 2.0))
            numpyro.sample("y", dist.Normal(x, 0.5), obs=y)
            return x, None

        scan(step, 3.0, observations)

    y = np.array([1.0, np.nan, 4.0])
    changed: dict[str, Any] = {**sites, "initial_site": None}
    found = dense.from_program(model, {"observations": y}, {}, emission_first=False, **changed)
    one = {"A": [[1]], "b": [0], "Q": [[4.0]], "C": [[1]], "d": [0], "R": [[0.25]]}
    system: dict[str, Any] = {name: [matrix] * 3 for name, matrix in one.items()}
    exact = rational.kalman_filter(
        y[:, None], initial_mean=[3.0], initial_covariance=[[0.0]], emission_first=False, **system
    )
    for name in both_have:
        assert_close(getattr(found, name), rational.floats(getattr(exact, name)), name)
    assert_close(found.log_evidence, exact.log_evidence)
