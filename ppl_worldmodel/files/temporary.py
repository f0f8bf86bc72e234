"""Temporary files: named so that they can be found and removed when the process that writes them is killed.

A name contains the host and the process. The supervisor of the process gets each name before the file is made.
"""

import contextlib
import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path

_announced_to: int | None = None
_made: dict[str, None] = {}


def beside(path: Path) -> Path:
    """A name for a temporary file in the folder of `path`. The name is announced; the file is not made yet."""
    name = path.parent / f".{path.name}.{_host()}.{os.getpid()}-{len(_made)}.tmp"
    _made[str(name.absolute())] = None
    if _announced_to is not None:
        with contextlib.suppress(OSError):  # a supervisor that does not listen is no reason not to write
            os.write(_announced_to, os.fsencode(name.absolute()) + b"\0")
    return name


def remove_stale(path: Path) -> None:
    """Remove temporary files for `path` whose process, on this host, is gone."""
    pattern = re.compile(re.escape(f".{path.name}.{_host()}.") + r"(\d+)-\d+\.tmp")
    for other in path.parent.iterdir():
        match = pattern.fullmatch(other.name)
        if match and not _runs(int(match[1])):
            remove([other])


def remove(names: Iterable[str | Path]) -> None:
    """Remove those of the files that are there."""
    for name in names:
        with contextlib.suppress(OSError):
            os.unlink(name)


def own() -> list[str]:
    """All names that this process has given."""
    return list(_made)


def announce_to(descriptor: int) -> None:
    """Write every further name to this pipe; a full pipe is not waited for."""
    global _announced_to
    os.set_blocking(descriptor, False)
    _announced_to = descriptor


def announced(descriptor: int) -> list[str]:
    """The names that were written to the other end of the pipe; this end is closed."""
    with os.fdopen(descriptor, "rb") as pipe:
        os.set_blocking(descriptor, False)  # a process that the dead one had started may hold it open
        return [os.fsdecode(name) for name in (pipe.read() or b"").split(b"\0") if name]


def _host() -> str:
    return re.sub(r"[^\w-]", "_", platform.node()) or "host"


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True
