"""`worldmodel check`: run several engines on one model, print the table, write report.html and result.nc."""

import argparse
import shlex
from pathlib import Path

from ppl_worldmodel.cli.options import SERIES, add_fast, add_max_memory, add_model, within_memory

ORDER = 30
HELP = "run several engines on one model and say which beliefs can be trusted"
EXAMPLES = """  worldmodel check earthquakes --set num_states=2
  worldmodel check two_state_pomdp --known --engines exact,gibbs
  worldmodel check my_model.py --data my.csv --column observations=flow --out out/mine
  worldmodel check cities.py --data cities.csv --column observations=paris,rome,oslo   (a plate of three series)
  worldmodel check nile --known --parameters '{"level_scale": 38.3, "observation_scale": 122.9}'"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument(
        "--data", metavar="FILE.csv|.npz|.nc",
        help="your data, with a header, one row a time step; an empty cell is a missing value; columns y or y_0, y_1, ... are "
        "the argument y; or arrays of any number of axes, time first",
    )  # fmt: skip
    parser.add_argument(
        "--column", action="append", default=[], metavar="ARGUMENT=COLUMN",
        help="which column is which argument of the program; ARGUMENT=X,Y,Z gives the series X, Y and Z as one array "
        "(time, 3), as a plate of three or a vector wants it; time=COLUMN says the time of each row; may be given several times",
    )  # fmt: skip
    parser.add_argument("--series", metavar="COLUMN", help=SERIES)
    parser.add_argument(
        "--known",
        action="store_true",
        help="answer at the true (or given, or posterior mean) parameters, without learning them",
    )
    parser.add_argument("--parameters", metavar="JSON|FILE.json", help="with --known: the values of the parameters")
    parser.add_argument(
        "--engines", default="", metavar="NAMES",
        help="such as exact,gibbs, or auto, the fewest that answer well (default: all that apply)",
    )  # fmt: skip
    parser.add_argument(
        "--prefixes",
        action="store_true",
        help="with --known: sample the filtered and predicted beliefs of every time step, one posterior for each prefix",
    )
    add_max_memory(parser)
    parser.add_argument("--out", metavar="DIR", help="where report.html and result.nc go (default out/MODEL)")
    add_fast(parser)


def run(options: argparse.Namespace) -> int:
    """Study the model, and return the exit status."""
    import numpy as np

    from ppl_worldmodel.cli.data_of_call import data_of_call, with_labels
    from ppl_worldmodel.cli.output import show_study
    from ppl_worldmodel.cli.values import parameters_of, settings_of
    from ppl_worldmodel.errors import WorldModelError
    from ppl_worldmodel.files.labels import with_columns
    from ppl_worldmodel.files.load import load
    from ppl_worldmodel.files.saving import save
    from ppl_worldmodel.files.writing import try_folder
    from ppl_worldmodel.reports.report import report
    from ppl_worldmodel.studies.study import study
    from ppl_worldmodel.terminal import err

    loaded = load(options.model)
    folder = Path(options.out or f"out/{loaded.name}{'_known' if options.known else ''}")
    try_folder(folder)
    given = data_of_call(loaded, options, settings_of(options.set))
    loaded, data = with_labels(loaded, given.file), given.data
    if options.parameters and not options.known:
        raise WorldModelError("--parameters gives the values for --known: add --known")
    if options.prefixes and not options.known:
        raise WorldModelError("--prefixes samples the filtered beliefs at given parameters: add --known")
    shapes = ", ".join(f"{name} {np.shape(value)}" for name, value in data.items())
    err.print("\n".join([f"data: {shapes}", *(given.file.said if given.file else ())]), markup=False, soft_wrap=True)
    with within_memory(options):
        tree = study(
            loaded,
            data,
            data_from=given.data_from,
            simulated=given.simulated,
            known=options.known,
            parameters=parameters_of(options.parameters),
            engines=[name for name in options.engines.split(",") if name],
            key=options.seed,
            fast=options.fast,
            prefixes=options.prefixes,
            progress=err.is_terminal,
            say=lambda line: err.print(line, markup=False, soft_wrap=True),
            command="worldmodel " + shlex.join(options.command_line),
        ).tree
    if given.file:
        for name, engine in tree["engines"].children.items():
            tree[f"engines/{name}"] = with_columns(engine, given.file.values, given.file.columns)
    result = save(tree, folder / "result.nc")  # before the page is drawn, so that no fault there loses it
    page = report(tree, folder / "report.html")
    return show_study(tree, json_too=options.json, files={"report": str(page), "result": str(result)})
