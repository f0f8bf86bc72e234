"""Do the two oracles that take any program equal the oracles that take one kind of program, and hand calculations?"""

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.control_flow import scan

from . import dense, paths
from .enumeration import ProgramBeliefs, enumerate_program
from .quadratic import ProgramMoments, solve_program

numpyro.enable_x64()
NAN = np.nan
START, T2 = jnp.array([0.7, 0.3]), jnp.array([[0.9, 0.1], [0.25, 0.75]])
O2 = jnp.array([[0.8, 0.15, 0.05], [0.3, 0.1, 0.6]])
T3 = jnp.array([[0.5, 0.4, 0.1], [0.2, 0.2, 0.6], [0.0, 0.3, 0.7]])
SHOWN = np.array([[0.0, 2.0, NAN], [1.0, NAN, 2.0]]).T  # two sequences of three steps
BOTH = [(0,), (1,)]  # the states of a chain with two
LEVELS = np.array([0.3, NAN, 1.1, -0.4, 0.9])


def assert_close(found: Any, expected: Any, what: str = "") -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10, err_msg=what)


def assert_same_beliefs(found: ProgramBeliefs, expected: paths.PathPosterior, states: list[Any]) -> None:
    assert_close(found.log_evidence, expected.log_evidence, "log_evidence")
    for name in ("predicted", "filtered", "smoothed"):
        beliefs = getattr(found, name)
        assert all(set(belief) <= set(states) for belief in beliefs)
        vectors = [[belief.get(state, 0.0) for state in states] for belief in beliefs]
        assert_close(vectors, getattr(expected, name), name)
    assert_close(found.log_predictive, expected.log_predictive, "log_predictive")


def hmm(y: Any, T: Any = T2, start: Any = START, emission: Any = O2, emission_first: bool = False) -> Any:
    """The chain that `paths` knows; it returns the state that emits."""

    def step(old: Any, y: Any) -> Any:
        new = numpyro.sample("state", dist.Categorical(T[old]))
        shown = old if emission_first else new
        numpyro.sample("y", dist.Categorical(emission[shown]), obs=y)
        return new, shown

    return scan(step, numpyro.sample("start", dist.Categorical(start)), y)[1]


def by_paths(y: Any, **system: Any) -> paths.PathPosterior:
    settings: dict[str, Any] = {"state_site": "state", "initial_site": "start", "integer_data": ["y"]}
    settings |= {"num_states": len(system.get("T", T2)), "num_steps": len(y), "observed": {"y": y}}
    settings["emission_first"] = system.get("emission_first", False)
    return paths.enumerate_paths(partial(hmm, **system), {"y": y}, {}, **settings)


def enumerated(model: Any, data: dict[str, Any], latents: dict[str, int], **settings: Any) -> ProgramBeliefs:
    supports = {name: np.arange(size) for name, size in latents.items()}
    return enumerate_program(model, data, {}, supports, **settings)


def test_enumeration_of_a_chain_with_gaps() -> None:
    y, latents = np.array([0.0, 2.0, NAN, 1.0, 2.0]), {"start": 2, "state": 2}
    found, expected = [], []
    for emission_first in (False, True):
        found.append(enumerated(partial(hmm, emission_first=emission_first), {"y": y}, latents, integer_data=["y"]))
        expected.append(by_paths(y, emission_first=emission_first))
        assert_same_beliefs(found[-1], expected[-1], BOTH)
    with pytest.raises(AssertionError):  # a fault: the other order
        assert_same_beliefs(found[0], expected[1], BOTH)
    with pytest.raises(AssertionError):  # a fault: a transition probability that is off by 1e-6
        assert_same_beliefs(found[0], by_paths(y, T=T2 + 1e-6 * np.array([[1, -1], [0, 0]])), BOTH)


def test_enumeration_of_a_product_of_two_chains() -> None:
    emission, y = jnp.asarray(np.random.default_rng(0).dirichlet(np.ones(3), 6)), np.array([2, 0, 1])

    def model(y: Any) -> Any:
        def step(old: Any, y: Any) -> Any:
            weather = numpyro.sample("weather", dist.Categorical(T2[old["weather"]]))
            mood = numpyro.sample("mood", dist.Categorical(T3[old["mood"]]))
            numpyro.factor("y", jnp.log(emission)[3 * weather + mood, y])
            state = {"weather": weather, "mood": mood}
            return state, state

        weather = numpyro.sample("weather_0", dist.Categorical(START))
        return scan(step, {"weather": weather, "mood": jnp.array(1)}, y)[1]

    found = enumerated(model, {"y": y}, {"weather_0": 2, "mood": 3, "weather": 2})
    start = jnp.kron(START, jnp.array([0.0, 1.0, 0.0]))
    expected = by_paths(y.astype(float), T=jnp.kron(T2, T3), start=start, emission=emission)
    assert_same_beliefs(found, expected, [(mood, weather) for weather in range(2) for mood in range(3)])


