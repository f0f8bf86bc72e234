"""Thousands of faulty files: none ends in a traceback, none loses a row, and each is read or refused as the oracle has it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.files.assemble import read_csv

from ..references.csv_oracle import oracle
from .faulty import OF_TABLE, OF_TEXT, faulty
from .own import loaded, two


def outcome(raw: bytes, path: Path, read: Callable[..., Any] = read_csv) -> str:
    """What became of one file: "read", "read, with gaps" or "refused"; AssertionError where the oracle has it otherwise."""
    path.write_bytes(raw)
    expected = oracle(raw)
    refusal, found = "", None
    try:
        found = read(loaded(two), str(path))
    except DataError as error:
        refusal = str(error)
    if found is None:
        assert expected is None, f"refused without need: {refusal}\n{raw!r}"
        assert str(path) in refusal
        return "refused"
    assert expected is not None, f"read, though it has a fault: {found}\n{raw!r}"
    values, times = expected
    assert set(found.values) == set(values), raw
    for name, column in values.items():
        exact = np.array([np.nan if value is None else value for value in column])
        np.testing.assert_array_equal(found.values[name].astype(float), exact, err_msg=repr(raw))
    assert ("time" in found.coords) == (times is not None), raw
    if times is not None:
        labels = found.coords["time"]
        days = labels.dtype.kind == "M"
        assert [str(v)[:10] if days else float(v) for v in labels] == [str(v) if days else float(v) for v in times], raw
    return "read, and something is said of it" if len(found.said) > 1 else "read"


def campaign(count: int, folder: Path, seed: int = 0, read: Callable[..., Any] = read_csv) -> dict[str, Counter]:
    """{fault: how often each outcome came of it} of so many random files."""
    rng = np.random.default_rng(seed)
    found: dict[str, Counter] = {name: Counter() for name in [*OF_TABLE, *OF_TEXT]}
    for _ in range(count):
        name, raw = faulty(rng)
        found[name][outcome(raw, folder / "data.csv", read)] += 1
    return found


def test_some_hundred_faulty_files(tmp_path: Path) -> None:
    counts = campaign(500, tmp_path, seed=1)
    assert all(sum(each.values()) > 0 for each in counts.values())
    for name in ("utf-16", "zero byte", "header only", "trailing comma in all rows", "comment", "empty"):
        assert set(counts[name]) == {"refused"}, name
    for name in ("none", "byte order mark", "no last line break"):
        assert counts[name]["read"] > 0, name


@pytest.mark.parametrize("fault", ["rows", "gaps", "text"])
def test_a_reader_that_loses_something_is_found(tmp_path: Path, fault: str) -> None:
    """The campaign itself, with a reader that drops a row, fills a gap, or reads what is no number as missing."""

    def lossy(own: Any, path: str) -> Any:
        if fault == "text":
            raw = Path(path).read_bytes()
            Path(path).write_bytes(raw.replace(b"much", b"").replace(b"True", b""))
        found = read_csv(own, path)
        for name, values in found.values.items():
            if fault == "rows" and len(values) > 8:
                found.values[name] = values[1:]
            if fault == "gaps":
                found.values[name] = np.nan_to_num(values)
        return found

    with pytest.raises(AssertionError):
        campaign(500, tmp_path, seed=1, read=lossy)


@pytest.mark.nightly
def test_ten_thousand_faulty_files(tmp_path: Path) -> None:
    counts = campaign(10_000, tmp_path)
    for name, each in counts.items():
        print(f"{name:32} {dict(each)}")
    assert sum(sum(each.values()) for each in counts.values()) == 10_000
