"""`worldmodel calibrate`: are the engines' posteriors right, on average over the prior?"""

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np
import xarray as xr
from rich.table import Table

from ppl_worldmodel.calibrate import calibrate as run
from ppl_worldmodel.commands import settings_of
from ppl_worldmodel.errors import NotExactlySolvable, WorldModelError
from ppl_worldmodel.infer.replicated import SAMPLERS
from ppl_worldmodel.program.load import load, simulation_arguments
from ppl_worldmodel.reports.calibration_figure import save_calibration
from ppl_worldmodel.terminal import err, out
from ppl_worldmodel.writing import write_whole

FEWEST = 20


def calibrate(options: argparse.Namespace) -> int:
    """Run each engine, print a table of p-values, and write calibration_ENGINE.png and .nc."""
    loaded = load(options.model)
    folder = Path(options.out or f"out/{loaded.name}_calibration")
    if folder.exists() and not folder.is_dir():
        raise WorldModelError(f"'{folder}' is a file: give the folder that the figures and results go to")
    if options.replications < FEWEST:
        raise WorldModelError(f"--replications {options.replications} shows nothing: give at least {FEWEST}")
    if options.draws < FEWEST:
        raise WorldModelError(f"--draws {options.draws} shows nothing: ranks need at least {FEWEST} independent draws")
    asked = [name for name in options.engines.split(",") if name]
    arguments = simulation_arguments(loaded, options.steps) | settings_of(options.set)
    results: dict[str, xr.Dataset] = {}
    for name in asked or SAMPLERS:
        err.print(f"{name} ...", markup=False)
        try:
            results[name] = run(
                loaded.model, engine=name, replications=options.replications, num_samples=options.draws, seed=options.seed,
                arguments=arguments,
            )  # fmt: skip
        except NotExactlySolvable as error:
            if asked:
                raise
            err.print(f"{name} does not apply: {str(error).splitlines()[0]}", markup=False)
            continue
        err.print(f"{name}: {results[name].attrs['seconds']:.1f} s", markup=False)
    for name, result in results.items():
        title = (
            f"{loaded.name}, {name}: {options.replications} data sets, ranks among {result.attrs['ranks_among']} draws"
        )
        save_calibration(result, folder / f"calibration_{name}.png", title)
        write_whole(folder / f"calibration_{name}.nc", partial(result.to_netcdf, engine="h5netcdf"))
    if options.json:
        print(json.dumps({name: _plain(result) for name, result in results.items()}, indent=2))
    else:
        out.print(_table(results))
        for name, result in results.items():
            out.print(f"{name}: {result.attrs['verdict']}: {result.attrs['why']}", markup=False)
        out.print(f"figures {folder}/calibration_*.png", markup=False, soft_wrap=True)
    return 0 if all(result.attrs["verdict"] == "agrees" for result in results.values()) else 1


def _plain(result: xr.Dataset) -> dict:
    names = result["quantity"].values.tolist()
    p_values, covered = (dict(zip(names, result[what].values.tolist(), strict=True)) for what in ("p", "covered"))
    said = {name: value.item() if isinstance(value, np.generic) else value for name, value in result.attrs.items()}
    return {
        "p": p_values,
        "covered": covered,
        **{name: said[name] for name in ("verdict", "why", "joint_p", "ranks_among", "seconds")},
    }


def _table(results: dict[str, xr.Dataset]) -> Table:
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
