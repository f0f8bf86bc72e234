"""Command line of `worldmodel`: parser and exit statuses. Results go to standard output, progress to standard error.

Heavy imports happen inside the commands, so that `--help` answers at once.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

UNREAD = 141  # the exit status of a program that SIGPIPE ends

EXAMPLES = """examples:
  worldmodel models                                    what is there
  worldmodel check nile                                learn the parameters, check NUTS and SVI, write out/nile/report.html
  worldmodel check two_state_pomdp --known             at the true parameters: exact filter and smoother against Gibbs
  worldmodel check my_model.py --data my.csv --column observations=flow
  worldmodel check cities.py --data cities.csv --column y=paris,rome,oslo    three series, one argument (a plate of three)
  worldmodel check cities.py --data long.csv --series city    the same in long format: a row for each city and time step
  worldmodel compare earthquakes:num_states=2 earthquakes:num_states=3    which model?
  worldmodel simulate tracker --steps 100 > track.csv
  worldmodel report out/nile/result.nc                 draw the page again

exit status: 0 everything agrees (one model is ahead), 1 something disagrees or is undecided (cannot tell), 2 the call or the
program is wrong, 70 a fault of ours or of the machine, 130 interrupted (143: terminated), 141 nobody read the output
"""


SERIES = "several series in one file, a row for each series and time step: the column that says which series a row belongs to"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    arguments  None: those of this process, which then does the work in a child process, so that it can be stopped at any time
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # XLA reports slow compilation as an error of many lines
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    options.command_line = given
    if arguments is not None:
        return _run(options)
    from ppl_worldmodel.cli.supervisor import supervised

    return supervised(lambda: _run(options, of_process=True))


def _run(options: argparse.Namespace, *, of_process: bool = False) -> int:
    """Run the command; every exception becomes a message and an exit status."""
    from ppl_worldmodel.cli.notices import told_once
    from ppl_worldmodel.cli.supervisor import INTERRUPTED, LEFT
    from ppl_worldmodel.failure import told
    from ppl_worldmodel.terminal import only_results

    models = [getattr(options, "model", ""), *(text.split(":")[0] for text in getattr(options, "models", ()))]
    try:
        with only_results(of_process=of_process), told_once(models):
            return options.run(options)
    except KeyboardInterrupt:
        print(f"worldmodel: interrupted; {LEFT}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still to be flushed goes nowhere
        return UNREAD
    except (Exception, SystemExit) as error:
        status, message = told(error, models)
        print(f"worldmodel: {message}", file=sys.stderr)
        return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="worldmodel",
        description="Check Bayesian world models: exact beliefs read off a NumPyro program, against MCMC and SVI.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action=_Version, nargs=0, help="print the versions of the package and its libraries"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, help: str, run: Any, examples: str) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, help=help, description=help[0].upper() + help[1:] + ".", epilog=f"examples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        added.set_defaults(run=run)
        added.add_argument("--json", action="store_true", help="print the result as JSON, for scripts")
        return added

    def takes_model(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "model", metavar="MODEL|FILE.py", help="a shipped model, or your file with a NumPyro program `model`"
        )
        added.add_argument("--seed", type=int, default=0, help="seed of everything random (default 0)")
        added.add_argument("--steps", type=int, metavar="N", help="length of a simulated series")
        added.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="ARGUMENT=VALUE",
            help="another argument of the program: a number, such as num_states=2, or a list, such as lengths=[30,25]",
        )

    command(
        "models",
        "list the models that come with the package",
        _models,
        "  worldmodel models\n  worldmodel models --json",
    )

    simulate = command(
        "simulate", "run a program forward at its truth and print the series as CSV", _simulate,
        "  worldmodel simulate two_state_pomdp --steps 20\n  worldmodel simulate tracker --seed 3 --out track.csv",
    )  # fmt: skip
    takes_model(simulate)
    simulate.add_argument("--out", metavar="FILE.csv", help="write there instead of to standard output")
    simulate.add_argument(
        "--parameters", metavar="JSON|FILE.json", help="the parameter values, instead of the `truth` of the model file"
    )

    check = command(
        "check", "run several engines on one model and say which beliefs can be trusted", _check,
        "  worldmodel check earthquakes --set num_states=2\n"
        "  worldmodel check two_state_pomdp --known --engines exact,gibbs\n"
        "  worldmodel check my_model.py --data my.csv --column observations=flow --out out/mine\n"
        "  worldmodel check cities.py --data cities.csv --column observations=paris,rome,oslo   (a plate of three series)\n"
        "  worldmodel check nile --known --parameters '{\"level_scale\": 38.3, \"observation_scale\": 122.9}'",
    )  # fmt: skip
    takes_model(check)
    check.add_argument(
        "--data", metavar="FILE.csv|.npz|.nc",
        help="your data, with a header, one row a time step; an empty cell is a missing value; columns y or y_0, y_1, ... are "
        "the argument y; or arrays of any number of axes, time first",
    )  # fmt: skip
    check.add_argument(
        "--column", action="append", default=[], metavar="ARGUMENT=COLUMN",
        help="which column is which argument of the program; ARGUMENT=X,Y,Z gives the series X, Y and Z as one array "
        "(time, 3), as a plate of three or a vector wants it; time=COLUMN says the time of each row; may be given several times",
    )  # fmt: skip
    check.add_argument("--series", metavar="COLUMN", help=SERIES)
    check.add_argument(
        "--known",
        action="store_true",
        help="answer at the true (or given, or posterior mean) parameters, without learning them",
    )
    check.add_argument("--parameters", metavar="JSON|FILE.json", help="with --known: the values of the parameters")
    check.add_argument("--engines", default="", metavar="NAMES", help="such as exact,gibbs (default: all that apply)")
    check.add_argument(
        "--prefixes",
        action="store_true",
        help="with --known: sample the filtered and predicted beliefs of every time step, one posterior for each prefix",
    )
    check.add_argument(
        "--max-memory", metavar="SIZE", help="what the run may take, such as 4GB (default: half of what is free)"
    )
    check.add_argument("--out", metavar="DIR", help="where report.html and result.nc go (default out/MODEL)")
    check.add_argument(
        "--fast", action="store_true", help="a tenth of the draws: to see that it runs, not to decide anything"
    )

    compare = command(
        "compare", "fit several models to the same data and say which one is ahead, or that one cannot tell", _compare,
        "  worldmodel compare earthquakes:num_states=2 earthquakes:num_states=3\n"
        "  worldmodel compare nile my_model.py --evidence smc\n"
        "  worldmodel compare a.py b.py --data flow.csv --column observations=flow --horizon 3",
    )  # fmt: skip
    compare.add_argument(
        "models", metavar="MODEL[:ARGUMENT=VALUE]", nargs="+",
        help="a shipped model, or your file, with values of its own arguments; the first brings the data, if no file does",
    )  # fmt: skip
    compare.add_argument("--seed", type=int, default=0, help="seed of everything random (default 0)")
    compare.add_argument("--steps", type=int, metavar="N", help="length of a simulated series")
    compare.add_argument(
        "--set", action="append", default=[], metavar="ARGUMENT=VALUE", help="an argument of every one of the programs"
    )
    compare.add_argument("--data", metavar="FILE.csv", help="the data of all models, as for `check`")
    compare.add_argument(
        "--column", action="append", default=[], metavar="ARGUMENT=COLUMN",
        help="which column is which argument, as for `check`; a program ignores those of arguments that it does not take",
    )  # fmt: skip
    compare.add_argument("--series", metavar="COLUMN", help=SERIES)
    compare.add_argument(
        "--engine",
        choices=("gibbs", "nuts"),
        help="what learns the parameters (default: gibbs if they are conjugate, else nuts)",
    )
    compare.add_argument(
        "--evidence", choices=("bridge", "smc"), default="bridge",
        help="bridge sampling of the draws (default), or SMC over the data, which shares nothing with the draws",
    )  # fmt: skip
    compare.add_argument(
        "--first",
        type=int,
        metavar="T",
        help="the first time step that is predicted, counted from 0 (default: after a fifth)",
    )
    compare.add_argument(
        "--horizon", type=int, default=1, metavar="H", help="how many steps ahead are predicted jointly (default 1)"
    )
    compare.add_argument("--no-windows", action="store_true", help="leave out the models that have no state")
    compare.add_argument("--out", metavar="DIR", help="where comparison.html and .nc go (default out/compare_MODELS)")
    compare.add_argument(
        "--fast", action="store_true", help="a tenth of the draws: to see that it runs, not to decide anything"
    )

    calibrate = command(
        "calibrate", "simulate data from the prior many times over and say whether the posteriors are right", _calibrate,
        "  worldmodel calibrate two_state_pomdp\n"
        "  worldmodel calibrate nile --engines nuts --replications 400\n"
        "  worldmodel calibrate my_model.py --steps 30 --out out/mine",
    )  # fmt: skip
    takes_model(calibrate)
    calibrate.add_argument(
        "--replications", type=int, default=200, metavar="N", help="how many data sets to simulate (default 200)"
    )
    calibrate.add_argument(
        "--draws", type=int, default=500, metavar="N", help="of each data set's chain, before thinning (default 500)"
    )
    calibrate.add_argument(
        "--engines", default="", metavar="NAMES", help="such as nuts,gibbs (default: all that apply)"
    )
    calibrate.add_argument(
        "--max-memory", metavar="SIZE", help="what the run may take, such as 4GB (default: half of what is free)"
    )
    calibrate.add_argument(
        "--out", metavar="DIR", help="where the figures and results go (default out/MODEL_calibration)"
    )

    report = command(
        "report", "draw the page of a saved result again", _report,
        "  worldmodel report out/nile/result.nc\n  worldmodel report out/nile/result.nc --out nile.html",
    )  # fmt: skip
    report.add_argument("result", metavar="RESULT.nc", help="a result.nc or comparison.nc that was written before")
    report.add_argument(
        "--out", metavar="FILE.html", help="the page to write (default: report.html or comparison.html beside it)"
    )
    return parser


def _models(options: argparse.Namespace) -> int:
    from ppl_worldmodel.files.catalogue import catalogue
    from ppl_worldmodel.terminal import print_result

    rows = catalogue()
    if options.json:
        print_result(json.dumps([row._asdict() for row in rows], indent=2))
        return 0
    width = max(len(row.name) for row in rows)
    for row in rows:
        print_result(f"{row.name:<{width}}  {row.data:<10}  {row.about}")
    return 0


def _simulate(options: argparse.Namespace) -> int:
    from ppl_worldmodel.cli.commands import simulate

    return simulate(options)


def _check(options: argparse.Namespace) -> int:
    from ppl_worldmodel.cli.commands import check

    return check(options)


def _compare(options: argparse.Namespace) -> int:
    from ppl_worldmodel.cli.compare import compare

    return compare(options)


def _calibrate(options: argparse.Namespace) -> int:
    from ppl_worldmodel.cli.calibrate import calibrate

    return calibrate(options)


def _report(options: argparse.Namespace) -> int:
    from ppl_worldmodel.cli.report import report

    return report(options)


class _Version(argparse.Action):
    """Print the versions that a report of a fault should name, and exit."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from ppl_worldmodel.provenance import provenance

        made_by = provenance()
        parser.exit(message=f"{made_by['versions']} {made_by['commit']}\n")


if __name__ == "__main__":
    sys.exit(main())
