"""Connectivity under single-site moves: the proof against a walk through all possible paths, listed one by one."""

import itertools

import numpy as np
import pytest

from ppl_worldmodel.infer.connectivity import a_path, connected, possible


def by_walking(allowed: np.ndarray, memory: int) -> tuple[list[tuple[int, ...]], int]:
    """All possible paths, and how many are reached from the first of them by changing one value at a time."""
    length, _, values = allowed.shape

    def stands(path: tuple[int, ...]) -> bool:
        padded = (0,) * memory + path
        contexts = [int("".join(map(str, padded[p : p + memory])), values) for p in range(length)]
        return all(allowed[p, c, x] for p, (c, x) in enumerate(zip(contexts, path, strict=True)))

    paths = [path for path in itertools.product(range(values), repeat=length) if stands(path)]
    reached, ahead = set(paths[:1]), paths[:1]
    while ahead:
        path = ahead.pop()
        for p, x in itertools.product(range(length), range(values)):
            other = (*path[:p], x, *path[p + 1 :])
            if other not in reached and stands(other):
                reached.add(other)
                ahead.append(other)
    return paths, len(reached)


def random_zeros(random: np.random.Generator, memory: int) -> np.ndarray:
    """A few zeros: the same at every step, but for the first positions, whose values before the start do not matter."""
    values, length = int(random.integers(2, 4 if memory == 1 else 3)), int(random.integers(3, 6))
    page = random.random((values**memory, values)) < random.choice([0.45, 0.6, 0.8])
    allowed = np.repeat(page[None], length, axis=0)
    if random.random() < 0.3:  # an observation that some values cannot explain
        allowed[int(random.integers(length))] &= random.random(values) < 0.7
    for p in range(memory):
        # Values before the start of the path: as if they were zero.
        own = np.arange(values**memory) % values**p
        allowed[p] = allowed[p][own]
    return allowed


@pytest.mark.parametrize("memory", [1, 2])
def test_what_is_proven_to_connect_is_connected(memory: int) -> None:
    random = np.random.default_rng(3)
    proven = apart = open_ = 0
    for _ in range(200):
        allowed = random_zeros(random, memory)
        paths, reached = by_walking(allowed, memory)
        if not paths:
            assert not possible(allowed).any()
            assert not connected(allowed)
            continue
        if connected(allowed):
            assert reached == len(paths), allowed
            proven += 1
        elif reached < len(paths):
            apart += 1
        else:
            open_ += 1
        assert tuple(a_path(allowed, random)) in paths
        kept = possible(allowed)
        firsts = {path[0] for path in paths}
        assert set(np.flatnonzero(kept[0].any(axis=0))) == firsts
    assert proven > 60, (proven, apart, open_)
    assert apart > 4, (proven, apart, open_)


def chain(T: list[list[int]], length: int) -> np.ndarray:
    return np.repeat(np.array(T, bool)[None], length, axis=0)


def with_any_start(allowed: np.ndarray) -> np.ndarray:
    allowed[0] = True
    return allowed


def test_positive_transitions_connect() -> None:
    assert connected(with_any_start(chain([[1, 1, 1], [1, 1, 1], [1, 1, 1]], 40)))


def test_a_state_that_moves_one_up_or_down_connects() -> None:
    assert connected(with_any_start(chain([[1, 1, 0], [1, 1, 1], [0, 1, 1]], 40)))


def test_a_state_that_never_moves_does_not() -> None:
    stays = with_any_start(chain([[1, 0], [0, 1]], 12))
    assert by_walking(stays, 1)[1] == 1
    assert not connected(stays)


def test_a_state_that_is_reset_every_third_step_does_not() -> None:
    tiger = with_any_start(chain([[1, 0], [0, 1]], 12))
    tiger[::3] = True
    assert not connected(tiger)


def test_turns_that_must_alternate_do_not() -> None:
    assert not connected(with_any_start(chain([[0, 1], [1, 0]], 6)))


def test_phases_without_a_way_back_are_left_open() -> None:
    phases = chain([[1, 1, 0], [0, 1, 1], [0, 0, 1]], 6)
    assert by_walking(phases, 1)[1] == len(by_walking(phases, 1)[0])  # connected, but along one narrow line
    assert not connected(phases)


def test_an_observation_that_only_one_value_explains_cuts_nothing() -> None:
    seen = with_any_start(chain([[1, 1], [1, 1]], 9))
    seen[4, :, 1] = False
    assert connected(seen)


def test_no_possible_path() -> None:
    impossible = with_any_start(chain([[1, 1], [1, 1]], 4))
    impossible[2] = False
    assert not connected(impossible)
    with pytest.raises(ValueError, match="no path is possible"):
        a_path(impossible, np.random.default_rng(0))
