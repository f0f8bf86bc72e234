"""Options that several commands take."""

import argparse
from contextlib import AbstractContextManager

SERIES = "several series in one file, a row for each series and time step: the column that says which series a row belongs to"


def add_model(parser: argparse.ArgumentParser) -> None:
    """MODEL, and what is random in it."""
    parser.add_argument(
        "model", metavar="MODEL|FILE.py", help="a shipped model, or your file with a NumPyro program `model`"
    )
    add_simulation(parser)
    parser.add_argument(
        "--set", action="append", default=[], metavar="ARGUMENT=VALUE",
        help="another argument of the program: a number, such as num_states=2, or a list, such as lengths=[30,25]",
    )  # fmt: skip


def add_simulation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (default 0)")
    parser.add_argument("--steps", type=int, metavar="N", help="length of a simulated series")


def add_max_memory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-memory", metavar="SIZE", help="what the run may take, such as 4GB (default: half of what is free)"
    )


def within_memory(options: argparse.Namespace) -> AbstractContextManager[None]:
    """What runs within keeps to --max-memory."""
    from ppl_worldmodel import memory

    return memory.at_most(memory.number(options.max_memory) if options.max_memory else None)


def add_fast(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fast", action="store_true", help="a tenth of the draws: to see that it runs, not to decide anything"
    )
