"""Do the linear-Gaussian oracles agree with each other, and with arithmetic done by hand?"""

from collections.abc import Callable
from fractions import Fraction
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
both_have = ["log_predictive", "predicted_mean", "predicted_covariance", "filtered_mean", "filtered_covariance"]
sites = {"state_site": "x", "initial_site": "x0", "observed_site": "y", "observed_argument": "observations"}


def assert_close(found: Any, expected: Any, name: str = "") -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10, err_msg=name)


def random_system(
    seed: int, *, num_steps: int, dim_x: int, dim_y: int, singular: bool = False
) -> dict[str, Any]:
    """Matrices that change with time; `singular`: a known start and noise in one direction only."""
    rng = np.random.default_rng(seed)

    def covariances(size: int, rank: int) -> np.ndarray:
        root = rng.normal(size=(num_steps, size, rank))
        return root @ root.swapaxes(1, 2) + (0.5 * np.eye(size) if rank == size else 0)

    return dict(
        initial_mean=rng.normal(size=dim_x), initial_covariance=np.zeros((dim_x, dim_x)) if singular else 2 * np.eye(dim_x),
        A=0.7 * rng.normal(size=(num_steps, dim_x, dim_x)), b=rng.normal(size=(num_steps, dim_x)),
        Q=covariances(dim_x, 1 if singular else dim_x), C=rng.normal(size=(num_steps, dim_y, dim_x)),
        d=rng.normal(size=(num_steps, dim_y)), R=covariances(dim_y, dim_y),
    )  # fmt: skip


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

        first = numpyro.sample(
            "x0", dist.MultivariateNormal(system["initial_mean"], system["initial_covariance"])
        )
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
        np.testing.assert_allclose(
            getattr(found, name), rational.floats(getattr(exact, name)), err_msg=name, **close
        )
    assert_close([found.log_evidence, found.log_predictive.sum()], exact.log_evidence)
    swapped = rational.kalman_filter(y, **system, emission_first=not emission_first)
    assert abs(swapped.log_evidence - exact.log_evidence) > 1e-3


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


def test_rational_scalar_by_hand() -> None:
    # Prior N(0, 1), y = x + noise of variance 1/3, y = 2: S = 4/3, gain 3/4. Then x moves by noise of variance 1/4.
    quarter, third = Fraction(1, 4), Fraction(1, 3)
    system = dict(A=[[[1]]] * 2, b=[[0]] * 2, Q=[[[quarter]]] * 2, C=[[[1]]] * 2, d=[[0]] * 2, R=[[[third]]] * 2)
    found = rational.kalman_filter(
        [[2], [None]], initial_mean=[0], initial_covariance=[[1]], emission_first=True, **system
    )
    assert found.filtered_mean == [[Fraction(3, 2)]] * 2 and found.filtered_covariance[0] == [
        [Fraction(1, 4)]
    ]
    assert found.predicted_covariance[1] == [[Fraction(1, 2)]] and found.quadratic == [3, 0]
    assert found.log_evidence == pytest.approx(-(np.log(2 * np.pi * 4 / 3) + 3) / 2, rel=1e-15)


def test_rational_keeps_a_wide_prior_with_small_noise() -> None:
    system = dict(
        A=[[[1.0]]] * 3, b=[[0.0]] * 3, Q=[[[0.0]]] * 3, C=[[[1.0]]] * 3, d=[[0.0]] * 3, R=[[[1e-20]]] * 3
    )
    y = [[1.0]] * 3
    found = rational.kalman_filter(
        y, initial_mean=[0.0], initial_covariance=[[1e20]], emission_first=True, **system
    )
    exact_third = 1 / (Fraction(3) / Fraction(1e-20) + 1 / Fraction(1e20))
    assert found.filtered_covariance[-1] == [[exact_third]]
