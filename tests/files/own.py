"""Programs, and files as their text, for the tests of files."""

from pathlib import Path
from types import ModuleType
from typing import Any

from ppl_worldmodel.files.assemble import Data, read_csv
from ppl_worldmodel.files.load import Loaded


def loaded(model: Any, **columns: str) -> Loaded:
    return Loaded("own", model, "", "", None, {}, columns, {}, ModuleType("own"))


def plain(y, lengths, price=None, num_steps=50) -> None:
    """Two arguments without a default, one that may be missing, and one with a value."""


def one(y=None, num_steps=50) -> None:
    """One series."""


def two(y=None, x=None) -> None:
    """A series and an input."""


def read(tmp_path: Path, text: str | bytes, columns: tuple[str, ...] = (), model: Any = two, **more: Any) -> Data:
    """The data in a file of this text."""
    path = tmp_path / "data.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_csv(loaded(model), str(path), columns, **more)
