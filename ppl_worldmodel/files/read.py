"""Reading data from a file of any supported format: CSV, NumPy's .npz, NetCDF."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.files.arrays import read_arrays
from ppl_worldmodel.files.assemble import Data, read_csv
from ppl_worldmodel.files.columns import NO_VALUES
from ppl_worldmodel.files.load import Loaded

ARRAYS = (".npz", ".nc", ".nc4", ".cdf")


def read_data(
    loaded: Loaded,
    path: str,
    columns: Sequence[str] = (),
    *,
    series: str | None = None,
    given: Mapping[str, Any] = NO_VALUES,
) -> Data:
    """The program's data from a file, by the end of its name: .npz, .nc, .nc4 and .cdf are arrays, all else is CSV.

    The arguments are those of `read_csv` and `read_arrays`. Raises DataError as these do.
    """
    kind = Path(path).suffix.lower()
    if kind in ARRAYS:
        if series is not None:
            raise DataError(
                f"--series is for CSV files: in '{path}' the series are an axis of the arrays, leave it out"
            )
        return read_arrays(loaded, path, columns, given=given)
    if kind == ".npy":
        raise DataError(f"'{path}' holds one array without a name: write numpy.savez('data.npz', y=array) instead")
    return read_csv(loaded, path, columns, series=series, given=given)
