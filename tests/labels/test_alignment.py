"""Are planted names undone, and is it said where names cannot be told apart?"""

import numpy as np

from ppl_worldmodel.labels.alignment import align, relabelled


def occupancies(rng: np.random.Generator, sharp: float, states: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """What draws (chain, draw, step, state) say about one path, each a little differently; and the path."""
    path = rng.integers(states, size=200)
    logits = sharp * np.eye(states)[path] + 0.3 * rng.normal(size=(4, 50, 200, states))
    weight = np.exp(logits)
    return weight / weight.sum(axis=-1, keepdims=True), path


def test_planted_orders_are_undone_without_a_reference() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        occupied, _ = occupancies(rng, 3.0)
        planted = np.stack([[rng.permutation(3) for _ in range(50)] for _ in range(4)])
        mixed = np.take_along_axis(occupied, planted[:, :, None, :], axis=-1)
        told = align(mixed)
        back = np.take_along_axis(planted, told.order, axis=-1)
        assert (back == back[0, 0]).all(), "the same original state has the same name in every draw"
        assert told.unclear == 0.0


def test_names_are_those_of_the_reference() -> None:
    rng = np.random.default_rng(1)
    occupied, path = occupancies(rng, 3.0)
    reference = np.eye(3)[path][:, [2, 0, 1]]  # what the draws call 0 is 1 there, and so on
    told = align(occupied, reference)
    assert (told.order == [2, 0, 1]).all()
    assert told.labellings == [1] * 4
    assert told.switches == [0] * 4


def test_two_states_that_are_one_are_said_to_be_unclear() -> None:
    """Two columns share what one state had, at random: no naming of these two is better than the other."""
    rng = np.random.default_rng(2)
    occupied, _ = occupancies(rng, 3.0, states=2)
    share = rng.beta(50.0, 50.0, size=(*occupied.shape[:3], 1))
    split = np.concatenate([occupied[..., :1], occupied[..., 1:] * share, occupied[..., 1:] * (1 - share)], axis=-1)
    told = align(split)
    assert told.unclear > 0.05
    rivals = told.rival[told.margin < 3.0]
    reference = told.reference.mean(axis=0)
    alike = np.argsort(np.abs(reference - occupied[..., 1].mean() / 2))[:2]
    assert {tuple(sorted(pair)) for pair in rivals.tolist()} == {tuple(sorted(alike.tolist()))}


def test_parameters_follow_their_states() -> None:
    T = np.arange(9.0).reshape(1, 1, 3, 3)
    order = np.array([[[2, 0, 1]]])
    np.testing.assert_array_equal(relabelled(T, order, (0, 1))[0, 0], T[0, 0][np.ix_([2, 0, 1], [2, 0, 1])])
    np.testing.assert_array_equal(relabelled(T, order, (0,))[0, 0], T[0, 0][[2, 0, 1]])
    np.testing.assert_array_equal(relabelled(T, order, ())[0, 0], T[0, 0])
