"""Is the marginal of a part the sum over the other parts?  Against a sum over the axes of a grid, and its refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ppl_worldmodel import read
from ppl_worldmodel.exact import Structure, finite
from ppl_worldmodel.exact.marginals import entries, marginal, parts

from ..program import written_finite

GRID = Structure(factors=("a", "b"), labels=tuple((i, j) for i in range(3) for j in (2, 5)))


def beliefs(*lead: int) -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.ones(6), lead)


@pytest.mark.parametrize("lead", [(), (4,), (2, 4)])
def test_a_marginal_is_the_sum_over_the_other_axes_of_the_grid(lead: tuple[int, ...]) -> None:
    joint = beliefs(*lead)
    grid = joint.reshape(*lead, 3, 2)
    for name, axis, expected in (("a", -1, [0, 1, 2]), ("b", -2, [2, 5])):
        values, found = marginal(joint, GRID, name)
        assert values.tolist() == expected
        np.testing.assert_allclose(found, grid.sum(axis=axis), rtol=1e-14)
        np.testing.assert_allclose(found.sum(axis=-1), 1.0, rtol=1e-14)


def test_states_in_any_order_and_not_all_combinations() -> None:
    structure = Structure(factors=("a", "b"), labels=((1, 0), (0, 0), (1, 1)))
    joint = np.array([0.5, 0.2, 0.3])
    np.testing.assert_allclose(marginal(joint, structure, "a")[1], [0.2, 0.8])
    np.testing.assert_allclose(marginal(joint, structure, "b")[1], [0.7, 0.3])


def test_it_can_be_traced_and_what_was_not_asked_stays_so() -> None:
    joint = beliefs(4)
    joint[2] = np.nan
    found = jax.jit(lambda p: marginal(p, GRID, "a")[1])(jnp.asarray(joint))
    assert np.isnan(found[2]).all()
    np.testing.assert_allclose(found[np.array([0, 1, 3])], marginal(joint[[0, 1, 3]], GRID, "a")[1], rtol=1e-14)


def test_parts_of_a_program_are_those_of_its_carry() -> None:
    example = written_finite.WRITTEN["factorial"]
    system = read(example.model, example.data).system
    assert parts(system.structure) == ("a", "b")
    past = finite.smooth(system).smoothed
    values, found = marginal(past, system.structure, "a")
    assert values.tolist() == [0, 1, 2]
    listed = [[past[:, k] for k, label in enumerate(system.structure.labels) if label[0] == value] for value in values]
    np.testing.assert_allclose(found, np.stack([sum(each) for each in listed], axis=-1), rtol=1e-12)


def test_entries_of_vectors_have_names() -> None:
    assert entries(("a", "b"), 2) == ("a", "b")
    assert entries(("s",), 3) == ("s[0]", "s[1]", "s[2]")
    assert entries(("level", "seasons"), 3) == ("entry 0", "entry 1", "entry 2")
    assert entries((), 2) == ("entry 0", "entry 1")


def test_refusals_say_what_there_is() -> None:
    with pytest.raises(ValueError, match="no part 'c': its parts are 'a', 'b'"):
        marginal(beliefs(4), GRID, "c")
    with pytest.raises(ValueError, match="has 5 entries, expected one for each of the 6 states"):
        marginal(beliefs(4)[:, :5], GRID, "a")
    with pytest.raises(ValueError, match="lists no states"):
        marginal(beliefs(4), Structure(), "a")
