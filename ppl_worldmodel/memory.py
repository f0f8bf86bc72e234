"""Estimates of a run's memory and work before it begins, and the numbers of draws that keep within their limits.

The figures are measured peaks, rounded up: of a hundred thousand steps of two states, and of a thousand with many draws. So they
hold for states with few values.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from ppl_worldmodel.errors import WorldModelError

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
PROGRAM = 500_000_000  # Python, JAX and what is compiled
PER_DRAW = 64  # bytes of each entry of each draw of the states, while they are sampled and summarised
PER_START = 16_000  # bytes of each entry of the states, while initial values are tried
CHAINS = 4
WORK = 30_000_000  # entries times sweeps, of all posteriors: some minutes
PARTICLES = 2_000_000_000  # steps times particles, of all replicates
REPLICATES = 32
NO_LIMIT = 10**18
FEWEST = 100  # draws of a chain, particles of a replicate


_limit: ContextVar[int] = ContextVar("limit", default=0)


class Size(NamedTuple):
    """How much an engine does: draws (of a chain, or particles), warm-up, further posteriors for prefixes; bytes it may take."""

    draws: int
    warmup: int
    prefixes: int
    bytes: int


def of_states(entries: int, draws: int, warmup: int, prefixes: int, *, work: int = WORK) -> Size:
    """Draws of the states of a whole series, and of some of its prefixes.

    entries   time steps times series times coordinates; work: entries times sweeps that are worth the wait
    Prefixes are dropped first, down to one; then there are fewer draws. Raises WorldModelError where not even one draw fits into
    `limit()`.
    """
    most = limit()
    each = CHAINS * entries * PER_DRAW
    room = (most - PROGRAM - entries * PER_START) // each
    if room < 1:
        least = PROGRAM + entries * PER_START + FEWEST * each
        raise WorldModelError(
            f"{entries:,} steps need about {words(least)} of memory: give --max-memory, a shorter series, or other --engines"
        )
    while prefixes > 1 and (1 + prefixes) * (draws + warmup) * entries > work:
        prefixes -= 1
    share = work / ((1 + prefixes) * (draws + warmup) * entries)
    if share < 1.0:
        draws, warmup = max(int(draws * share), FEWEST), max(int(warmup * share), FEWEST // 2)
    draws = min(draws, int(room))
    return Size(draws, warmup, prefixes, PROGRAM + entries * PER_START + draws * each)


def of_particles(entries: int, particles: int) -> Size:
    """Particles of a filter along a series."""
    kept = min(particles, max(FEWEST, PARTICLES // (REPLICATES * entries)))
    return Size(kept, 0, 0, PROGRAM + REPLICATES * (entries * 16 + kept * 64) * 8)


def limit() -> int:
    """Bytes that a run may take: what `at_most` says, else half of what is free."""
    return _limit.get() or max(free() // 2, 2 * PROGRAM)


@contextlib.contextmanager
def at_most(number: int | None) -> Iterator[None]:
    """Limit runs within this block to this number of bytes; None: to half of what is free now."""
    before = _limit.set(number or limit())
    try:
        yield
    finally:
        _limit.reset(before)


def told(name: str, size: Size, asked: int, prefixes: int = 0, *, of: str) -> str:
    """A line on the memory that an engine will take, and on what was reduced to keep within the limits."""
    less = []
    if size.draws < asked:
        less.append(f"{size.draws:,} of {asked:,} {of}")
    if size.prefixes < prefixes:
        less.append(f"{size.prefixes} of {prefixes} prefixes")
    return f"{name}: about {words(size.bytes)}" + (f"; a series this long gets {' and '.join(less)}" if less else "")


def words(size: int) -> str:
    """A number of bytes as text, such as 1.5 GB."""
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{size / 1e6:.0f} MB"


def number(text: str) -> int:
    """Bytes from `4GB`, `500MB` or a number."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?", text.strip().upper())
    if not match or float(match[1]) == 0:
        raise WorldModelError(f"--max-memory {text}: expected an amount such as 4GB or 500MB")
    return int(float(match[1]) * UNITS[match[2]])


def free(read: Callable[[str], str] = lambda path: Path(path).read_text()) -> int:
    """Bytes that this process can still take: of the machine's memory, and of its control group's limit.

    read  returns the text of a file; OSError where it is not there. If nothing is known, 8 GB are taken to be free.
    """
    found = []
    with contextlib.suppress(OSError, IndexError):
        found.append(1024 * int(re.findall(r"MemAvailable:\s*(\d+)", read("/proc/meminfo"))[0]))
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            found.append(int(read(limit)) - int(read(used)))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return max(min(found, default=8 * 10**9), 0)
