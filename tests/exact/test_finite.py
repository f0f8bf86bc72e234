"""Are the verbs of `exact.finite` what their definitions say?"""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ppl_worldmodel.exact import finite
from ppl_worldmodel.exact.system import FiniteState, Order

from ..agreement import assert_logs_close, assert_probabilities_close
from .systems import FINITE_ORDERS, list_paths, random_finite

all_orders = pytest.mark.parametrize("order", FINITE_ORDERS)
both_kinds = pytest.mark.parametrize("varying", [False, True], ids=["homogeneous", "varying"])


@all_orders
@both_kinds
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_beliefs_equal_the_sums_over_paths(order: Order, varying: bool, seed: int) -> None:
    system = random_finite(seed, order, varying)
    expected, found = list_paths(system), finite.smooth(system)
    for name in ("predicted", "filtered", "smoothed"):
        assert_probabilities_close(getattr(found, name), getattr(expected, name), name)
    assert_logs_close(found.log_predictive, expected.log_predictive, "log predictive")
    assert_logs_close(found.log_evidence, expected.log_predictive.sum(), "log evidence")
    assert_probabilities_close(finite.pairwise(system), expected.pairwise, "pairwise")
    assert_logs_close(finite.evidence(system), expected.log_predictive, "evidence")
    filtered = finite.filter(system)
    assert filtered._fields == ("predicted", "filtered", "log_predictive", "log_evidence")
    for name, value in filtered._asdict().items():
        assert_probabilities_close(value, getattr(found, name), name)


@all_orders
@both_kinds
def test_most_likely_path_has_the_largest_weight_of_all(order: Order, varying: bool) -> None:
    for seed in range(5):
        system = random_finite(seed, order, varying)
        listed = list_paths(system)
        np.testing.assert_array_equal(finite.most_likely_path(system), listed.path[listed.log_joint.argmax()])


@all_orders
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sampled_paths_have_the_pairwise_marginals(order: Order, seed: int) -> None:
    system, draws = random_finite(seed, order, varying=True), 4000
    expected = list_paths(system)
    paths = np.asarray(finite.sample_paths(system, jax.random.key(seed), draws))
    assert paths.shape == (draws, 6)
    states = range(3)
    share = np.array([[[np.mean((a == i) & (b == j)) for j in states] for i in states] for a, b in pairwise(paths.T)])
    possible = expected.pairwise > 0
    assert not share[~possible].any(), "an impossible move was drawn"
    error = np.sqrt(expected.pairwise * (1 - expected.pairwise) / draws)[possible]
    z = (share - expected.pairwise)[possible] / error
    # A cell expected less than 5 times is no normal variable.
    assert np.abs(z[expected.pairwise[possible] * draws > 5]).max() < 4.5
    # The same test must tell the smoother from the filter.
    single = np.array([[np.mean(column == i) for i in states] for column in paths.T])
    spread = np.sqrt(expected.filtered * (1 - expected.filtered) / draws) + 1e-12
    assert np.abs((single - expected.filtered) / spread).max() > 4.5


@all_orders
def test_one_action_is_a_homogeneous_chain(order: Order) -> None:
    alike = random_finite(0, order)
    driven = random_finite(0, order, varying=True)._replace(transition=jnp.broadcast_to(alike.transition, (6, 3, 3)))
    for found, expected in zip(finite.smooth(driven), finite.smooth(alike), strict=True):
        assert_logs_close(found, expected, "one action", rtol=1e-14)


@pytest.mark.parametrize("order", ["transition first", "emission first"])
def test_an_uninformative_observation_leaves_the_prediction(order: Order) -> None:
    system = random_finite(0, order)
    found = finite.smooth(system._replace(log_likelihood=jnp.full((6, 3), jnp.log(0.25))))
    assert_probabilities_close(found.filtered, found.predicted, "filtered")
    assert_probabilities_close(found.smoothed, found.predicted, "smoothed")
    assert_logs_close(found.log_predictive, np.full(6, np.log(0.25)), "log predictive")
    belief = system.initial
    for t in range(6):
        if order == "transition first" or t > 0:
            belief = finite.predict(belief, system.transition)
        assert_probabilities_close(found.predicted[t], belief, f"predicted {t}")


