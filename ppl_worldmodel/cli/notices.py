"""Warnings of libraries about the user's program: each is printed once, as one line that names the user's line."""

import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from ppl_worldmodel.failure import called, is_user

_COMMAND = os.path.join("ppl_worldmodel", "cli", "main.py")


@contextlib.contextmanager
def told_once(models: Sequence[str] = ()) -> Iterator[None]:
    """Print each warning that comes meanwhile to standard error, the same text only once; `models`: as in the call."""
    seen: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        text = " ".join(str(message).split())
        if text not in seen:
            seen.add(text)
            print(f"warning: {text}{_where(models)}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _where(models: Sequence[str]) -> str:
    """The innermost running line of the user's program, in brackets; code that called the command is not looked at."""
    for frame, line in traceback.walk_stack(sys._getframe(1)):
        if frame.f_code.co_filename.endswith(_COMMAND):
            return ""
        if is_user(frame.f_code.co_filename):
            return f" ({called(frame.f_code.co_filename, models)}:{line})"
    return ""
