"""Is what the data can tell what they do tell?  Scores against sums over paths, known information, and what nobody can learn."""

from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.contrib.control_flow import scan
from scipy.special import expit
from scipy.stats import multivariate_normal

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.identifiability.fisher_information import Information, information, least_known
from ppl_worldmodel.identifiability.fisher_scores import Slopes, slopes
from ppl_worldmodel.identifiability.identifiability import NEARBY, NOT, UP_TO_COORDINATES, UP_TO_NAMES, identifiability
from ppl_worldmodel.models import nile, tiger, two_state_pomdp
from ppl_worldmodel.program.reading import read

from ..agreement import assert_probabilities_close
from ..references.paths import enumerate_paths

KEY = jax.random.key(0)
SERIES = {"observations": np.array([0, 1, 1, 0, 1])}


def slopes_of(model: Any, data: dict, parameters: dict) -> Slopes:
    return slopes(read(model, data), parameters, KEY)


def named(logits: np.ndarray) -> dict[str, np.ndarray]:
    """T and O of two states and two symbols, from the logits of O[0, 0], O[1, 0], T[0, 0], T[1, 0]."""
    p = expit(logits)
    return {
        "T": np.array([[p[2], 1 - p[2]], [p[3], 1 - p[3]]]),
        "O": np.array([[p[0], 1 - p[0]], [p[1], 1 - p[1]]]),
    }


def derivative(of: Any, at: np.ndarray, along: np.ndarray, h: float = 1e-5) -> np.ndarray:
    """Truncation and rounding both leave about 1e-10."""
    return (of(at + h * along) - of(at - h * along)) / (2 * h)


@pytest.mark.slow
def test_scores_are_slopes_of_sums_over_all_paths() -> None:
    at, along = np.array([1.2, -0.7, 2.0, -1.5]), np.array([0.4, -0.3, 0.7, 0.5])

    def terms(logits: np.ndarray) -> np.ndarray:
        return enumerate_paths(
            two_state_pomdp.model, SERIES, named(logits), observed={"observation": SERIES["observations"]},
            state_site="state", initial_site="initial_state", num_states=2, num_steps=5, emission_first=False,
        ).log_predictive  # fmt: skip

    found = slopes_of(two_state_pomdp.model, SERIES, named(at))
    np.testing.assert_allclose(found.scores @ along, derivative(terms, at, along), rtol=1e-8, atol=1e-8)
    moved = derivative(lambda logits: np.concatenate([value.ravel() for value in named(logits).values()]), at, along)
    np.testing.assert_allclose(found.moves @ along, moved, rtol=1e-8, atol=1e-8)
    assert found.labels == [f"{name}[{i}, {j}]" for name in "TO" for i in (0, 1) for j in (0, 1)]


@pytest.mark.nightly
def test_scores_of_the_kalman_filter_are_slopes_of_the_joint_normal_density() -> None:
    y, (level, noise) = np.array([1100.0, 950.0, 1010.0, 700.0]), (40.0, 120.0)

    def terms(logs: np.ndarray) -> np.ndarray:
        """log p(y_1:t) - log p(y_1:t-1), each the density of a normal vector."""
        steps = np.arange(len(y))
        covariance = (
            500.0**2 + np.exp(2 * logs[0]) * np.minimum.outer(steps, steps) + np.exp(2 * logs[1]) * np.eye(len(y))
        )
        whole = [
            multivariate_normal.logpdf(y[:n], np.full(n, 1000.0), covariance[:n, :n]) for n in range(1, len(y) + 1)
        ]
        return np.diff(whole, prepend=0.0)

    found = slopes_of(nile.model, {"observations": y}, {"level_scale": level, "observation_scale": noise})
    for along in np.eye(2):
        expected = derivative(terms, np.log([level, noise]), along)
        np.testing.assert_allclose(found.scores @ along, expected, rtol=1e-7, atol=1e-7)


def several(y: Any) -> None:
    """Sixteen series of the same two states."""
    T = numpyro.sample("T", dist.Dirichlet(jnp.ones((2, 2))).to_event(1))
    O = numpyro.sample("O", dist.Dirichlet(jnp.ones((2, 2))).to_event(1))

    def step(state: Any, y: Any) -> Any:
        with numpyro.plate("series", 16):
            state = numpyro.sample("state", dist.Categorical(T[state]))
            numpyro.sample("y", dist.Categorical(O[state]), obs=y)
        return state, None

    with numpyro.plate("series", 16):
        start = numpyro.sample("start", dist.Categorical(jnp.array([0.5, 0.5])))
    scan(step, start, y)


