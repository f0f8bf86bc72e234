"""Do a problem's T and O move a belief as the sum over all paths does, and does it say what it is?"""

import jax.numpy as jnp
import numpy as np
import pytest

from ppl_worldmodel.control.pomdp import Pomdp
from ppl_worldmodel.exact import finite

RANDOM = np.random.default_rng(6)
PROBLEM = Pomdp(
    initial=RANDOM.dirichlet(np.ones(3)),
    transition=RANDOM.dirichlet(np.ones(3), (2, 3)),
    observation=RANDOM.dirichlet(np.ones(2), (2, 3)),
    reward=RANDOM.normal(size=(2, 3)),
    states=("a", "b", "c"),
)


def test_a_belief_is_the_share_of_all_paths() -> None:
    """p(s_2, o_1, o_2 | a_1, a_2) summed over paths, one by one."""
    actions, seen = (1, 0), (0, 1)
    joint = np.zeros(3)
    for s0 in range(3):
        for s1 in range(3):
            for s2 in range(3):
                joint[s2] += (
                    PROBLEM.initial[s0]
                    * PROBLEM.transition[actions[0], s0, s1] * PROBLEM.observation[actions[0], s1, seen[0]]
                    * PROBLEM.transition[actions[1], s1, s2] * PROBLEM.observation[actions[1], s2, seen[1]]
                )  # fmt: skip
    belief, chance = jnp.asarray(PROBLEM.initial), 1.0
    for action, o in zip(actions, seen, strict=True):
        predicted = finite.predict(belief, jnp.asarray(PROBLEM.transition[action]))
        chance *= predicted @ PROBLEM.observation[action, :, o]
        belief = finite.correct(predicted, jnp.asarray(PROBLEM.observation[action, :, o]))
    np.testing.assert_allclose(belief, joint / joint.sum(), rtol=1e-14)
    assert chance == pytest.approx(joint.sum(), rel=1e-14)


def test_it_says_what_it_is() -> None:
    assert repr(PROBLEM).splitlines() == ["POMDP: 3 states, 2 actions, 2 observations", "  states       a, b, c"]
