"""Consoles of the command: standard output is for the result, standard error for progress and messages."""

import contextlib
import os
import sys
from collections.abc import Iterator

from rich.console import Console

out = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
err = Console(stderr=True, highlight=False)


def print_result(text: str) -> None:
    """Print a result as it is, and a newline."""
    print(text, file=out.file)


@contextlib.contextmanager
def only_results(*, of_process: bool = False) -> Iterator[None]:
    """Keep standard output for results: what else is printed meanwhile, by a user's program say, goes to standard error.

    of_process  also redirect what compiled code and further processes write; only for a process of its own
    """
    results = sys.stdout
    if of_process:
        sys.stdout.flush()
        results = open(os.dup(1), "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)  # noqa: SIM115
        os.dup2(2, 1)
    out.file = results
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
        results.flush()  # a full disk, or a reader that is gone, is noticed here
    finally:
        out._file = None  # the console follows `sys.stdout` again
