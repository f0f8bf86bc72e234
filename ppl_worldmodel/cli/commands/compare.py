"""`worldmodel compare`: fit several programs to the same data, print the table, write comparison.html and comparison.nc."""

import argparse
import json
import re
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr

    from ppl_worldmodel.cli.comparison_data import Asked

from ppl_worldmodel.cli.options import SERIES, add_fast, add_max_memory, add_simulation, within_memory

ORDER = 40
HELP = "fit several models to the same data and say which one is ahead, or that one cannot tell"
EXAMPLES = """  worldmodel compare earthquakes:num_states=2 earthquakes:num_states=3
  worldmodel compare nile my_model.py --evidence smc
  worldmodel compare a.py b.py --data flow.csv --column observations=flow --horizon 3"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "models", metavar="MODEL[:ARGUMENT=VALUE]", nargs="+",
        help="a shipped model, or your file, with values of its own arguments; the first brings the data, if no file does",
    )  # fmt: skip
    add_simulation(parser)
    parser.add_argument(
        "--set", action="append", default=[], metavar="ARGUMENT=VALUE", help="an argument of every one of the programs"
    )
    parser.add_argument("--data", metavar="FILE.csv", help="the data of all models, as for `check`")
    parser.add_argument(
        "--column", action="append", default=[], metavar="ARGUMENT=COLUMN",
        help="which column is which argument, as for `check`; a program ignores those of arguments that it does not take",
    )  # fmt: skip
    parser.add_argument("--series", metavar="COLUMN", help=SERIES)
    parser.add_argument(
        "--engine",
        choices=("gibbs", "nuts"),
        help="what learns the parameters (default: gibbs if they are conjugate, else nuts)",
    )
    parser.add_argument(
        "--evidence", choices=("bridge", "smc"), default="bridge",
        help="bridge sampling of the draws (default), or SMC over the data, which shares nothing with the draws",
    )  # fmt: skip
    parser.add_argument(
        "--first",
        type=int,
        metavar="T",
        help="the first time step that is predicted, counted from 0 (default: after a fifth)",
    )
    parser.add_argument(
        "--horizon", type=int, default=1, metavar="H", help="how many steps ahead are predicted jointly (default 1)"
    )
    parser.add_argument("--no-windows", action="store_true", help="leave out the models that have no state")
    parser.add_argument("--out", metavar="DIR", help="where comparison.html and .nc go (default out/compare_MODELS)")
    add_max_memory(parser)
    add_fast(parser)


def run(options: argparse.Namespace) -> int:
    """Fit and score every model, print the table, write comparison.html and comparison.nc."""
    import jax

    from ppl_worldmodel.cli.comparison_data import asked, data_of_comparison
    from ppl_worldmodel.cli.data_of_call import with_labels
    from ppl_worldmodel.cli.output import show_comparison
    from ppl_worldmodel.cli.values import settings_of
    from ppl_worldmodel.comparisons.compare import compare
    from ppl_worldmodel.errors import WorldModelError
    from ppl_worldmodel.files.saving import save
    from ppl_worldmodel.files.writing import try_folder
    from ppl_worldmodel.reports.comparison_page import comparison_report
    from ppl_worldmodel.terminal import err

    every = settings_of(options.set)
    models = [asked(text, every) for text in options.models]
    names = [model.name for model in models]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise WorldModelError(
            f"'{twice[0]}' is given twice: give different models, or settings that differ, such as earthquakes:num_states=2"
        )
    folder = Path(options.out or f"out/compare_{'_'.join(dict.fromkeys(model.loaded.name for model in models))}")
    try_folder(folder)
    data, given = data_of_comparison(models, options)
    if given.file:
        err.print("\n".join(given.file.said), markup=False, soft_wrap=True)
    programs = {model.name: model.loaded.model for model in models}
    with within_memory(options):
        found = compare(
            programs,
            data,
            jax.random.key(options.seed),
            engine=_engine(options.engine, fast=options.fast),
            evidence=options.evidence,
            first=options.first,
            horizon=options.horizon,
            windows=not options.no_windows,
            references={models[0].name: models[0].loaded.truth} if given.simulated and models[0].loaded.truth else None,
            fast=options.fast,
            say=lambda line: err.print(line, markup=False, soft_wrap=True),
            ready=lambda name, result: kept(folder, name, result),
        )
    models = [model._replace(loaded=with_labels(model.loaded, given.file)) for model in models]
    tree = _labelled(found.tree, models)
    tree.attrs |= {
        "data_from": given.data_from, "seed": options.seed, "command": "worldmodel " + shlex.join(options.command_line),
        "dtype": str(jax.numpy.zeros(()).dtype),
        "sources": json.dumps({model.name: model.loaded.source for model in models}),
        "abouts": json.dumps({model.name: model.loaded.about.split("\n", 1)[0] for model in models}),
    }  # fmt: skip
    result = save(tree, folder / "comparison.nc")
    page = comparison_report(tree, folder / "comparison.html")
    return show_comparison(tree, json_too=options.json, files={"report": str(page), "result": str(result)})


def kept(folder: Path, name: str, result: "xr.DataTree") -> None:
    """Write what a model learned at once, beside the comparison to come, so that no later failure loses it."""
    from ppl_worldmodel.files.saving import save
    from ppl_worldmodel.terminal import err

    path = save(result, folder / "models" / f"{re.sub(r'[^A-Za-z0-9_.=-]+', '_', name)}.nc")
    err.print(f"{name}: learned, kept in {path}", markup=False, soft_wrap=True)


def _engine(name: str | None, *, fast: bool) -> Any:
    from ppl_worldmodel.infer.gibbs import gibbs
    from ppl_worldmodel.infer.nuts import nuts

    tenth = 10 if fast else 1
    engines = {
        "gibbs": partial(gibbs, num_warmup=1000 // tenth, num_samples=4000 // tenth),
        "nuts": partial(nuts, num_warmup=500 // tenth, num_samples=1000 // tenth),
    }
    return engines[name]() if name else None


def _labelled(tree: "xr.DataTree", models: list["Asked"]) -> "xr.DataTree":
    """The tree with the labels of each model on what it learned, and with those of the first one's time steps elsewhere."""
    from ppl_worldmodel.files.coordinate_labels import labelled

    first = models[0].loaded.coords
    found = labelled(
        tree, {name: first[name] for name in ("time", "sequence") if name in first}, models[0].loaded.units
    )
    for model in models:
        own = found.children["models"].children[model.name]
        found[f"models/{model.name}"] = labelled(own, model.loaded.coords, model.loaded.units)
    return found
