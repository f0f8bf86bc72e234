"""Do the oracles agree with each other, and with arithmetic done by hand?"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from numpyro.infer.util import log_density

from . import dense, paths, rational

numpyro.enable_x64()
close = dict(rtol=1e-10, atol=1e-10)
both_orders = pytest.mark.parametrize("emission_first", [False, True])
beliefs = ["log_predictive", "predicted_mean", "predicted_covariance", "filtered_mean", "filtered_covariance"]
gaussian_sites = dict(state_site="x", initial_site="x0", observed_site="y", observed_argument="observations")
finite_sites = dict(state_site="state", initial_site="initial_state")


def chain(T: Any, O: Any, observations: Any, num_steps: int = 2, emission_first: bool = False, memory: float = 0.0) -> None:  # noqa: E741
    """A finite-state program with a learned O; `memory` mixes the previous observation into the next one."""
    T, O = jnp.asarray(T), numpyro.sample("O", dist.Dirichlet(jnp.ones(jnp.shape(O))).to_event(1))  # noqa: E741

    def step(carry: Any, y: Any) -> Any:
        old, last = carry
        new = numpyro.sample("state", dist.Categorical(T[old]))
        source = old if emission_first else new
        shown = (1 - memory) * O[source] + memory * jnp.eye(O.shape[-1])[last]
        y = y.astype(int)
        numpyro.sample("observation", dist.Categorical(shown), obs=y)
        return (new, y), None

    initial = numpyro.sample("initial_state", dist.Categorical(jnp.full(len(T), 1 / len(T))))
    scan(step, (initial, 0), jnp.asarray(observations, dtype=float), length=num_steps)


T2, O2 = np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([[0.8, 0.2], [0.3, 0.7]])


def run_chain(T: Any, O: Any, y: Any, *, emission_first: bool = False, memory: float = 0.0) -> paths.PathPosterior:  # noqa: E741
    data = dict(T=T, O=O, observations=y, num_steps=len(y), emission_first=emission_first, memory=memory)
    names = ("T", "O", "num_steps", "emission_first", "memory")
    fixed = {name: data.pop(name) for name in names}
    return paths.enumerate_paths(
        lambda observations: chain(observations=observations, **fixed), data, {"O": O}, observed={"observation": y},
        num_states=len(T), num_steps=len(y), emission_first=emission_first, **finite_sites,
    )  # fmt: skip


def test_paths_equal_two_steps_by_hand() -> None:
    found = run_chain(T2, O2, np.array([0.0, 1.0]))
    # Uniform start and symmetric T: s_1 is uniform. Rows of O at the data: y_1 = 0 (0.8, 0.3), y_2 = 1 (0.2, 0.7).
    one, other = 0.5 * 0.8, 0.5 * 0.3
    pair = np.array([[one * 0.9 * 0.2, one * 0.1 * 0.7], [other * 0.1 * 0.2, other * 0.9 * 0.7]])
    evidence = 0.072 + 0.028 + 0.003 + 0.0945
    np.testing.assert_allclose(found.log_evidence, np.log(evidence), **close)
    np.testing.assert_allclose(found.log_predictive, np.log([0.55, evidence / 0.55]), **close)
    np.testing.assert_allclose(found.pairwise, [pair / evidence], **close)
    np.testing.assert_allclose(found.predicted, [[0.5, 0.5], [0.375 / 0.55, 0.175 / 0.55]], **close)
    np.testing.assert_allclose(found.filtered, [[0.4 / 0.55, 0.15 / 0.55], [0.075 / evidence, 0.1225 / evidence]], **close)
    np.testing.assert_allclose(found.smoothed, [pair.sum(1) / evidence, pair.sum(0) / evidence], **close)
    np.testing.assert_allclose(found.path_smoothed, found.smoothed, **close)
    # p(s_0 = 0, y) = 0.9 p(s_1 = 0, y) + 0.1 p(s_1 = 1, y), as T is symmetric and both are uniform beforehand.
    np.testing.assert_allclose(found.smoothed_initial[0], (0.9 * 0.1 + 0.1 * 0.0975) / evidence, **close)


def test_paths_emission_first_by_hand() -> None:
    found = run_chain(T2, O2, np.array([0.0, 1.0]), emission_first=True)
    evidence = 0.072 + 0.028 + 0.003 + 0.0945  # the same pair of states, now (s_0, s_1)
    np.testing.assert_allclose(found.log_evidence, np.log(evidence), **close)
    np.testing.assert_allclose(found.smoothed[0], [0.1 / evidence, 0.0975 / evidence], **close)
    np.testing.assert_allclose(found.smoothed_initial, found.smoothed[0], **close)
    np.testing.assert_allclose(found.path_smoothed[0], found.smoothed[1], **close)
    np.testing.assert_allclose(found.path_smoothed[1], found.smoothed[1] @ T2, **close)


def test_paths_missing_observation_is_the_sum_over_its_values() -> None:
    gap = run_chain(T2, O2, np.array([0.0, np.nan, 1.0]))
    whole = [run_chain(T2, O2, np.array([0.0, y, 1.0])).log_evidence for y in (0.0, 1.0)]
    np.testing.assert_allclose(np.exp(gap.log_evidence), np.exp(whole).sum(), **close)
    np.testing.assert_allclose(gap.filtered[1], gap.predicted[1], **close)
    assert gap.log_predictive[1] == pytest.approx(0.0, abs=1e-14)


def test_paths_three_states_eight_steps() -> None:
    rng = np.random.default_rng(0)
    T, O = rng.dirichlet(np.ones(3), 3), rng.dirichlet(np.ones(4), 3)  # noqa: E741
    T[0] = [0.0, 0.4, 0.6]
    y = np.array([0, 3, 1, np.nan, 2, 2, 0, 1])
    found = run_chain(T, O, y)
    assert found.path.shape == (3**9, 9)
    assert found.pairwise[:, 0, 0].max() == 0
    np.testing.assert_allclose(found.pairwise.sum(2), found.path_smoothed[:-1], **close)
    np.testing.assert_allclose(found.pairwise.sum(1), found.path_smoothed[1:], **close)
    np.testing.assert_allclose(found.filtered[-1], found.smoothed[-1], **close)
    np.testing.assert_allclose(found.log_predictive.sum(), found.log_evidence, **close)


def test_path_weight_is_the_log_density_of_the_program() -> None:
    y = np.array([0.0, 1.0, 1.0])
    found = run_chain(T2, O2, y)
    prior = float(dist.Dirichlet(jnp.ones(2)).log_prob(O2).sum())
    for row in (0, 5, 15):
        latent = {"O": O2, "initial_state": found.path[row, 0], "state": found.path[row, 1:]}
        whole, _ = log_density(chain, (), dict(T=T2, O=O2, observations=y, num_steps=3), latent)
        np.testing.assert_allclose(found.log_joint[row] + prior, whole, **close)


def test_paths_impossible_data() -> None:
    found = run_chain(np.eye(2), np.eye(2), np.array([0.0, 1.0, 1.0]))
    assert found.log_evidence == -np.inf
    np.testing.assert_array_equal(found.log_predictive[:2], [np.log(0.5), -np.inf])
    np.testing.assert_array_equal(found.filtered[0], [1, 0])
    assert np.isnan(found.smoothed).all()


def test_paths_refuse_what_they_cannot_do() -> None:
    remembers = run_chain(T2, O2, np.array([0.0, 1.0, 1.0]), memory=0.5)
    assert np.isfinite(remembers.log_evidence)
    with pytest.raises(ValueError, match="depends on a missing value"):
        run_chain(T2, O2, np.array([0.0, np.nan, 1.0]), memory=0.5)
    y = np.array([0.0, 1.0])
    call = dict(finite_sites, num_steps=2, emission_first=False)
    data = dict(T=T2, O=O2, observations=y)
    with pytest.raises(ValueError, match="`observed` lists"):
        paths.enumerate_paths(lambda: chain(**data), {}, {"O": O2}, observed={"other": y}, num_states=2, **call)
    with pytest.raises(ValueError, match="do not cover"):
        paths.enumerate_paths(lambda: chain(**data), {}, {"O": O2}, observed={"observation": y}, num_states=1, **call)


def random_system(seed: int, *, num_steps: int, dim_x: int, dim_y: int, singular: bool = False) -> dict[str, Any]:
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
    for name in beliefs:
        np.testing.assert_allclose(getattr(found, name), rational.floats(getattr(exact, name)), err_msg=name, **close)
    np.testing.assert_allclose([found.log_evidence, found.log_predictive.sum()], exact.log_evidence, **close)
    swapped = rational.kalman_filter(y, **system, emission_first=not emission_first)
    assert abs(swapped.log_evidence - exact.log_evidence) > 1e-3


@both_orders
def test_dense_equals_the_program_alone(emission_first: bool) -> None:
    system = random_system(4, num_steps=5, dim_x=2, dim_y=2)
    y = gaps(np.random.default_rng(8).normal(size=(5, 2)))
    whole = dense.joint(**{**system, "Q": 1.7 * system["Q"]}, emission_first=emission_first)
    expected = dense.posterior(whole, y, dim_x=2, emission_first=emission_first)
    program, data = linear(system, emission_first), {"observations": y}
    found = dense.from_program(program, data, {"unit": 1.7}, emission_first=emission_first, **gaussian_sites)
    for name, value in found._asdict().items():
        np.testing.assert_allclose(value, getattr(expected, name), err_msg=name, **close)
    np.testing.assert_allclose(found.log_predictive.sum(), found.log_evidence, **close)


def test_from_program_refuses_a_program_that_is_not_gaussian() -> None:
    def model(observations: Any) -> None:
        def step(x: Any, y: Any) -> Any:
            x = numpyro.sample("x", dist.Normal(jnp.sin(x), 1.0))
            numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
            return x, None

        scan(step, numpyro.sample("x0", dist.Normal(0.0, 1.0)), observations)

    with pytest.raises(ValueError, match="not quadratic"):
        dense.from_program(model, {"observations": np.zeros(3)}, {}, emission_first=False, **gaussian_sites)


def test_rational_scalar_by_hand() -> None:
    # Prior N(0, 1), y = x + noise of variance 1/3, y = 2: S = 4/3, gain 3/4. Then x moves by noise of variance 1/4.
    half, third = Fraction(1, 4), Fraction(1, 3)
    system = dict(A=[[[1]]] * 2, b=[[0]] * 2, Q=[[[half]]] * 2, C=[[[1]]] * 2, d=[[0]] * 2, R=[[[third]]] * 2)
    found = rational.kalman_filter([[2], [None]], initial_mean=[0], initial_covariance=[[1]], emission_first=True, **system)
    assert found.filtered_mean == [[Fraction(3, 2)]] * 2 and found.filtered_covariance[0] == [[Fraction(1, 4)]]
    assert found.predicted_covariance[1] == [[Fraction(1, 2)]] and found.quadratic == [3, 0]
    assert found.log_evidence == pytest.approx(-(np.log(2 * np.pi * 4 / 3) + 3) / 2, rel=1e-15)


def test_rational_keeps_a_wide_prior_with_small_noise() -> None:
    system = dict(A=[[[1.0]]] * 3, b=[[0.0]] * 3, Q=[[[0.0]]] * 3, C=[[[1.0]]] * 3, d=[[0.0]] * 3, R=[[[1e-20]]] * 3)
    y = [[1.0]] * 3
    found = rational.kalman_filter(y, initial_mean=[0.0], initial_covariance=[[1e20]], emission_first=True, **system)
    exact_third = 1 / (Fraction(3) / Fraction(1e-20) + 1 / Fraction(1e20))
    assert found.filtered_covariance[-1] == [[exact_third]]