@pytest.mark.nightly
def test_scores_of_different_steps_are_uncorrelated_over_all_series() -> None:
    """Each series of four symbols, weighted with its probability: E[sum_t s_t s_t'] = E[g g'] with the whole score g, exactly."""
    every = np.array(list(product([0, 1], repeat=4)))
    parameters = {"T": np.array([[0.9, 0.1], [0.3, 0.7]]), "O": np.array([[0.8, 0.2], [0.4, 0.6]])}
    weights = np.zeros(16)
    for n, series in enumerate(every):
        forward = np.array([0.5, 0.5])
        for symbol in series:
            forward = (forward @ parameters["T"]) * parameters["O"][:, symbol]
        weights[n] = forward.sum()
    assert_probabilities_close(weights.sum(), 1.0, "all series")
    scores = slopes_of(several, {"y": every.T}, parameters).scores.reshape(16, 4, 4)
    by_steps = np.einsum("n,nti,ntj->ij", weights, scores, scores)
    whole = scores.sum(axis=1)
    np.testing.assert_allclose(by_steps, np.einsum("n,ni,nj->ij", weights, whole, whole), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(np.einsum("n,nti->ti", weights, scores), 0.0, atol=1e-14)
    # Of one series alone they are not the same.
    assert np.abs(np.einsum("ti,tj->ij", scores[3], scores[3]) - np.outer(whole[3], whole[3])).max() > 0.01


def learned_and_not(observations: Any) -> None:
    """A mean of two parts that only count together, a noise of known size, and a parameter that nothing depends on."""
    mean = numpyro.sample("mean", dist.Normal(0.0, 3.0))
    part = numpyro.sample("part", dist.Normal(jnp.zeros(2), 2.0).to_event(1))
    numpyro.sample("idle", dist.Normal(0.0, 2.0))

    def step(x: Any, y: Any) -> Any:
        x = numpyro.sample("x", dist.Normal(0.0 * x, 1.0))
        numpyro.sample("y", dist.MultivariateNormal(jnp.array([x + mean, part.sum()]), jnp.eye(2)), obs=y)
        return x, None

    scan(step, jnp.zeros(()), observations)


@pytest.mark.slow
def test_what_is_learned_together_or_not_at_all() -> None:
    y = np.random.default_rng(0).normal(size=(30, 2))
    found = identifiability(
        read(learned_and_not, {"observations": y}),
        {"mean": 0.1, "part": np.array([0.2, -0.2]), "idle": 1.0},
        key=KEY,
        num_prior=1000,
    )
    assert dict(zip(found["entry"].values, found["verdict"].values, strict=True)) == {
        "mean": "learned", "part[0]": "only in combination", "part[1]": "only in combination", "idle": "not at all",
    }  # fmt: skip
    entry = found.sel(entry="mean")
    # y_0 is N(mean, 2) and y_1 is N(part[0] + part[1], 1) at every step.
    scores = np.stack([(y[:, 0] - 0.1) / 2.0, y[:, 1]])
    np.testing.assert_allclose(entry["data_sd"], np.linalg.inv(scores @ scores.T)[0, 0] ** 0.5, rtol=1e-10)
    prior_sd = found["prior_sd"].values
    np.testing.assert_allclose(prior_sd / [3.0, 2.0, 2.0, 2.0], 1.0, atol=4 / np.sqrt(2 * 1000))
    np.testing.assert_allclose(entry["ratio"], entry["data_sd"] / prior_sd[0], rtol=1e-14)
    assert np.isinf(found["data_sd"].values[1:]).all()
    assert (found["expected_sd"] <= np.minimum(found["data_sd"], 1.2 * found["prior_sd"])).all()
    # Two numbers whose sum is known: half the prior's variance is left.
    np.testing.assert_allclose(found["expected_sd"].sel(entry="part[0]"), 2.0 * np.sqrt(0.5), rtol=0.2)
    assert found.attrs["verdict"] == NOT
    assert found.attrs["rank"] == 2
    assert found.attrs["size"] == 4
    assert "no slope in 2 of 4 directions" in found.attrs["why"]
    assert found.attrs["least_known"].endswith("the data do not say anything about this")


def two_states(parameters: dict) -> xr.Dataset:
    data = {"observations": np.random.default_rng(2).integers(0, 2, 200)}
    return identifiability(read(two_state_pomdp.model, data), parameters, key=KEY)


@pytest.mark.slow
def test_two_states_that_emit_alike_are_not_identified() -> None:
    alike = two_states({"T": two_state_pomdp.truth["T"], "O": np.array([[0.6, 0.4], [0.6, 0.4]])})
    assert alike.attrs["verdict"] == NOT
    assert alike.attrs["why"].endswith("rank of O not full")
    row = list(alike["fact"].values).index("rank of O")
    assert alike["amount"].values[row] == 1
    assert "states 0, 1 are not independent" in alike["says"].values[row]
    assert set(alike["verdict"].values[:4]) == {"not at all"}  # of T


@pytest.mark.nightly
def test_two_different_states_are_identified_and_two_that_move_alike_are_not() -> None:
    right = two_states(two_state_pomdp.truth)
    assert right.attrs["verdict"] == UP_TO_NAMES
    assert right.attrs["rank"] == 4
    forgetful = two_states({"T": np.array([[0.7, 0.3], [0.7, 0.3]]), "O": two_state_pomdp.truth["O"]})
    assert forgetful.attrs["verdict"] == NOT
    assert forgetful.attrs["why"].endswith("rank of T not full")


@pytest.mark.nightly
def test_a_rank_that_is_not_full_may_be_no_harm() -> None:
    """The tiger changes its door at random once a door was opened: T has rank one then, and its one parameter is learned."""
    actions = np.zeros(40, int)
    actions[::5] = 1
    data = {"observations": np.random.default_rng(0).integers(0, 2, 40), "actions": actions}
    found = identifiability(read(tiger.model, data), {"accuracy": 0.85}, key=KEY)
    assert found.attrs["verdict"] == NEARBY
    assert "rank of T not full" in found.attrs["why"]
    assert found.attrs["rank"] == found.attrs["size"] == 1


@pytest.mark.nightly
def test_a_gaussian_level_is_identified() -> None:
    found = identifiability(read(nile.model, nile.data()), {"level_scale": 38.0, "observation_scale": 123.0}, key=KEY)
    assert found.attrs["verdict"] == UP_TO_COORDINATES
    assert list(found["verdict"].values) == ["learned", "learned"]
    assert found.attrs["least_known"].startswith("level_scale up: the data alone know this to 0.")


@pytest.mark.slow
def test_where_there_is_no_slope_it_says_so() -> None:
    edge = {"T": np.array([[1.0, 0.0], [0.1, 0.9]]), "O": two_state_pomdp.truth["O"]}
    with pytest.raises(DataError, match=r"value of T\[0, 0\], T\[0, 1\] lies on the edge of its support"):
        two_states(edge)

    def nothing(observations: Any) -> None:
        step = lambda x, y: (numpyro.sample("x", dist.Normal(x, 1.0)), numpyro.sample("y", dist.Normal(x, 1.0), obs=y))  # noqa: E731
        scan(step, jnp.zeros(()), observations)

    with pytest.raises(DataError, match="the program has no parameters"):
        identifiability(read(nothing, {"observations": np.zeros(3)}), {}, key=KEY)


def by_hand(scores: list[list[float]], moves: Any = None) -> Information:
    size = len(scores[0])
    slope = np.eye(size) if moves is None else np.asarray(moves, float)
    draws = np.random.default_rng(0).normal(size=(400, len(slope)))
    labels = [f"a[{i}]" for i in range(len(slope))]
    return information(Slopes(labels, np.zeros(len(slope)), np.array(scores, float), slope, np.ones(size), draws))


def test_the_least_known_direction_in_words() -> None:
    sloppy = by_hand([[10.0, -10.0, 0.0], [0.1, 0.1, 0.0], [0.0, 0.0, 5.0]])
    told = least_known(sloppy)
    assert told == "a[0] up and a[1] up together: the data alone know this to 7.1 times the prior's spread"
    assert sloppy.rank == 3
    np.testing.assert_allclose(sloppy.strength, [200.0, 25.0, 0.02], rtol=1e-10)
    assert sloppy.verdicts == ["weakly", "weakly", "learned"]
    # The last of two entries that sum to one is not worth a word.
    row = by_hand([[2.0]], [[1.0], [-1.0]])
    assert least_known(row) == "a[0] up: the data alone know this to 0.5 times the prior's spread"
    # Fewer steps than parameters: something must be unknown.
    assert by_hand([[1.0, 1.0, 0.5]]).rank == 1


def test_data_that_say_nothing() -> None:
    found = by_hand([[0.0, 0.0], [0.0, 0.0]])
    assert found.rank == 0
    assert found.verdicts == ["not at all", "not at all"]
    np.testing.assert_array_equal(found.left, 1.0)
