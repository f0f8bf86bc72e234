"""Does a column reach the argument that it stands for?  One, several, by name or as the call says; and what goes wrong."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.program.columns import header_of, read_csv
from ppl_worldmodel.program.load import Loaded


def loaded(model: Any, **columns: str) -> Loaded:
    return Loaded("own", model, "", "", None, {}, columns, {}, ModuleType("own"))


def plain(y, lengths, price=None, num_steps=50) -> None:
    """Two arguments without a default, one that may be missing, and one with a value."""


def written(tmp_path: Path, **columns: Any) -> str:
    path = tmp_path / "data.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return str(path)


def test_several_columns_of_one_argument_are_one_array(tmp_path: Path) -> None:
    path = written(tmp_path, a=[1.0, 2.0, None], b=[3, 4, 5], c=[6, 7, 8])
    found = read_csv(loaded(plain), path, ["y=c,a, b"])["y"]
    np.testing.assert_array_equal(found, [[6, 1, 3], [7, 2, 4], [8, np.nan, 5]])
    whole = read_csv(loaded(plain), path, ["b,c"])["y"]  # the first argument, where none is named
    assert whole.dtype.kind == "i"
    assert whole.shape == (3, 2)
    assert read_csv(loaded(plain, y="a,b"), path)["y"].shape == (3, 2)


def test_one_column_is_a_vector(tmp_path: Path) -> None:
    path = written(tmp_path, flow=[1, 2], price=[0.5, 0.6])
    found = read_csv(loaded(plain), path, ["y=flow", "price=price"])
    assert {name: values.tolist() for name, values in found.items()} == {"y": [1, 2], "price": [0.5, 0.6]}


def test_numbered_columns_are_an_array(tmp_path: Path) -> None:
    path = written(tmp_path, time=[0, 1], y_1=[3, 4], y_0=[1, 2], price=[5, 6])
    found = read_csv(loaded(plain), path)
    np.testing.assert_array_equal(found["y"], [[1, 3], [2, 4]])
    np.testing.assert_array_equal(found["price"], [5, 6])
    grid = {name: [i, 10 + i] for i, name in enumerate(header_of("y", (2, 3)))}
    assert header_of("y", (2, 3))[4] == "y_1_1"
    np.testing.assert_array_equal(
        read_csv(loaded(plain), written(tmp_path, **grid))["y"][1], [[10, 11, 12], [13, 14, 15]]
    )


def test_numbered_columns_with_a_gap_are_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="say which is which with --column"):
        read_csv(loaded(plain), written(tmp_path, y_0=[1], y_2=[2]))
    with pytest.raises(DataError, match="several columns: ARGUMENT=X,Y,Z"):
        read_csv(loaded(plain), written(tmp_path, y_1=[1], y_2=[2]))


def test_a_column_of_the_arguments_name_comes_before_numbered_ones(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_csv(loaded(plain), written(tmp_path, y_0=[1], y=[2]))["y"], [2])


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (["y=a,nowhere"], "no column 'nowhere'"),
        (["z=a"], "takes no argument 'z': it takes y, lengths, price, num_steps"),
        (["y=a", "y=b"], "names the argument 'y' twice: several columns of one argument are y=X,Y,Z"),
        (["y=a,words"], "column 'words' .* holds 'much' in row 3"),
    ],
)
def test_wrong_columns(tmp_path: Path, columns: list[str], told: str) -> None:
    path = written(tmp_path, a=[1, 2], b=[3, 4], words=["1", "much"])
    with pytest.raises(DataError, match=told):
        read_csv(loaded(plain), path, columns)


def test_a_program_without_series(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="takes no series"):
        read_csv(loaded(lambda num_steps=5: None), written(tmp_path, a=[1]), ["a"])
