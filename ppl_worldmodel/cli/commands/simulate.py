"""`worldmodel simulate`: every series of one forward run, as CSV."""

import argparse
import json
from pathlib import Path

from ppl_worldmodel.cli.options import add_model

ORDER = 20
HELP = "run a program forward at its truth and print the series as CSV"
EXAMPLES = """  worldmodel simulate two_state_pomdp --steps 20
  worldmodel simulate tracker --seed 3 --out track.csv"""

REMEDY_FORWARD = (
    "give its value with --set NAME=VALUE, or, if it is what is observed, give it the default None in the file"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("--out", metavar="FILE.csv", help="write there instead of to standard output")
    parser.add_argument(
        "--parameters", metavar="JSON|FILE.json", help="the parameter values, instead of the `truth` of the model file"
    )


def run(options: argparse.Namespace) -> int:
    """Simulate at the truth, or at given parameters, and print the table or write it."""
    import jax
    import numpy as np
    import pandas as pd

    from ppl_worldmodel.cli.data_of_call import check_one_length
    from ppl_worldmodel.cli.values import parameters_of, settings_of
    from ppl_worldmodel.errors import WorldModelError
    from ppl_worldmodel.files.columns import header_of
    from ppl_worldmodel.files.load import load, simulation_arguments
    from ppl_worldmodel.files.writing import try_file, write_whole
    from ppl_worldmodel.program.arguments import check_arguments
    from ppl_worldmodel.program.simulate import check_length, parameter_names, simulate_series
    from ppl_worldmodel.terminal import err, print_result

    loaded = load(options.model)
    if options.out:
        try_file(Path(options.out))
    settings = settings_of(options.set)
    check_one_length(options, settings)
    arguments = simulation_arguments(loaded, options.steps) | settings
    check_arguments(loaded.model, arguments, remedy=REMEDY_FORWARD)
    check_length(loaded.model, arguments)
    truth = parameters_of(options.parameters) or loaded.truth or {}
    names = parameter_names(loaded.model, arguments)
    if names and not truth:
        raise WorldModelError(
            f"the model '{options.model}' has no `truth` to simulate from: add `truth = {{...}}` to its file, or give --parameters "
            f"(its parameters are {', '.join(names)})"
        )
    if set(names) != set(truth):
        raise WorldModelError(
            f"values are given for {', '.join(sorted(truth))}, but the parameters of the program are {', '.join(sorted(names))}: "
            "give one for each"
        )
    found = simulate_series(loaded.model, truth, jax.random.key(options.seed), **arguments)
    series = {name: np.asarray(value) for name, value in found.items()}
    length = len(next(iter(series.values())))
    given = {name: np.asarray(value) for name, value in arguments.items() if np.shape(value)[:1] == (length,)}
    columns = {"time": np.arange(length)}
    for name, value in (given | series).items():
        columns |= dict(zip(header_of(name, value.shape[1:]), value.reshape(length, -1).T, strict=True))
    table = pd.DataFrame(columns)
    text = json.dumps(table.to_dict(orient="list")) + "\n" if options.json else table.to_csv(index=False)
    if options.out:
        write_whole(Path(options.out), lambda temporary: temporary.write_text(text))
        err.print(f"wrote {options.out}", markup=False)
    else:
        print_result(text.removesuffix("\n"))
    return 0
