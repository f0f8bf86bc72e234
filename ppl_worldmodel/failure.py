"""Messages and exit statuses for exceptions: whose fault one is, and where it happened.

The status is 2 for what the user can mend: a wrong call, an error in the user's own file. It is 70 for a fault of ours or of the
machine.
"""

import errno
import linecache
import os
import sysconfig
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from ppl_worldmodel.errors import FAULT, WRONG_CALL, ProgramError, ReadingFault, WorldModelError
from ppl_worldmodel.provenance import provenance

_OF_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
_IN_WORDS = ("No space left on device", "Disk quota exceeded", "RESOURCE_EXHAUSTED", "Out of memory")


def told(error: BaseException, models: Sequence[str] = ()) -> tuple[int, str]:
    """The exit status and the message of an exception; `models`: as the user wrote them in the call."""
    if isinstance(error, WorldModelError):
        return WRONG_CALL, str(error)
    if isinstance(error, ReadingFault):
        return FAULT, str(error)
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    lines = [line for _, line in traceback.walk_tb(error.__traceback__)]
    place = last_of_user(frames)
    said = _one_line(error)
    if of_machine(error):
        return FAULT, f"the machine gave up: {said}; no file is left half written"
    ours_after = place is not None and any(_is_ours(frame.f_code) for frame in frames[place + 1 :])
    if place is not None and not ours_after:
        name = called(frames[place].f_code.co_filename, models)
        line = linecache.getline(frames[place].f_code.co_filename, lines[place]).strip()
        if isinstance(error, SystemExit):
            return WRONG_CALL, f"the program in '{name}' ends Python at line {lines[place]} ({line}): leave that out"
        return WRONG_CALL, (
            f"the program in '{name}' fails at line {lines[place]} ({line}): {said}\n"
            "Run the program by itself first: numpyro.handlers.seed(model, 0)(**data)."
        )
    if isinstance(error, OSError) and error.filename and not _is_ours_file(str(error.filename)):
        return WRONG_CALL, f"{error.strerror}: '{error.filename}'"
    return FAULT, _fault(error, frames, lines, place, models)


@contextmanager
def in_words() -> Iterator[None]:
    """Turn exceptions raised inside into ProgramError or ReadingFault, whose message names the place."""
    try:
        yield
    except (WorldModelError, ReadingFault):
        raise
    except Exception as error:
        if of_machine(error):
            raise
        status, message = told(error)
        raise (ProgramError if status == WRONG_CALL else ReadingFault)(message) from error


def of_machine(error: BaseException) -> bool:
    """Is the disk full, the memory used up, or the like?"""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _OF_MACHINE):
        return True
    return isinstance(error, (OSError, RuntimeError)) and any(words in str(error) for words in _IN_WORDS)


def last_of_user(frames: Sequence[FrameType]) -> int | None:
    """The place of the innermost frame of the user's own code; None without one."""
    return next((i for i in reversed(range(len(frames))) if is_user(frames[i].f_code.co_filename)), None)


def is_user(filename: str) -> bool:
    """Is this a file of the user's: neither of this package, nor of an installed one, nor of Python?"""
    if filename.startswith(("<stdin", "<ipython")):
        return True
    if filename.startswith("<") or _is_ours_file(filename):
        return False
    path = os.path.realpath(filename)
    parts = Path(path).parts
    installed = "site-packages" in parts or "dist-packages" in parts
    return not installed and not path.startswith(os.path.realpath(sysconfig.get_path("stdlib")) + os.sep)


def called(filename: str, models: Sequence[str] = ()) -> str:
    """The name of a file as the user gave it, else its path relative to the current folder."""
    path = os.path.realpath(filename)
    for name in models:
        if os.path.realpath(name) == path:
            return name
    here = os.path.relpath(path)
    return path if here.startswith("..") else here


def _fault(
    error: BaseException, frames: Sequence[FrameType], lines: Sequence[int], place: int | None, models: Sequence[str]
) -> str:
    """The message about a fault of ours, with what to report."""
    ours = [f"{_short(f.f_code)}:{line}" for f, line in zip(frames, lines, strict=True) if _is_ours(f.f_code)]
    where = [" > ".join(ours[-6:]) or "outside of the package"]
    site = site_in(frames)
    if site:
        where.append(f"at site '{site}'")
    if place is not None:
        where.append(f"called from {called(frames[place].f_code.co_filename, models)}:{lines[place]}")
    if os.environ.get("WORLDMODEL_TRACEBACK"):
        where.append("\n" + "".join(traceback.format_exception(error)).rstrip())
    made_by = provenance()
    return (
        f"a fault of ours, not of your program: {_one_line(error)}\n"
        f"where    {', '.join(where)}\n"
        f"report   these lines, the command and the model file; {made_by['versions']} {made_by['commit']}".rstrip()
        + (
            ""
            if os.environ.get("WORLDMODEL_TRACEBACK")
            else "\n         (with WORLDMODEL_TRACEBACK=1 the call says more)"
        )
    )


def site_in(frames: Sequence[FrameType]) -> str:
    """The site that was worked on, from the innermost frame that knows one; empty without one."""
    for frame in reversed(frames):
        message, site = frame.f_locals.get("msg"), frame.f_locals.get("site")
        if isinstance(message, Mapping) and message.get("type") == "sample":
            return str(message["name"])
        if isinstance(site, tuple) and hasattr(site, "fn") and hasattr(site, "name"):
            return str(site.name)
    return ""


def _one_line(error: BaseException) -> str:
    """The type of an exception and the first line of its message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else f"{type(error).__name__} (no message)"


def _is_ours(code: CodeType) -> bool:
    return _is_ours_file(code.co_filename)


def _is_ours_file(filename: str) -> bool:
    return any(os.path.realpath(filename).startswith(folder + os.sep) for folder in _folders())


def _folders() -> list[str]:
    """The folders of the package; its models and analyses may lie beside it."""
    found: list[str] = [os.path.dirname(os.path.realpath(__file__))]
    for name in ("ppl_worldmodel.models", "ppl_worldmodel.analyses"):
        spec: Any = find_spec(name)
        found += [os.path.realpath(folder) for folder in (spec.submodule_search_locations if spec else ())]
    return found


def _short(code: CodeType) -> str:
    return os.path.relpath(os.path.realpath(code.co_filename), os.path.dirname(os.path.realpath(__file__)))
