"""`worldmodel calibrate`: simulation-based calibration of the engines' posteriors."""

import argparse
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr
    from rich.table import Table

from ppl_worldmodel.cli.options import add_max_memory, add_model, within_memory

ORDER = 50
HELP = "simulate data from the prior many times over and say whether the posteriors are right"
EXAMPLES = """  worldmodel calibrate two_state_pomdp
  worldmodel calibrate nile --engines nuts --replications 400
  worldmodel calibrate my_model.py --steps 30 --out out/mine"""
FEWEST = 20  # data sets, and draws


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "--replications", type=int, default=200, metavar="N", help="how many data sets to simulate (default 200)"
    )
    parser.add_argument(
        "--draws", type=int, default=500, metavar="N", help="of each data set's chain, before thinning (default 500)"
    )
    parser.add_argument("--engines", default="", metavar="NAMES", help="such as nuts,gibbs (default: all that apply)")
    add_max_memory(parser)
    parser.add_argument("--out", metavar="DIR", help="where the figures and results go (default out/MODEL_calibration)")


def run(options: argparse.Namespace) -> int:
    """Run each engine, print a table of p-values, and write calibration_ENGINE.png and .nc."""
    import xarray as xr

    from ppl_worldmodel.cli.data_of_call import check_one_length
    from ppl_worldmodel.cli.values import settings_of
    from ppl_worldmodel.errors import FAULT, DataError, NotExactlySolvable, WorldModelError
    from ppl_worldmodel.failure import told
    from ppl_worldmodel.files.load import load, simulation_arguments
    from ppl_worldmodel.files.writing import try_folder, write_whole
    from ppl_worldmodel.reports.figures.calibration import save_calibration
    from ppl_worldmodel.studies.calibrate import calibrate, samplers
    from ppl_worldmodel.terminal import err, out, print_result

    loaded = load(options.model)
    folder = Path(options.out or f"out/{loaded.name}_calibration")
    try_folder(folder)
    if options.replications < FEWEST:
        raise WorldModelError(f"--replications {options.replications} shows nothing: give at least {FEWEST}")
    if options.draws < FEWEST:
        raise WorldModelError(f"--draws {options.draws} shows nothing: ranks need at least {FEWEST} independent draws")
    asked = [name for name in options.engines.split(",") if name]
    settings = settings_of(options.set)
    check_one_length(options, settings)
    arguments = simulation_arguments(loaded, options.steps) | settings
    results: dict[str, xr.Dataset] = {}
    failed: dict[str, Exception] = {}
    for name in asked or samplers():
        err.print(f"{name} ...", markup=False)
        try:
            with within_memory(options):
                results[name] = calibrate(
                    loaded.model, engine=name, replications=options.replications, num_samples=options.draws, key=options.seed,
                    arguments=arguments, say=lambda line: err.print(line, markup=False, soft_wrap=True),
                )  # fmt: skip
        except Exception as error:
            if isinstance(error, DataError):  # the same for every engine
                raise
            failed[name] = error
            refused = isinstance(error, NotExactlySolvable)
            why = told(error)[1].splitlines()[0]
            err.print(f"{name} {'does not apply' if refused else 'failed'}: {why}", markup=False, soft_wrap=True)
            continue
        err.print(f"{name}: {results[name].attrs['seconds']:.1f} s", markup=False)
    if not results:
        raise _nothing(loaded.name, failed)
    for name, result in results.items():
        title = (
            f"{loaded.name}, {name}: {options.replications} data sets, ranks among {result.attrs['ranks_among']} draws"
        )
        save_calibration(result, folder / f"calibration_{name}.png", title)
        write_whole(folder / f"calibration_{name}.nc", partial(result.to_netcdf, engine="h5netcdf"))
    if options.json:
        lost = {name: {"verdict": "undecided", "why": f"failed: {told(error)[1]}"} for name, error in failed.items()}
        print_result(json.dumps({name: _plain(result) for name, result in results.items()} | lost, indent=2))
    else:
        out.print(_table(results))
        for name, result in results.items():
            out.print(f"{name}: {result.attrs['verdict']}: {result.attrs['why']}", markup=False)
        for name in failed:
            out.print(f"{name}: undecided: failed: {told(failed[name])[1].splitlines()[0]}", markup=False)
        out.print(f"figures {folder}/calibration_*.png", markup=False, soft_wrap=True)
    if any(told(error)[0] == FAULT for error in failed.values()):
        return FAULT
    right = all(result.attrs["verdict"] == "agrees" for result in results.values())
    return 0 if right and not set(failed) & set(asked) else 1


def _nothing(name: str, failed: Mapping[str, Exception]) -> Exception:
    """The exception to raise if no engine has answered: a fault, if there is one, else why each refuses."""
    from ppl_worldmodel.errors import FAULT, WorldModelError
    from ppl_worldmodel.failure import told

    faults = [error for error in failed.values() if told(error)[0] == FAULT]
    if faults or len(failed) == 1:
        return [*faults, *failed.values()][0]
    reasons = "\n".join(f"{engine}: {str(error).splitlines()[0]}" for engine, error in failed.items())
    return WorldModelError(f"no engine can be calibrated on '{name}':\n{reasons}")


def _plain(result: "xr.Dataset") -> dict:
    import numpy as np

    names = result["quantity"].values.tolist()
    p_values, covered = (dict(zip(names, result[what].values.tolist(), strict=True)) for what in ("p", "covered"))
    said = {name: value.item() if isinstance(value, np.generic) else value for name, value in result.attrs.items()}
    return {
        "p": p_values,
        "covered": covered,
        **{name: said[name] for name in ("verdict", "why", "joint_p", "ranks_among", "seconds")},
    }


def _table(results: dict[str, "xr.Dataset"]) -> "Table":
    from rich.table import Table

    columns = [f"{name}, {what}" for name in results for what in ("p", "90 % intervals cover")]
    table = Table("quantity", *columns, title="uniformity of ranks", title_justify="left")
    names = list(dict.fromkeys(name for result in results.values() for name in result["quantity"].values.tolist()))
    for name in names:
        cells = []
        for result in results.values():
            row = result.sel(quantity=name)
            cells += [f"{float(row['p']):.2g}", f"{int(row['covered'])} of {result.sizes['replication']}"]
        table.add_row(name, *cells)
    return table
