"""Memory is estimated, told, and kept to; beliefs from pieces of the draws are those of all draws."""

import numpy as np
import pytest
import xarray as xr

from ppl_worldmodel import memory
from ppl_worldmodel.errors import WorldModelError
from ppl_worldmodel.infer import beliefs


def test_amounts() -> None:
    assert [memory.number(text) for text in ("4GB", "500 mb", "1.5G", "2GiB", "1000")] == [
        4 * 10**9, 5 * 10**8, 15 * 10**8, 2 * 10**9, 1000,
    ]  # fmt: skip
    for wrong in ("much", "-1GB", "0", "4XB"):
        with pytest.raises(WorldModelError, match="--max-memory"):
            memory.number(wrong)


def test_what_is_free() -> None:
    files = {
        "/proc/meminfo": "MemTotal: 9 kB\nMemAvailable:   4000000 kB\n",
        "/sys/fs/cgroup/memory.max": "3000000000\n",
        "/sys/fs/cgroup/memory.current": "1000000000\n",
    }

    def read(path: str) -> str:
        if path not in files:
            raise FileNotFoundError(path)
        return files[path]

    assert memory.free(read) == 2 * 10**9
    files["/sys/fs/cgroup/memory.max"] = "max\n"
    assert memory.free(read) == 4_096_000_000
    files.clear()
    assert memory.free(read) > 0


def test_short_series_get_what_was_asked_for() -> None:
    with memory.at_most(4 * 10**9):
        assert memory.of_states(100, 10_000, 500, 5)[:3] == (10_000, 500, 5)
        assert memory.of_particles(1000, 2000).draws == 2000


@pytest.mark.parametrize("limit", [3 * 10**9, 4 * 10**9, 16 * 10**9])
@pytest.mark.parametrize("entries", [1000, 10_000, 100_000])
def test_long_series_stay_within_the_limit(limit: int, entries: int) -> None:
    with memory.at_most(limit):
        size = memory.of_states(entries, 10_000, 500, 5)
        assert size.draws >= 1
        assert size.prefixes >= 1
        assert size.bytes <= limit
        assert (1 + size.prefixes) * size.draws * entries <= max(memory.WORK, 2 * memory.FEWEST * entries)
        if size.draws < 10_000:
            assert f"{size.draws:,} of 10,000 draws of each chain" in memory.told(
                "gibbs", size, 10_000, 5, of="draws of each chain"
            )


def test_what_never_fits_is_refused() -> None:
    with memory.at_most(10**9), pytest.raises(WorldModelError, match="give --max-memory, a shorter series"):
        memory.of_states(10**6, 10_000, 500, 5)


@pytest.mark.parametrize("states", [3, None])
def test_beliefs_in_pieces(states: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    shape = (2, 50, 4, 7) if states else (2, 50, 4, 7, 2)  # four sequences of seven steps
    draws = random.integers(0, 3, shape) if states else random.normal(size=shape)
    whole = beliefs.of_state_draws("smoothed", draws, states)
    monkeypatch.setattr(beliefs, "PIECE", 8 * 2 * 50 * 4 * 3 * 2)  # two steps at a time
    pieces = beliefs.of_state_draws("smoothed", draws, states)
    assert set(whole) == set(pieces)
    for name, values in whole.items():
        xr.testing.assert_allclose(values, pieces[name], rtol=1e-12)
        assert values.dims == pieces[name].dims
