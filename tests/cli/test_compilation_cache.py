"""Are compiled programs kept between runs of the command, where they should be, and never in the way?"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ppl_worldmodel.cli import compilation_cache


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("JAX_COMPILATION_CACHE_DIR", compilation_cache.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_the_folder_is_the_users_own_and_that_of_the_processor(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compilation_cache.folder()
    assert first is not None
    assert first.parent == home / "ppl_worldmodel"
    monkeypatch.setattr(compilation_cache, "_processor", lambda: "another one")
    assert compilation_cache.folder() != first
    monkeypatch.setenv(compilation_cache.VARIABLE, str(home / "elsewhere"))
    assert str(compilation_cache.folder()).startswith(str(home / "elsewhere"))


@pytest.mark.parametrize(
    ("name", "value"), [(compilation_cache.VARIABLE, "off"), ("JAX_COMPILATION_CACHE_DIR", "given")]
)
def test_it_can_be_turned_off_and_leaves_a_folder_that_was_given(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert compilation_cache.folder() is None
    assert compilation_cache.keep() is None
    assert os.environ.get("JAX_COMPILATION_CACHE_DIR") == (value if name.startswith("JAX") else None)
    assert not list(home.iterdir())


def test_a_folder_that_cannot_be_made_is_no_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").write_text("")
    monkeypatch.setenv(compilation_cache.VARIABLE, str(home / "file"))
    assert compilation_cache.keep() is None


def test_what_was_not_used_for_longest_is_removed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for age, name in enumerate(("new", "older", "oldest")):
        (home / name).write_bytes(b"12345678")
        os.utime(home / name, (1e9 - age, 1e9 - age))
    monkeypatch.setattr(compilation_cache, "LARGEST", 16)
    compilation_cache._trim(home)
    assert sorted(entry.name for entry in home.iterdir()) == ["new", "older"]


def simulated(cache: str) -> tuple[str, str]:
    """Standard output and error of a command in a process of its own."""
    command = [sys.executable, "-m", "ppl_worldmodel.cli.main", "simulate", "tracker", "--steps", "5"]
    environment = os.environ | {compilation_cache.VARIABLE: cache}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.slow
def test_entries_are_kept_and_broken_ones_are_removed_without_a_word(tmp_path: Path) -> None:
    expected, _ = simulated("off")
    cold, _ = simulated(str(tmp_path))
    entries = [entry for entry in tmp_path.rglob("*") if entry.is_file()]
    assert entries
    assert cold == expected
    assert simulated(str(tmp_path))[0] == expected
    for entry in entries:
        entry.write_bytes(entry.read_bytes()[:-20])
    found, said = simulated(str(tmp_path))
    assert found == expected
    assert "warning" not in said
    assert not [entry for entry in entries if entry.exists()]
