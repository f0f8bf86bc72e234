"""Compiled programs are kept between runs of the command, in a folder of the user's cache directory (JAX's persistent cache).

WORLDMODEL_CACHE names another folder, or is `off`. A folder that the environment already gives to JAX (JAX_COMPILATION_CACHE_DIR)
is left as it is. There is one folder for each version of JAX's compiler and each kind of processor, since compiled code of one may
not run on the other. JAX recognises an entry that a killed run left half written, and compiles again; the folder is then emptied.
"""

import contextlib
import hashlib
import os
import platform
import shutil
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

VARIABLE, OFF = "WORLDMODEL_CACHE", "off"
LARGEST = 1 << 30  # bytes; above, the entries that were not used for longest are removed
BROKEN = "persistent compilation cache entry"  # in every warning of JAX about an entry that cannot be read or written


def folder() -> Path | None:
    """Where compiled programs are kept; None: nowhere."""
    chosen = os.environ.get(VARIABLE, "")
    if chosen == OFF or os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kind = hashlib.sha256(_processor().encode()).hexdigest()[:12]
    return Path(chosen or cache / "ppl_worldmodel") / f"jaxlib-{version('jaxlib')}-{kind}"


def keep() -> Path | None:
    """JAX, which must not have been imported before, keeps what it compiles; returns where, None if nowhere."""
    try:
        where = folder()
        if where is not None:
            where.mkdir(parents=True, exist_ok=True)
            _trim(where)
    except (OSError, RuntimeError):  # no home directory, or one that cannot be written
        where = None
    if where is not None:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(where)
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.02")
    return where


@contextlib.contextmanager
def emptied_if_broken(where: Path | None) -> Iterator[None]:
    """Meanwhile warnings about entries of the folder `where` are not shown; after one, the folder is emptied."""
    shown, broken = warnings.showwarning, False

    def show(message: Warning | str, *arguments: Any, **settings: Any) -> None:
        nonlocal broken
        if BROKEN in str(message) and where is not None:
            broken = True
        else:
            shown(message, *arguments, **settings)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown
        if broken and where is not None:
            shutil.rmtree(where, ignore_errors=True)


def _trim(where: Path) -> None:
    """Remove the entries not used for longest while all take more than LARGEST."""
    entries = sorted(
        (entry.stat().st_atime, entry.stat().st_size, entry) for entry in where.iterdir() if entry.is_file()
    )
    total = sum(size for _, size, _ in entries)
    for _, size, entry in entries:
        if total <= LARGEST:
            return
        entry.unlink(missing_ok=True)
        total -= size


def _processor() -> str:
    """The kind of processor, with the instructions that it has."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return f"{platform.system()} {platform.machine()} {platform.processor()} {features}"
