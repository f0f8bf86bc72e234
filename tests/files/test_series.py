"""Long format: does every row of a file reach its series and its step?"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ppl_worldmodel.errors import DataError

from .own import read

TEXT = """city,year,y,x
paris,1900,1,10
paris,1901,2,20
rome,1901,3,30
rome,1902,4,40
"""


def test_rows_reach_their_series_and_step(tmp_path: Path) -> None:
    found = read(tmp_path, TEXT, series="city")
    np.testing.assert_array_equal(found.values["y"], [[1, np.nan], [2, 3], [np.nan, 4]])
    np.testing.assert_array_equal(found.values["x"], [[10, np.nan], [20, 30], [np.nan, 40]])
    assert found.coords["time"].tolist() == [1900, 1901, 1902]
    assert found.coords["sequence"].tolist() == ["paris", "rome"]
    assert found.rows.tolist() == [[2, 0], [3, 4], [0, 5]]
    assert "series = city, 2 of them" in found.said[0]
    assert "series 'paris' has no row at 1 of 3 steps (1902): missing values" in found.said


def test_pandas_pivots_alike(tmp_path: Path) -> None:
    """Rows of a random long table, in any order of the series, against pandas' own pivot."""
    rng = np.random.default_rng(1)
    full = [(f"s{i}", t, rng.normal()) for t in range(30) for i in range(4) if rng.uniform() < 0.7]
    table = pd.DataFrame(full, columns=["who", "time", "y"])
    found = read(tmp_path, table.to_csv(index=False), series="who")
    expected = table.pivot(index="time", columns="who", values="y")[found.coords["sequence"].tolist()]
    np.testing.assert_array_equal(found.values["y"], expected.to_numpy())
    np.testing.assert_array_equal(found.coords["time"], expected.index.to_numpy())


def test_without_a_time_column_the_rows_of_each_series_are_counted(tmp_path: Path) -> None:
    found = read(tmp_path, "city,y\na,1\nb,3\na,2\nb,4\n", series="city")
    assert found.values["y"].tolist() == [[1, 3], [2, 4]]
    assert found.values["y"].dtype == np.int64
    shorter = read(tmp_path, "city,y\na,1\nb,3\na,2\n", series="city")
    assert "series 'b' has no row at 1 of 2 steps (t = 1): missing values" in shorter.said


def test_several_columns_of_each_series(tmp_path: Path) -> None:
    found = read(tmp_path, "city,y_0,y_1\na,1,2\nb,3,4\n", series="city")
    assert found.values["y"].tolist() == [[[1, 2], [3, 4]]]


def test_a_gap_of_all_series_is_said(tmp_path: Path) -> None:
    text = "city,year,y\n" + "".join(f"{city},{year},1\n" for city in "ab" for year in (1900, 1901, 1903, 1904))
    assert "'year' has a gap: 1902 is missing" in read(tmp_path, text, series="city").said[1]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TEXT + "rome,1902,5,50\n", "has 1902 twice in column 'year' of series 'rome', in row 5 and row 6"),
        (TEXT + "rome,1900,5,50\n", "goes back in time in column 'year' of series 'rome', from 1902 in row 5 to 1900"),
        (TEXT + ",1903,5,50\n", "row 6 of .* belongs to no series: its cell in column 'city' is ''"),
        (TEXT.replace("city", "town"), "no column 'city' \\(--series\\): its columns are town, year, y, x"),
    ],
)
def test_rows_that_are_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read(tmp_path, text, series="city")


def test_without_the_option_two_series_are_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--series COLUMN"):
        read(tmp_path, "city,year,y\na,1900,1\nb,1900,2\n")
