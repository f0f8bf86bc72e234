"""Is every cell of a CSV file read as it stands, or refused with its row and column?  One test for each fault."""

from pathlib import Path

import numpy as np
import pytest

from ppl_worldmodel.errors import DataError

from .own import one, read, two


def values(tmp_path: Path, text: str | bytes, columns: tuple[str, ...] = ()) -> list:
    return read(tmp_path, text, columns).values["y"].tolist()


@pytest.mark.parametrize(
    "text",
    [
        "y,x\n1,4\n2,5\n",
        "y,x\r\n1,4\r\n2,5\r\n",
        "y,x\r1,4\r2,5\r",
        "y,x\n1,4\n2,5",
        "\ufeffy,x\n1,4\n2,5\n",
        " y , x \n 1 ,4\n2\t, 5\n",
        '"y","x"\n"1","4"\n"2","5"\n',
        "y,x\n1,4\n2,5\n\n \n",  # blank lines at the end of a file of several columns hold no cells
    ],
    ids=["unix", "windows", "mac", "no last line break", "byte order mark", "spaces", "quoted", "blank end"],
)
def test_good_files_are_read_alike(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, text).values
    assert {name: array.tolist() for name, array in found.items()} == {"y": [1, 2], "x": [4, 5]}
    assert found["y"].dtype == np.int64


@pytest.mark.parametrize("cell", ["", "NA", "na", "N/A", "#N/A", "NaN", "nan", "null", "None", '""', "  "])
def test_missing_cells(tmp_path: Path, cell: str) -> None:
    found = read(tmp_path, f"y,x\n1,2\n{cell},3\n").values["y"]
    np.testing.assert_array_equal(found, [1.0, np.nan])


