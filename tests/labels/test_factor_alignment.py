"""Is the nearest sign, order or rotation of factors found for every draw, and is it said when none is clear?"""

from itertools import permutations, product
from typing import Any

import numpy as np
import pytest

from ppl_worldmodel.labels.factor_alignment import CLEAR, align_factors, described

RANDOM = np.random.default_rng(5)
STEPS, DIM = 40, 3


def every(group: str) -> list[np.ndarray]:
    """All matrices of a finite group, written out."""
    signs = [np.diag(sign) for sign in product([1.0, -1.0], repeat=DIM)]
    orders = [np.eye(DIM)[list(order)] for order in permutations(range(DIM))]
    if group == "signs":
        return signs
    return orders if group == "permutations" else [sign @ order for sign in signs for order in orders]


@pytest.mark.parametrize("group", ["signs", "permutations", "signed permutations"])
def test_the_nearest_of_all_matrices_is_found(group: Any) -> None:
    reference = RANDOM.standard_normal((STEPS, DIM))
    reference /= np.sqrt((reference**2).sum(axis=0))
    choices = every(group)
    for _ in range(20):
        true = choices[RANDOM.integers(len(choices))]
        draw = reference @ true + 0.05 * RANDOM.standard_normal((STEPS, DIM))
        draw /= np.sqrt((draw**2).sum(axis=0))
        found = align_factors(draw[None, None], group, reference).rotation[0, 0]
        distances = [np.square(draw @ G.T - reference).sum() for G in choices]
        np.testing.assert_array_equal(found, choices[int(np.argmin(distances))])


def test_a_rotation_is_nearer_than_any_other_that_is_tried() -> None:
    reference = RANDOM.standard_normal((STEPS, DIM))
    true = np.linalg.qr(RANDOM.standard_normal((DIM, DIM)))[0]
    draw = reference @ true + 0.1 * RANDOM.standard_normal((STEPS, DIM))
    found = align_factors(draw[None, None], "rotations", reference).rotation[0, 0]
    np.testing.assert_allclose(found @ found.T, np.eye(DIM), atol=1e-14)
    least = np.square(draw @ found.T - reference).sum()
    for scale in (1e-3, 1e-1, 10.0):
        for _ in range(50):
            other = np.linalg.qr(found + scale * RANDOM.standard_normal((DIM, DIM)))
            near = other[0] * np.sign(np.diagonal(other[1]))
            assert np.square(draw @ near.T - reference).sum() >= least - 1e-10


@pytest.mark.parametrize("group", ["signs", "permutations", "signed permutations", "rotations"])
def test_without_a_reference_the_draws_settle_on_one_image(group: Any) -> None:
    centre = np.cumsum(RANDOM.standard_normal((STEPS, DIM)), axis=0)
    if group == "rotations":
        turns = [np.linalg.qr(RANDOM.standard_normal((DIM, DIM)))[0] for _ in range(12)]
    else:
        choices = every(group)
        turns = [choices[at] for at in RANDOM.integers(len(choices), size=12)]
    draws = np.stack([centre @ G + 0.02 * RANDOM.standard_normal((STEPS, DIM)) for G in turns]).reshape(
        2, 6, STEPS, DIM
    )
    told = align_factors(draws, group)
    aligned = draws @ np.swapaxes(told.rotation, -1, -2)
    assert aligned.std(axis=(0, 1)).max() < 0.06
    assert draws.std(axis=(0, 1)).max() > 1.0
    said = described(told, group)
    assert said.attrs["unclear"] == 0.0
    assert ("labellings" in said.attrs) is (group != "rotations")


def test_factors_that_cannot_be_told_apart_are_not_clear() -> None:
    one = RANDOM.standard_normal((STEPS, 1))
    same = np.repeat(one, 2, axis=1)
    noise = 0.1 * RANDOM.standard_normal((STEPS, 2))
    assert align_factors((same + noise)[None, None], "permutations", same + noise[::-1]).margin[0, 0] < CLEAR
    unlike = RANDOM.standard_normal((STEPS, 2))
    assert align_factors((unlike + noise)[None, None], "permutations", unlike + noise[::-1]).margin[0, 0] > CLEAR
    # Two that are alike in the large, and yet differ by much more than the noise.
    near = same + 0.5 * unlike
    assert align_factors((near + 0.1 * noise)[None, None], "permutations", near).margin[0, 0] > CLEAR
    # A factor that the reference does not have.
    strange = np.stack([unlike[:, 0], np.roll(unlike[:, 1], 7)], axis=1)
    assert align_factors(strange[None, None], "signs", unlike).margin[0, 0] < 0.5
