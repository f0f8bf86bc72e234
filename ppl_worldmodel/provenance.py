"""Provenance of a result: versions of the package and its libraries, the commit of the code, the time."""

import functools
import json
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

_MADE_BY = ("ppl_worldmodel", "numpyro", "jax", "arviz", "numpy", "xarray")


def provenance() -> dict[str, str]:
    """Flat attributes for a result: versions (JSON), commit ("" where the code is no checkout), created (UTC, ISO 8601)."""
    return {"versions": _versions(), "commit": commit(), "created": datetime.now(UTC).isoformat(timespec="seconds")}


@functools.cache
def _versions() -> str:
    return json.dumps({name: version(name) for name in _MADE_BY})


@functools.cache
def commit() -> str:
    """The git commit of the package's own checkout, with a + if files differ from it; "" where it is installed from a wheel."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--", str(here)) else "")
    except (OSError, subprocess.SubprocessError):
        return ""
