"""Do alpha vectors equal all policy trees, and the recursion over beliefs?"""

from typing import Any

import numpy as np
import pytest

from ppl_worldmodel.control.pomdp import Pomdp
from ppl_worldmodel.control.value_iteration import Stage, undominated, value_iteration
from ppl_worldmodel.errors import DataError

from ..references.policy_trees import Arrays, optimal_value, trees

TIGER = Pomdp(
    initial=np.array([0.5, 0.5]),
    transition=np.stack([np.eye(2), np.full((2, 2), 0.5), np.full((2, 2), 0.5)]),
    observation=np.stack([np.array([[0.85, 0.15], [0.15, 0.85]]), np.full((2, 2), 0.5), np.full((2, 2), 0.5)]),
    reward=np.array([[-1.0, -1.0], [-100.0, 10.0], [10.0, -100.0]]),
)


def arrays(problem: Pomdp) -> Arrays:
    return problem.transition, problem.observation, problem.reward


def some_problem(seed: int, zeros: bool = False) -> Pomdp:
    """Three states, two actions, two observations; with zeros: moves and observations that are impossible."""
    random = np.random.default_rng(seed)
    T, O = random.dirichlet(np.ones(3), (2, 3)), random.dirichlet(np.ones(2), (2, 3))
    if zeros:
        T[0], O[1] = np.eye(3), [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]
    return Pomdp(random.dirichlet(np.ones(3)), T, O, random.normal(size=(2, 3)))


def beliefs(states: int, number: int = 50) -> np.ndarray:
    random = np.random.default_rng(1)
    return np.concatenate([np.eye(states), random.dirichlet(np.full(states, 0.5), number)])


@pytest.mark.parametrize(
    ("seed", "zeros", "discount"),
    [(0, False, 1.0), (1, True, 0.7), *(pytest.param(seed, True, 1.0, marks=pytest.mark.slow) for seed in range(2, 8))],
)
def test_alpha_vectors_equal_all_policy_trees(seed: int, zeros: bool, discount: float) -> None:
    problem = some_problem(seed, zeros)
    stages = value_iteration(problem, 3, discount=discount)
    for horizon, stage in enumerate(stages, start=1):
        every = np.array(trees(arrays(problem), horizon, discount))
        expected = (beliefs(3) @ every.T).max(axis=1)
        np.testing.assert_allclose(stage.value(beliefs(3)), expected, rtol=1e-10, atol=1e-10)
        assert len(stage.alphas) <= len(every)


@pytest.mark.parametrize("problem", [TIGER, some_problem(2)])
def test_four_steps_equal_the_recursion_over_beliefs(problem: Pomdp) -> None:
    stage = value_iteration(problem, 4, discount=0.95)[-1]
    for belief in beliefs(problem.initial.size, 12):
        expected = optimal_value(arrays(problem), belief, 4, 0.95)
        assert float(stage.value(belief)) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_another_problem_has_another_value() -> None:
    """The comparison fails where T is transposed."""
    problem = some_problem(3)
    turned = np.swapaxes(problem.transition, 1, 2)
    turned = turned / turned.sum(axis=-1, keepdims=True)
    right, wrong = (value_iteration(each, 3)[-1] for each in (problem, problem._replace(transition=turned)))
    assert np.abs(right.value(beliefs(3)) - wrong.value(beliefs(3))).max() > 1e-3


def evaluated(problem: Pomdp, stages: list[Stage], discount: float) -> list[np.ndarray]:
    """The value of every tree in every state, by going on with the tree that `next` names after each observation."""
    below = np.zeros((1, problem.initial.size))
    found = []
    for stage in stages:
        values = np.zeros_like(stage.alphas)
        for tree, action in enumerate(stage.actions):
            for s in range(problem.initial.size):
                values[tree, s] = problem.reward[action, s] + discount * sum(
                    problem.transition[action, s, t] * problem.observation[action, t, o] * below[stage.next[tree, o], t]
                    for t in range(problem.initial.size)
                    for o in range(problem.observation.shape[-1])
                )
        below = values
        found.append(values)
    return found


@pytest.mark.parametrize("problem", [TIGER, some_problem(4, zeros=True)])
def test_following_the_policy_earns_its_value(problem: Pomdp) -> None:
    stages = value_iteration(problem, 4, discount=0.9)
    for stage, values in zip(stages, evaluated(problem, stages, 0.9), strict=True):
        np.testing.assert_allclose(stage.alphas, values, rtol=1e-12, atol=1e-12)


def test_the_tiger_is_listened_for() -> None:
    last = value_iteration(TIGER, 6, discount=0.95)[-1]
    # What README prints.
    assert f"{last.value(TIGER.initial):.2f}" == "4.43"
    assert (last.action(TIGER.initial), last.action([0.05, 0.95]), last.action([0.02, 0.98])) == (0, 0, 1)
    stages = value_iteration(TIGER, 3, discount=0.95)
    assert [len(stage.actions) for stage in stages] == [3, 5, 9]
    assert stages[2].action(np.array([0.5, 0.5])) == 0
    assert stages[0].action(np.array([0.98, 0.02])) == 2  # the tiger is on the left, most likely: open the right door
    assert float(stages[0].value(np.array([0.98, 0.02]))) == pytest.approx(0.98 * 10 - 0.02 * 100)


def test_only_vectors_that_are_best_somewhere_are_kept() -> None:
    alphas = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5], [0.4, 0.4], [0.7, 0.7], [0.0, 1.0], [-1.0, 0.9]])
    np.testing.assert_array_equal(undominated(alphas), [0, 1, 4])  # 2 is as good as both at one belief only
    np.testing.assert_array_equal(undominated(np.ones((3, 2))), [0])
    np.testing.assert_array_equal(undominated(np.zeros((2, 3))), [0])


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({}, {"horizon": 0}, "horizon is 0: expected at least one step"),
        ({}, {"discount": 1.5}, "discount is 1.5"),
        ({"reward": np.zeros(3)}, {}, r"reward of a POMDP has shape \(3,\)"),
        ({"reward": np.full((3, 2), np.nan)}, {}, "not finite"),
        ({"initial": np.array([0.5, 0.6])}, {}, r"initial is no distribution: it sums to 1\.1"),
        ({"transition": np.full((3, 2, 2), 0.4)}, {}, r"transition\[0, 0\] is no distribution"),
        ({"observation": np.full((3, 2, 2), np.nan)}, {}, r"observation\[0, 0\] is no distribution"),
        ({"transition": np.eye(2)}, {}, r"transition of a POMDP has shape \(2, 2\), expected \(3, 2, 2\)"),
    ],
)
def test_what_is_no_problem_is_refused(changes: Any, settings: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        value_iteration(TIGER._replace(**changes), **{"horizon": 2, **settings})
