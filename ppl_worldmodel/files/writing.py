"""Atomic writing of files: each is written beside its place first, and then moved into it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ppl_worldmodel.errors import WorldModelError
from ppl_worldmodel.files import temporary


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file beside the target, and move it into place; folders on the way are made."""
    _check_file(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.remove_stale(path)
    name = temporary.beside(path)
    try:
        name.touch(mode=0o644, exist_ok=False)
        write(name)
        os.replace(name, path)
    finally:
        temporary.remove([name])


def try_file(path: Path) -> None:
    """Raise WorldModelError unless this file can be written; nothing is left behind."""
    _check_file(path)
    try_folder(path.parent)


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise WorldModelError(f"'{path}' is a folder: give the name of a file to write")


def try_folder(folder: Path) -> None:
    """Raise WorldModelError unless files can be written into this folder, which need not be there; nothing is left behind."""
    if folder.exists() and not folder.is_dir():
        raise WorldModelError(f"'{folder}' is a file: give a folder to write to")
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        name = temporary.beside(folder / "trial")
        try:
            name.touch(exist_ok=False)
        finally:
            temporary.remove([name])
    except OSError as error:
        raise WorldModelError(
            f"'{folder}' cannot be written to ({error.strerror}): give another place with --out"
        ) from error
    finally:
        for each in made:
            if each.is_dir():
                each.rmdir()