@all_orders
@both_kinds
def test_two_halves_one_after_the_other_are_the_whole(order: Order, varying: bool) -> None:
    system = random_finite(3, order, varying)
    whole = finite.filter(system)

    def part(initial: jax.Array, steps: slice) -> FiniteState:
        transition = system.transition[steps] if varying else system.transition
        return system._replace(initial=initial, transition=transition, log_likelihood=system.log_likelihood[steps])

    first = finite.filter(part(system.initial, slice(0, 3)))
    between = first.filtered[-1]
    if order == "emission first":  # what is carried on has moved already
        between = finite.predict(between, system.transition[2] if varying else system.transition)
    second = finite.filter(part(between, slice(3, 6)))
    for name in ("predicted", "filtered", "log_predictive"):
        halves = np.concatenate([getattr(first, name), getattr(second, name)])
        assert_logs_close(halves, getattr(whole, name), name)


@all_orders
def test_permuted_labels_permute_the_beliefs(order: Order) -> None:
    system, new = random_finite(1, order), np.array([2, 0, 1])
    likelihood = system.log_likelihood[:, new]
    permuted = FiniteState(
        system.initial[new],
        system.transition[new][:, new],
        likelihood[:, :, new] if order == "both states" else likelihood,
        system.structure,
    )
    found, expected = finite.smooth(permuted), finite.smooth(system)
    for name in ("predicted", "filtered", "smoothed"):
        assert_probabilities_close(getattr(found, name), getattr(expected, name)[:, new], name)
    assert_logs_close(found.log_predictive, expected.log_predictive, "log predictive")
    np.testing.assert_array_equal(new[finite.most_likely_path(permuted)], finite.most_likely_path(system))


@all_orders
def test_consistency_of_marginals(order: Order) -> None:
    system = random_finite(2, order)
    beliefs, pairs = finite.smooth(system), finite.pairwise(system)
    assert_probabilities_close(beliefs.smoothed[-1], beliefs.filtered[-1], "the last smoothed belief")
    assert_probabilities_close(pairs.sum(axis=2), beliefs.smoothed[:-1], "rows of pairwise")
    assert_probabilities_close(pairs.sum(axis=1), beliefs.smoothed[1:], "columns of pairwise")


@pytest.mark.parametrize("order", ["transition first", "emission first"])
@both_kinds
def test_online_steps_are_the_filter(order: Order, varying: bool) -> None:
    system = random_finite(0, order, varying)
    beliefs, belief = finite.filter(system), system.initial
    for t in range(6):
        transition = system.transition[t] if varying else system.transition
        if order == "transition first":
            belief = finite.predict(belief, transition)
        assert_probabilities_close(belief, beliefs.predicted[t], f"predicted {t}")
        belief = finite.correct(belief, jnp.exp(system.log_likelihood[t]))
        assert_probabilities_close(belief, beliefs.filtered[t], f"filtered {t}")
        if order == "emission first":
            belief = finite.predict(belief, transition)


def test_correct_says_that_an_observation_is_impossible() -> None:
    with pytest.raises(ValueError, match="impossible under this belief"):
        finite.correct(jnp.array([1.0, 0.0]), jnp.array([0.0, 0.5]))


def test_systems_are_batched_by_vmap() -> None:
    systems = [random_finite(seed, "transition first", varying=True) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *systems)
    found = jax.vmap(finite.smooth)(stacked)
    for i, system in enumerate(systems):
        assert_probabilities_close(found.smoothed[i], finite.smooth(system).smoothed, f"system {i}")
