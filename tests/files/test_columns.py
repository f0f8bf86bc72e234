"""Does a column reach the argument that it stands for?  One, several, by name or as the call says; and what goes wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.files.assemble import read_csv
from ppl_worldmodel.files.columns import header_of

from .own import loaded, plain, read, two


def written(tmp_path: Path, **columns: Any) -> str:
    path = tmp_path / "data.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return str(path)


def test_several_columns_of_one_argument_are_one_array(tmp_path: Path) -> None:
    path = written(tmp_path, a=[1.0, 2.0, None], b=[3, 4, 5], c=[6, 7, 8])
    found = read_csv(loaded(plain), path, ["y=c,a, b"]).values["y"]
    np.testing.assert_array_equal(found, [[6, 1, 3], [7, 2, 4], [8, np.nan, 5]])
    whole = read_csv(loaded(plain), path, ["b,c"]).values["y"]  # the first argument, where none is named
    assert whole.dtype.kind == "i"
    assert whole.shape == (3, 2)
    assert read_csv(loaded(plain, y="a,b"), path).values["y"].shape == (3, 2)


def test_one_column_is_a_vector(tmp_path: Path) -> None:
    path = written(tmp_path, flow=[1, 2], price=[0.5, 0.6])
    found = read_csv(loaded(plain), path, ["y=flow", "price=price"]).values
    assert {name: values.tolist() for name, values in found.items()} == {"y": [1, 2], "price": [0.5, 0.6]}


def test_numbered_columns_are_an_array(tmp_path: Path) -> None:
    path = written(tmp_path, time=[0, 1], y_1=[3, 4], y_0=[1, 2], price=[5, 6])
    found = read_csv(loaded(plain), path).values
    np.testing.assert_array_equal(found["y"], [[1, 3], [2, 4]])
    np.testing.assert_array_equal(found["price"], [5, 6])
    grid = {name: [i, 10 + i] for i, name in enumerate(header_of("y", (2, 3)))}
    assert header_of("y", (2, 3))[4] == "y_1_1"
    np.testing.assert_array_equal(
        read_csv(loaded(plain), written(tmp_path, **grid)).values["y"][1], [[10, 11, 12], [13, 14, 15]]
    )


def test_numbered_columns_with_a_gap_are_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="say which is which with --column"):
        read_csv(loaded(plain), written(tmp_path, y_0=[1], y_2=[2]))
    with pytest.raises(DataError, match="several columns: ARGUMENT=X,Y,Z"):
        read_csv(loaded(plain), written(tmp_path, y_1=[1], y_2=[2]))


def test_a_column_of_the_arguments_name_comes_before_numbered_ones(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_csv(loaded(plain), written(tmp_path, y_0=[1], y=[2])).values["y"], [2])


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (["y=a,nowhere"], "no column 'nowhere'"),
        (["z=a"], "takes no argument 'z': it takes y, lengths, price, num_steps"),
        (["y=a", "y=b"], "names the argument 'y' twice: several columns of one argument are y=X,Y,Z"),
        (["y=a,words"], "column 'words' .* holds 'much' in row 3"),
        (["y=a,b,a"], "names a column of the argument 'y' twice"),
        (["y=a", "time=when"], "no column 'when' \\(for the time\\)"),
    ],
)
def test_wrong_columns(tmp_path: Path, columns: list[str], told: str) -> None:
    path = written(tmp_path, a=[1, 2], b=[3, 4], words=["1", "much"])
    with pytest.raises(DataError, match=told):
        read_csv(loaded(plain), path, columns)


def test_a_program_without_series(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="takes no series"):
        read_csv(loaded(lambda num_steps=5: None), written(tmp_path, a=[1]), ["a"])


def test_one_column_of_the_call_leaves_the_other_arguments_to_their_names(tmp_path: Path) -> None:
    found = read(tmp_path, "flow,x,spare\n1,2,0\n3,4,0\n", ("y=flow",))
    assert {name: array.tolist() for name, array in found.values.items()} == {"y": [1, 3], "x": [2, 4]}
    assert found.said == ("columns: y = flow; x = x; not used: spare",)
    # A column that the call uses for one argument is not taken by name for another one.
    alone = read(tmp_path, "x,other\n1,2\n", ("y=x",))
    assert set(alone.values) == {"y"}
    assert alone.said == ("columns: y = x; not used: other; no column for: x",)


def test_the_model_files_columns_stand_for_what_the_call_does_not_say(tmp_path: Path) -> None:
    path = written(tmp_path, a=[1], b=[2], c=[3], x=[4])
    own = loaded(two, y="a", x="b", time="when")  # the file has no column 'when', and needs none
    assert {name: array.tolist() for name, array in read_csv(own, path, ["y=c"]).values.items()} == {"y": [3], "x": [2]}


def test_a_value_of_the_call_and_a_column_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'x' is given twice, by --set and by .* \(column x\)"):
        read(tmp_path, "y,x\n1,2\n", given={"x": 3})
    with pytest.raises(DataError, match="'x' is given twice"):
        read(tmp_path, "y,z\n1,2\n", ("x=z",), given={"x": 3})
    assert set(read(tmp_path, "y,x\n1,2\n", given={"x": None}).values) == {"y"}  # x is to have none


def test_a_name_with_many_numbers_is_no_huge_array(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="say which is which"):
        read(tmp_path, "y_99999999999,z\n1,2\n")
