"""Is the time column found, kept and checked?  Dates, years, months; order, repeats and gaps."""

from pathlib import Path

import numpy as np
import pytest

from ppl_worldmodel.errors import DataError

from .own import one, read


def times(tmp_path: Path, name: str, cells: list[str], columns: tuple[str, ...] = ()) -> tuple[list, str]:
    """The coordinate of the time steps as text, and what was said of it."""
    text = f"{name},y\n" + "".join(f"{cell},{i}\n" for i, cell in enumerate(cells))
    found = read(tmp_path, text, columns or ("y=y",), model=one)
    coords = found.coords.get("time")
    return [] if coords is None else [str(value) for value in coords], "; ".join(found.said[1:])


@pytest.mark.parametrize(
    ("name", "cells", "first", "last"),
    [
        ("year", ["1900", "1901", "1902"], "1900", "1902"),
        ("Year", ["-3", "-2", "-1"], "-3", "-1"),
        ("time", ["0.5", "1", "1.5"], "0.5", "1.5"),
        ("date", ["2020-01-31", "2020-02-29", "2020-03-31"], "2020-01-31", "2020-03-31"),
        ("whenever", ["2020-01-01", "2020-01-02", "2020-01-03"], "2020-01-01", "2020-01-03"),
        ("timestamp", ["2020-01-01T00:30Z", "2020-01-01T02:30+01:00", "2020-01-01 02:30"], "2020-01-01T00:30", "2020-01-01T02:30"),
        ("month", ["2020-11", "2020-12", "2021-01"], "2020-11-01", "2021-01-01"),
        ("quarter", ["1970Q3", "1970Q4", "1971Q1"], "1970-07-01", "1971-01-01"),
        ("t", ["0", "1", "2"], "0", "2"),
        ("", ["10", "11", "12"], "10", "12"),
        ("date", ["2024-01-04", "2024-01-05", "2024-01-08"], "2024-01-04", "2024-01-08"),  # over a weekend
    ],
)  # fmt: skip
def test_times_are_kept(tmp_path: Path, name: str, cells: list[str], first: str, last: str) -> None:
    found, said = times(tmp_path, name, cells)
    assert found[0].startswith(first)
    assert found[-1].startswith(last)
    assert len(found) == 3
    assert said == ""


def test_years_and_months_are_dates(tmp_path: Path) -> None:
    found = read(tmp_path, "year,month,y\n2020,12,1\n2021,1,2\n2021,3,3\n2021,4,4\n", model=one)
    assert [str(value)[:7] for value in found.coords["time"]] == ["2020-12", "2021-01", "2021-03", "2021-04"]
    assert "time = year, month, 2020-12 to 2021-04" in found.said[0]
    assert "2021-02 is missing" in found.said[1]
    quarters = read(tmp_path, "year,quarter,y\n2020,4,1\n2021,1,2\n", model=one).coords["time"]
    assert [str(value)[:10] for value in quarters] == ["2020-10-01", "2021-01-01"]


def test_what_is_no_time_is_not_taken_for_one(tmp_path: Path) -> None:
    assert times(tmp_path, "month", ["11", "12", "1"]) == ([], "")
    assert times(tmp_path, "city", ["a", "b", "c"]) == ([], "")
    assert times(tmp_path, "amount", ["1", "2", "3"]) == ([], "")
    assert times(tmp_path, "year", ["1", "1", "1"], ("y", "time=")) == ([], "")


def test_the_call_says_which_column_is_the_time(tmp_path: Path) -> None:
    assert times(tmp_path, "jahr", ["1900", "1901"], ("y", "time=jahr"))[0] == ["1900", "1901"]
    found = read(tmp_path, "year,jahr,y\n7,1900,1\n7,1901,2\n", ("y", "time=jahr"), model=one)
    assert found.coords["time"].tolist() == [1900, 1901]


@pytest.mark.parametrize(
    ("name", "cells", "told"),
    [
        (
            "year",
            ["1900", "1902", "1901"],
            "goes back in time in column 'year', from 1902 in row 3 to 1901 in row 4: sort by",
        ),
        ("year", ["1900", "1901", "1901"], "has 1901 twice in column 'year', in row 3 and row 4: .*--series COLUMN"),
        ("date", ["2020-01-02", "2020-01-01"], "from 2020-01-02 in row 2 to 2020-01-01 in row 3"),
        ("date", ["3/4/2020", "4/4/2020"], "holds '3/4/2020' in row 2 .* a date such as 2020-03-04.* --column time="),
        ("date", ["2020-01-01", ""], "holds '' in row 3"),
        ("date", ["2020-02-28", "2020-02-30"], "holds '2020-02-30' in row 3"),
        ("date", ["2020-02-28", "7"], "holds '7' in row 3"),
        ("time", ["1", "later"], "holds 'later' in row 3"),
        ("date", ["2020-13", "2021-01"], "holds '2020-13' in row 2"),
    ],
)
def test_times_that_are_refused(tmp_path: Path, name: str, cells: list[str], told: str) -> None:
    with pytest.raises(DataError, match=told):
        times(tmp_path, name, cells)


@pytest.mark.parametrize(
    ("name", "cells", "told"),
    [
        ("year", ["1900", "1901", "1903", "1904"], "'year' has a gap: 1902 is missing (1 of 5 steps)"),
        ("year", ["1900", "1905", "1910", "1920"], "1915 is missing (1 of 5 steps)"),
        ("year", ["1", "2", "4", "5", "6", "9", "10"], "'year' has gaps: 3, 7, 8 are missing (3 of 10 steps)"),
        ("year", ["1", "2", "3", "9"], "4, 5, 6, ... are missing (5 of 9 steps)"),
        ("date", ["2020-01-01", "2020-01-02", "2020-01-04", "2020-01-05"], "2020-01-03 is missing"),
        ("date", ["2024-01-04", "2024-01-05", "2024-01-08", "2024-01-10"], "2024-01-09 is missing"),
        ("date", ["2020-01", "2020-02", "2020-04", "2020-05"], "2020-03 is missing"),
        ("date", ["2020-01-31", "2020-02-29", "2020-04-30", "2020-05-31"], "2020-03-31 is missing"),
        ("date", ["2020-01-15", "2020-02-15", "2020-04-15", "2020-05-15"], "2020-03-15 is missing"),
        ("date", ["1990-01-01", "1991-01-01", "1993-01-01"], "1992-01 is missing"),
        ("time", ["2020-01-01 10:00", "2020-01-01 10:30", "2020-01-01 11:30"], "2020-01-01 11:00 is missing"),
        ("t", ["1749.083", "1749.167", "1749.25", "1749.417"], "'t' has a gap: 1749.33"),
        ("time", ["0", "1", "2.5", "4.1", "4.2"], "the steps of 'time' differ in length"),
        ("date", ["2020-01-01", "2020-01-02", "2020-01-05", "2020-01-25"], "the steps of 'date' differ in length"),
    ],
)  # fmt: skip
def test_gaps_are_said(tmp_path: Path, name: str, cells: list[str], told: str) -> None:
    found, said = times(tmp_path, name, cells)
    assert len(found) == len(cells)  # nothing is filled in
    assert told in said
    assert "the model treats the rows as consecutive steps" in said


def test_the_rows_that_are_asked_for_close_a_gap(tmp_path: Path) -> None:
    found = read(tmp_path, "year,y\n1900,1\n1901,\n1902,3\n", model=one)
    np.testing.assert_array_equal(found.values["y"], [1, np.nan, 3])
    assert len(found.said) == 1