def plate_of_chains(y: Any, shown: Any = None, present: Any = True) -> Any:
    """Two chains; `shown` says what is observed (obs_mask), `present` which steps count at all (mask)."""

    def step(old: Any, inputs: Any) -> Any:
        y, shown, present = inputs
        with numpyro.plate("sequence", 2), handlers.mask(mask=present):
            new = numpyro.sample("state", dist.Categorical(T2[old]))
            numpyro.sample("y", dist.Categorical(O2[new]), obs=y, obs_mask=shown)
        return new, new

    with numpyro.plate("sequence", 2):
        start = numpyro.sample("start", dist.Categorical(START))
    return scan(step, start, (y, shown, jnp.broadcast_to(present, y.shape)))[1]


def test_enumeration_of_a_plate() -> None:
    expected = [by_paths(y) for y in SHOWN.T]
    for data in ({"y": SHOWN}, {"y": np.nan_to_num(SHOWN), "shown": ~np.isnan(SHOWN)}):
        found = enumerated(plate_of_chains, data, {"start": 2, "state": 2}, sequence_axis=-1, integer_data=["y"])
        for n in range(2):
            assert_same_beliefs(found.sequences[n], expected[n], BOTH)
        assert_close(found.log_predictive, sum(one.log_predictive for one in expected))
        assert_close(found.smoothed[1][0, 1], expected[0].smoothed[1, 0] * expected[1].smoothed[1, 1])


def test_enumeration_of_sequences_of_different_lengths() -> None:
    y, present = np.array([[0, 2, 1], [1, 0, 0]]).T, np.array([[True, True, True], [True, False, False]]).T
    found = enumerated(plate_of_chains, {"y": y, "present": present}, {"start": 2, "state": 2}, sequence_axis=-1)
    assert_same_beliefs(found.sequences[0], by_paths(y[:, 0].astype(float)), BOTH)
    assert_close(found.sequences[1].log_evidence, by_paths(y[:1, 1].astype(float)).log_evidence)
    assert_close(list(found.sequences[1].smoothed[2].values()), [0.5, 0.5])  # a masked state is uniform


def test_enumeration_of_one_step_by_hand() -> None:
    def model(y: Any) -> Any:
        def step(old: Any, y: Any) -> Any:
            bits = numpyro.sample("bits", dist.Bernoulli(jnp.array([0.2, 0.6])).to_event(1))
            numpyro.sample("y", dist.Bernoulli(0.1 + 0.4 * bits.sum()), obs=y)
            return old, (bits[0] == bits[1], 0.5 * bits.sum())

        return scan(step, 0, y)[1]

    found = enumerated(model, {"y": np.array([1])}, {"bits": 2})
    prior = {(True, 0.0): 0.32, (False, 0.5): 0.48 + 0.08, (True, 1.0): 0.12}
    evidence = 0.32 * 0.1 + 0.56 * 0.5 + 0.12 * 0.9
    assert_close([found.predicted[0][state] for state in prior], list(prior.values()))
    assert_close(found.smoothed[0][True, 1.0], 0.12 * 0.9 / evidence)
    assert_close(found.log_evidence, np.log(evidence))


def assert_same_moments(found: ProgramMoments, expected: Any) -> None:
    for name in ProgramMoments._fields:
        assert_close(getattr(found, name), getattr(expected, name), name)


def by_dense(y: np.ndarray, **system: Any) -> dense.GaussianPosterior:
    """A system that moves, then emits, with matrices that do not change with time."""
    over_time = {name: [system[name]] * len(y) for name in "AbQCdR"}
    whole = dense.joint(**{**system, **over_time}, emission_first=False)
    return dense.posterior(whole, y, dim_x=len(system["b"]), emission_first=False)


WALK: dict[str, Any] = {"A": [[1.0]], "b": [0.2], "Q": [[0.25]], "C": [[2.0]], "d": [0.1], "R": [[0.49]]}
WALK |= {"initial_mean": [0.5], "initial_covariance": [[4.0]]}


