"""Source lines: where in the user's own file a sample statement or an operation of a jaxpr stands.

JAX writes the Python stack down beside each equation (`equation.source_info.traceback.frames`, innermost first) and where a
called function is defined beside its jaxpr (`jaxpr.debug_info`). Both are inner interfaces: tests/program/test_lines.py says so
when they change.
"""

import linecache
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import jax
import jaxlib
import numpyro

_HOUSE = str(Path(__file__).parents[1])
_PROGRAMS = tuple(f"{_HOUSE}/{folder}/" for folder in ("models", "analyses"))
_LIBRARIES = tuple(f"{Path(str(library.__file__)).parent}/" for library in (jax, jaxlib, numpyro))
_STANDARD = f"{sysconfig.get_paths()['stdlib']}/"
LONGEST = 100  # characters of a line that are shown


class Line(NamedTuple):
    """A line of a source file; its text is empty where the file cannot be read."""

    file: str
    number: int
    text: str

    def __str__(self) -> str:
        shown = self.text if len(self.text) <= LONGEST else f"{self.text[:LONGEST]} ..."
        return f"{Path(self.file).name}:{self.number}{f' (`{shown}`)' if shown else ''}"


def where(*equations: Any) -> Line | None:
    """The user's line of an equation of a jaxpr, or None where none of his is on its stack.

    equations  the calls that it is inside of, outermost first, then the equation itself. The line is looked for inside of a
               called function only if that function is the user's own: what a library compiles once it gives to everyone who
               calls it, with the line of whoever called it first.
    """
    found = None
    for equation in equations:
        traceback = equation.source_info.traceback
        frames = () if traceback is None else ((frame.file_name, frame.line_num) for frame in traceback.frames)
        found = _first(frames) or found
        if not _is_own(equation):
            break
    return found


def library_call(*equations: Any) -> str | None:
    """The library's function (`clip`, `norm`) that the last equation is inside of, or None; arguments as of `where`."""
    for equation in equations[:-1]:
        if not _is_own(equation):
            return next((info.func_src_info.split(" at ")[0].strip("_") for info in _called(equation)), None)
    return None


def here() -> Line | None:
    """The user's innermost line on the stack of the running program."""

    def frames() -> Iterable[tuple[str, int]]:
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            yield frame.f_code.co_filename, frame.f_lineno
            frame = frame.f_back

    return _first(frames(), through_house=True)


def inner_jaxprs(equation: Any) -> list[Any]:
    """The jaxprs of what an equation calls: a function, the branches of a cond, the body of a loop."""
    parameters = equation.params
    names = ("jaxpr", "call_jaxpr", "body_jaxpr", "cond_jaxpr", "fun_jaxpr")
    found = [parameters[name] for name in names if parameters.get(name) is not None]
    return [getattr(inner, "jaxpr", inner) for inner in (*found, *parameters.get("branches", ()))]


def _called(equation: Any) -> list[Any]:
    infos = [getattr(inner, "debug_info", None) for inner in inner_jaxprs(equation)]
    return [info for info in infos if getattr(info, "func_src_info", None)]


def _is_own(equation: Any) -> bool:
    """Does this equation call a function that stands in a file of the user's?"""
    files = [info.func_filename for info in _called(equation)]
    return any(file is not None and not _is_library(file) and not _is_house(file) for file in files)


def is_librarys(equation: Any) -> bool:
    """Does this equation call a function of JAX or NumPyro, and of nobody else?"""
    files = [info.func_filename for info in _called(equation)]
    return bool(files) and all(file is not None and _is_library(file) for file in files)


def _first(frames: Iterable[tuple[str, int]], through_house: bool = False) -> Line | None:
    """The innermost frame in a file of the user's; code that this package runs for itself has none."""
    fallback = None
    for file, number in frames:
        if _is_library(file):
            continue
        if _is_house(file):
            if through_house:
                continue
            break
        if "site-packages" not in file:
            return _line(file, number)
        fallback = fallback or (file, number)
    return fallback and _line(*fallback)


def _line(file: str, number: int) -> Line:
    return Line(file, number, linecache.getline(file, number).strip())


def _is_library(file: str) -> bool:
    if file.startswith(_LIBRARIES) or file.startswith("<frozen"):
        return True
    return file.startswith(_STANDARD) and "site-packages" not in file


def _is_house(file: str) -> bool:
    return file.startswith(f"{_HOUSE}/") and not file.startswith(_PROGRAMS)
