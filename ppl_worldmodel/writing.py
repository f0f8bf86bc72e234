"""How is a file written?  Whole, or not at all: beside its place first, and then moved into it."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ppl_worldmodel.errors import WorldModelError


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file beside the target, and move it into place; folders on the way are made."""
    if path.is_dir():
        raise WorldModelError(f"'{path}' is a folder: give the name of a file to write")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        write(Path(name))
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
