"""Command line of `worldmodel`: its commands and exit statuses. Results go to standard output, progress to standard error.

A command is a file of the folder `commands`: HELP, EXAMPLES, ORDER, `add_arguments(parser)` and `run(options)`.
"""

import argparse
import importlib
import os
import pkgutil
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
    from ppl_worldmodel.cli import compilation_cache
    from ppl_worldmodel.cli.notices import told_once
    from ppl_worldmodel.cli.supervisor import INTERRUPTED, LEFT
    from ppl_worldmodel.failure import told
    from ppl_worldmodel.terminal import only_results

    models = [getattr(options, "model", ""), *(text.split(":")[0] for text in getattr(options, "models", ()))]
    cache = compilation_cache.keep() if of_process else None
    try:
        with only_results(of_process=of_process), told_once(models), compilation_cache.emptied_if_broken(cache):
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
    folder = importlib.import_module("ppl_worldmodel.cli.commands")
    names = [one.name for one in pkgutil.iter_modules(folder.__path__)]
    modules = {name: importlib.import_module(f"{folder.__name__}.{name}") for name in names}
    for name, module in sorted(modules.items(), key=lambda item: (item[1].ORDER, item[0])):
        described, examples = f"{module.HELP[0].upper()}{module.HELP[1:]}.", f"examples:\n{module.EXAMPLES}"
        added = commands.add_parser(
            name, help=module.HELP, description=described, epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        added.set_defaults(run=module.run)
        added.add_argument("--json", action="store_true", help="print the result as JSON, for scripts")
        module.add_arguments(added)
    return parser


class _Version(argparse.Action):
    """Print the versions that a report of a fault should name, and exit."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from ppl_worldmodel.provenance import provenance

        made_by = provenance()
        parser.exit(message=f"{made_by['versions']} {made_by['commit']}\n")


if __name__ == "__main__":
    sys.exit(main())
