"""Arrays of three axes and more from .npz and NetCDF: as they stand, or refused by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.files.assemble import Data
from ppl_worldmodel.files.read import read_data

from .own import loaded, two

Y = np.arange(24.0).reshape(4, 3, 2)


def npz(tmp_path: Path, columns: tuple[str, ...] = (), more: dict[str, Any] | None = None, **arrays: Any) -> Data:
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    return read_data(loaded(two), str(path), columns, **(more or {}))


def netcdf(tmp_path: Path, dataset: xr.Dataset, columns: tuple[str, ...] = ()) -> Data:
    path = tmp_path / "data.nc"
    dataset.to_netcdf(path, engine="h5netcdf")
    return read_data(loaded(two), str(path), columns)


def test_arrays_of_an_npz(tmp_path: Path) -> None:
    y = Y.copy()
    y[1, 2, 0] = np.nan
    found = npz(tmp_path, y=y, x=np.array([1, 0, 1, 1]), spare=Y, year=np.arange(1900, 1904))
    np.testing.assert_array_equal(found.values["y"], y)
    assert found.values["x"].tolist() == [1, 0, 1, 1]
    assert found.coords["time"].tolist() == [1900, 1901, 1902, 1903]
    assert found.said[0] == "arrays: y = y (4, 3, 2); x = x (4,); time = year, 1900 to 1903; not used: spare"
    named = npz(tmp_path, ("y=one,other",), one=Y, other=Y + 100)
    assert named.values["y"].shape == (4, 3, 2, 2)
    np.testing.assert_array_equal(named.values["y"][..., 1], Y + 100)


def test_variables_of_a_netcdf(tmp_path: Path) -> None:
    times = np.array(["2020-01", "2020-02", "2020-04", "2020-05"], "datetime64[M]").astype("datetime64[ns]")
    dataset = xr.Dataset(
        {"y": (("city", "time", "part"), Y.swapaxes(0, 1))}, {"time": times, "city": ["paris", "rome", "oslo"]}
    )
    found = netcdf(tmp_path, dataset)
    np.testing.assert_array_equal(found.values["y"], Y)  # the dimension `time` comes first
    assert found.coords["sequence"].tolist() == ["paris", "rome", "oslo"]
    assert "time = time, 2020-01 to 2020-05" in found.said[0]
    assert "'time' has a gap: 2020-03 is missing" in found.said[1]
    assert "time" not in netcdf(tmp_path, dataset, ("y", "time=")).coords


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"y": np.array([1.0, np.inf])}, r"array 'y' of .* is inf at \[1\]: expected a finite number"),
        ({"y": np.array(["a", "b"])}, "array 'y' of .* has the type <U1: expected numbers"),
        ({"y": np.array([1j])}, "has the type complex128"),
        ({"y": np.empty((0, 2))}, r"array 'y' of .* is empty, \(0, 2\)"),
        ({"y": np.full(3, np.nan)}, "array 'y' of .* has no value, only NaN"),
        ({"z": np.zeros(3)}, "say which is which with --column"),
        ({"y": np.array([{}], dtype=object)}, "cannot read .* Object arrays"),
        (
            {"y": np.zeros(3), "time": np.array([1, 3, 2])},
            "goes back in time in column 'time', from 3 in entry 1 to 2 in entry 2",
        ),
        ({"y": np.zeros(2), "time": np.array([1, 1])}, "has 1 twice in column 'time', in entry 0 and entry 1"),
        ({"y": np.zeros(2), "time": np.array(["a", "b"])}, "times 'time' of .* are <U1: expected numbers or dates"),
    ],
)
def test_arrays_that_are_refused(tmp_path: Path, arrays: dict, told: str) -> None:
    with pytest.raises(DataError, match=told):
        npz(tmp_path, **arrays)


def test_arrays_of_different_shapes_are_no_argument(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give arrays of one shape"):
        npz(tmp_path, ("y=a,b",), a=np.zeros(3), b=np.zeros(4))


def test_files_that_are_no_arrays(tmp_path: Path) -> None:
    for name in ("broken.npz", "broken.nc"):
        (tmp_path / name).write_text("y\n1\n")
        with pytest.raises(DataError, match="cannot read"):
            read_data(loaded(two), str(tmp_path / name))
        with pytest.raises(DataError, match="cannot read"):
            read_data(loaded(two), str(tmp_path / f"no_{name}"))
    with pytest.raises(DataError, match="--series is for CSV files"):
        npz(tmp_path, more={"series": "city"}, y=Y)
    np.save(tmp_path / "one.npy", Y)
    with pytest.raises(DataError, match=r"numpy.savez\('data.npz', y=array\)"):
        read_data(loaded(two), str(tmp_path / "one.npy"))
    xr.Dataset().to_netcdf(tmp_path / "empty.nc", engine="h5netcdf")
    with pytest.raises(DataError, match="no variables in its root group"):
        read_data(loaded(two), str(tmp_path / "empty.nc"))