@pytest.mark.parametrize(
    ("cell", "value"), [("1e5", 1e5), ("-.5", -0.5), ("+3.", 3.0), ("1.5E-3", 0.0015), ("-0", 0), ("007", 7)]
)
def test_ways_to_write_a_number(tmp_path: Path, cell: str, value: float) -> None:
    assert values(tmp_path, f"y,x\n{cell},1\n") == [value]


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("inf", "a finite number; if the value is unknown"),
        ("-Infinity", "a finite number"),
        ("1e400", "that a float64 can hold \\(below"),
        ("1e-400", "so small that it would become 0"),
        ("9007199254740993", "at most 15 digits"),
        ("123456789012345678901234567890", "at most 15 digits"),
        ("True", "write 1 for true and 0 for false"),
        ("false", "write 1 for true and 0 for false"),
        ('"1,5"', "a decimal comma or a thousands separator"),
        ('"1,234,567"', "without thousands separators"),
        ("1.234.567", "without thousands separators"),
        ("1 234", "without thousands separators"),
        ("1_000", "without thousands separators"),
        ("\N{MINUS SIGN}1", "write the minus as a hyphen"),
        ("much", "a number, or an empty cell"),
        ("5%", "a number, or an empty cell"),
        ("0x10", "a number, or an empty cell"),
        ("\N{FULLWIDTH DIGIT ONE}", "a number, or an empty cell"),
        ("'5'", "a number, or an empty cell"),
        ("1e", "a number, or an empty cell"),
        (".", "a number, or an empty cell"),
        ("-", "a number, or an empty cell"),
    ],
)
def test_cells_that_are_no_numbers(tmp_path: Path, cell: str, told: str) -> None:
    with pytest.raises(DataError, match=f"column 'y' of .* in row 3 \\(the header is row 1\\): expected .*{told}"):
        read(tmp_path, f"x,y\n1,2\n3,{cell}\n5,6\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty: expected a header"),
        ("\n \n", "is empty: expected a header"),
        ("y,x\n", "has a header \\(y, x\\) and no rows"),
        ("\ny,x\n1,2\n", "row 1 .* is blank: expected the header"),
        ("# mine\ny,x\n1,2\n", "row 1 .* is a comment"),
        ("y;x\n1,5;2\n", "separated by semicolons .* expected commas, and decimal points.*sep=';', decimal=','"),
        ("y\tx\n1\t2\n", "separated by tabs"),
        ("y|x\n1|2\n", "separated by vertical bars"),
        ("y,x\n1,5,2\n", "row 2 .* has 3 cells, and the header names 2: '1,5,2'; a decimal comma or a thousands"),
        ("y,x\n1,2\n1;2\n", "row 3 .* has 1 cells, .* not semicolons or tabs"),
        ("y,x\n1,2,\n3,4,\n", "row 2 .* has 3 cells, .* is there a trailing comma"),
        ("y,x,\n1,2,\n", "column 3 .* has no name in the header \\(a trailing comma\\?\\)"),
        ("y,,x\n1,2,3\n", "column 2 .* has no name in the header: name it"),
        ("y,x\n1,2\n3\n", "row 3 .* has 1 cells, .* write every cell"),
        ("y,x\n1,2\n3,4,a,b\n", "row 3 .* has 4 cells"),
        ("y,x,y\n1,2,3\n", "two columns 'y', 1 and 3"),
        ("y,x, y\n1,2,3\n", "two columns 'y', 1 and 3"),
        ("1,2\n3,4\n5,6\n", "has no header: its first row holds values \\(1,2\\)"),
        ("1.5,NA\n3,4\n", "has no header"),
        ("2020-01-01,3\n2020-01-02,4\n", "has no header"),
        ("True,inf\n1,2\n", "has no header"),
        ("y,x\n1,2\n\n3,4\n", "row 3 .* is blank: delete it, or write , if all"),
        ('y,x\n1,"2\n3,4"\n5,6\n', "a cell of .* runs over rows 2 to 3: is a quote not closed"),
        ('y,x\n1,"2\n3,4\n', "row 2 of .* are the quotes in pairs"),
        ('y,x\n1,"2"3\n', "row 2 of .* are the quotes in pairs"),
        ("y,x\n,1\n,2\n", "column 'y' of .* has no value in any row"),
        ("y,x\n1,2\n".encode("utf-16"), "zero bytes, as UTF-16"),
        ("y,x\n1,2\n3,Z\N{LATIN SMALL LETTER U WITH DIAERESIS}rich\n".encode("latin-1"), "row 3 of .* is not UTF-8"),
        (b"y,x\n1,\x002\n", "zero bytes"),
    ],
)
def test_files_that_are_no_tables(tmp_path: Path, text: str | bytes, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*: Is a directory"):
        read_dir(tmp_path)


def read_dir(tmp_path: Path) -> None:
    from ppl_worldmodel.files.assemble import read_csv

    from .own import loaded

    read_csv(loaded(two), str(tmp_path))


def test_a_blank_line_in_a_file_of_one_column_is_a_missing_value_or_an_error(tmp_path: Path) -> None:
    found = read(tmp_path, "y\n1\n\n3\n", model=one)
    np.testing.assert_array_equal(found.values["y"], [1, np.nan, 3])
    assert "row 3 is blank: missing values" in found.said
    with pytest.raises(DataError, match="ends in a blank line, row 4: delete it, or write NA"):
        read(tmp_path, "y\n1\n3\n\n", model=one)
    np.testing.assert_array_equal(read(tmp_path, 'y\n1\n3\n""\n', model=one).values["y"], [1, 3, np.nan])


def test_a_header_of_numbers_counts_where_the_call_names_its_columns(tmp_path: Path) -> None:
    text = "0,1\n5,6\n7,8\n"
    assert values(tmp_path, text, ("y=0,1",)) == [[5, 6], [7, 8]]
    with pytest.raises(DataError, match="two columns '0', 1 and 2"):
        read(tmp_path, "0,0\n5,6\n", ("y=0",))


def test_row_labels_need_no_name(tmp_path: Path) -> None:
    assert values(tmp_path, ",y\na,6\nb,8\n") == [6, 8]


def test_a_long_file_is_read_to_its_end(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    written = rng.normal(size=20_000)
    found = read(tmp_path, "y,x\n" + "".join(f"{value!r},{i}\n" for i, value in enumerate(written.tolist()))).values
    np.testing.assert_array_equal(found["y"], written)
    np.testing.assert_array_equal(found["x"], np.arange(20_000))