def walk(y: Any, start: Any = None, scale: Any = None) -> Any:
    """A random walk with the noises as its latent sites; one walk for each column of y, if it has columns."""
    scale = numpyro.sample("scale", dist.LogNormal(0.0, 1.0)) if scale is None else scale

    def step(old: Any, y: Any) -> Any:
        noise = numpyro.sample("noise", dist.Normal(jnp.zeros(y.shape), 1.0))
        level = numpyro.deterministic("level", old + 0.2 + scale * noise)
        numpyro.sample("y", dist.Normal(2 * level + 0.1, 0.7), obs=y)
        return level, level

    start = dist.Normal(jnp.zeros(y.shape[1:]), 1.0) if start is None else start
    return scan(step, 0.5 + 2 * numpyro.sample("start", start), y)[1]


def test_quadratic_of_non_centred_walks_side_by_side() -> None:
    def twice(**changes: Any) -> dict[str, Any]:
        system = {**WALK, **changes}
        return {name: np.kron(np.eye(2) if np.ndim(one) == 2 else np.ones(2), one) for name, one in system.items()}

    y = np.column_stack([LEVELS, LEVELS[::-1]])
    found = solve_program(walk, {"y": y}, {"scale": 0.5}, ["noise", "start"])
    assert_same_moments(found, by_dense(y, **twice()))
    with pytest.raises(AssertionError):  # a fault: one variance is off by 1e-7
        assert_same_moments(found, by_dense(y, **twice(Q=[[0.25 + 1e-7]])))


def test_quadratic_of_an_ar2_with_its_companion_state() -> None:
    def model(y: Any) -> Any:
        def step(last: Any, y: Any) -> Any:
            x = numpyro.sample("x", dist.Normal(1.2 * last[0] - 0.5 * last[1], 0.6))
            numpyro.sample("y", dist.Normal(x, 0.3), obs=y)
            return jnp.stack([x, last[0]]), {"state": (x, last[0]), "other": y}

        return scan(step, numpyro.sample("start", dist.Normal(jnp.zeros(2), 1.5).to_event(1)), y)[1]

    system: dict[str, Any] = {"A": [[1.2, -0.5], [1.0, 0.0]], "b": [0, 0], "Q": [[0.36, 0], [0, 0]], "C": [[1.0, 0]]}
    system |= {"d": [0], "R": [[0.09]], "initial_mean": [0, 0], "initial_covariance": 2.25 * np.eye(2)}
    found = solve_program(model, {"y": LEVELS}, {}, ["x", "start"], keep=lambda states: states["state"])
    assert_same_moments(found, by_dense(LEVELS[:, None], **system))


def test_quadratic_of_a_diffuse_local_level() -> None:
    flat = dist.ImproperUniform(dist.constraints.real, (), ())
    y = np.array([NAN, *LEVELS])
    found = solve_program(partial(walk, start=flat, scale=0.5), {"y": y}, {}, ["start", "noise"])
    # A flat start site s with level_0 = 0.5 + 2 s: the density of the level is 1/2, and that of y_1 = 2 level is 1/4.
    seen = (LEVELS[0] - 0.1) / 2
    later = {**WALK, "initial_mean": [seen], "initial_covariance": [[0.49 / 4]]}
    expected = by_dense(LEVELS[1:, None], **later)
    assert np.isnan([found.filtered_mean[0], *found.predicted_mean[:2]]).all()
    assert_close(found.log_predictive, [0.0, -np.log(4.0), *expected.log_predictive])
    assert_close(found.filtered_mean[1:], [[seen], *expected.filtered_mean])
    assert_close(found.filtered_covariance[1:], [[[0.49 / 4]], *expected.filtered_covariance])
    assert_close(found.smoothed_mean[2:], expected.smoothed_mean)
    assert_close(found.smoothed_covariance[2:], expected.smoothed_covariance)


def test_quadratic_with_missing_components_and_memory() -> None:
    """A missing y is integrated out even where the next step depends on it: then (x, y) is the state."""
    R = np.array([[0.5, 0.2], [0.2, 0.4]])

    def model(y: Any) -> Any:
        def step(old: Any, y: Any) -> Any:
            x, last = old
            x = numpyro.sample("x", dist.Normal(0.9 * x, 0.5))
            numpyro.sample("y", dist.MultivariateNormal(jnp.stack([x, -x]) + 0.3 * last, R), obs=y)
            return (x, y), x

        return scan(step, (numpyro.sample("start", dist.Normal(0.0, 1.0)), jnp.zeros(2)), y)[1]

    y = np.array([[0.2, -0.1], [NAN, 0.4], [NAN, NAN], [1.0, 0.3]])
    A = np.array([[0.9, 0, 0], [0.9, 0.3, 0], [-0.9, 0, 0.3]])
    Q = 0.25 * np.outer([1, 1, -1], [1, 1, -1]) + np.pad(R, (1, 0))
    system: dict[str, Any] = {"A": A, "b": np.zeros(3), "Q": Q, "C": np.eye(3)[1:], "d": [0, 0], "R": np.zeros((2, 2))}
    system |= {"initial_mean": np.zeros(3), "initial_covariance": np.diag([1.0, 0, 0])}
    found, expected = solve_program(model, {"y": y}, {}, ["start", "x"]), by_dense(y, **system)
    assert_close(found.log_predictive, expected.log_predictive)
    for belief in ("predicted", "filtered", "smoothed"):
        assert_close(getattr(found, f"{belief}_mean"), getattr(expected, f"{belief}_mean")[:, :1])
        assert_close(getattr(found, f"{belief}_covariance"), getattr(expected, f"{belief}_covariance")[:, :1, :1])


def test_quadratic_of_observations_that_are_masked() -> None:
    """obs_mask, mask and a factor say the same as a missing value; no density depends on the last `extra`."""

    def model(y: Any, seen: Any) -> Any:
        def step(old: Any, inputs: Any) -> Any:
            y, seen = inputs
            level = numpyro.sample("level", dist.Normal(old + 0.2, 0.5))
            half = dist.Normal(2 * level + 0.1, 0.7 * 3**0.5)  # three of them are one observation
            numpyro.sample("one", half, obs=y, obs_mask=seen)
            with handlers.mask(mask=seen):
                numpyro.sample("two", half, obs=y)
            numpyro.factor("three", jnp.where(seen, half.log_prob(y), 0.0))
            with handlers.mask(mask=False):
                extra = numpyro.sample("extra", dist.Normal(level, 1.0))
            return level, (level, extra)

        return scan(step, numpyro.sample("start", dist.Normal(0.5, 2.0)), (y, seen))[1]

    seen, expected = ~np.isnan(LEVELS), by_dense(LEVELS[:, None], **WALK)
    latents = ["start", "level", "extra", "one_unobserved"]
    found = solve_program(model, {"y": np.nan_to_num(LEVELS), "seen": seen}, {}, latents)
    assert_close(found.smoothed_mean[:, :1], expected.smoothed_mean)
    assert_close(found.filtered_covariance[:, :1, :1], expected.filtered_covariance)
    assert np.isnan(found.smoothed_mean[:, 1]).all()
    constant = -2 * (np.log(2 * np.pi) / 2 + np.log(0.7)) - 1.5 * np.log(3)
    assert_close(found.log_predictive, expected.log_predictive + constant * seen)


@pytest.mark.slow
def test_what_cannot_be_done_is_refused() -> None:
    y, hidden = {"y": np.array([0, 2])}, {"start": 2, "state": 2}

    def remembers(y: Any) -> Any:
        def step(last: Any, y: Any) -> Any:
            state = numpyro.sample("state", dist.Bernoulli(0.3 + 0.1 * last))
            numpyro.sample("y", dist.Normal(state, 1.0), obs=y)
            return y, state

        return scan(step, numpyro.sample("before", dist.Normal(0.0, 1.0), obs=0.5), y)[1]

    def refuses(message: str, oracle: Any, *arguments: Any) -> None:
        with pytest.raises(ValueError, match=message):
            oracle(*arguments)

    refuses("not listed", enumerated, hmm, y, {"state": 2})
    refuses("do not cover", enumerated, hmm, y, {"start": 2, "state": 1})
    refuses("too many", enumerated, hmm, {"y": np.zeros(30, int)}, hidden)
    refuses("stacked outputs", enumerated, lambda y: hmm(y)[-1], y, hidden)
    refuses("outside of the scan", enumerated, remembers, {"y": LEVELS}, {"state": 2})
    refuses("a missing value", enumerated, handlers.block(remembers, hide=["before"]), {"y": LEVELS}, {"state": 2})
    refuses("not listed", solve_program, walk, {"y": LEVELS}, {}, ["start", "noise"])
    refuses("not affine", solve_program, walk, {"y": LEVELS}, {}, ["start", "noise", "scale"])
