"""Site names without slashes: `river/level`, as `numpyro.handlers.scope` makes it, is `river.level` in results, tables and files.

A slash in a name of an xarray.DataTree or a NetCDF file is a path. NumPyro renames the sites of a step only once the scan is over:
with `scope` around a `scan` they have one name inside it and another one after it; here they have the latter throughout.
"""

import functools
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from numpyro import handlers

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.program.numpyro_internals import (
    Messenger,
    around_step,
    handlers_inside,
    ran_in_scan,
    scan_arguments,
)


def dotted(name: str) -> str:
    """The name with points for slashes."""
    return name.replace("/", ".")


def with_dotted_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values by dotted names."""
    return {dotted(name): value for name, value in values.items()}


def with_dotted_sites(model: Callable) -> Callable:
    """The same program with points for the slashes in the names of its sites; it still has the signature of `model`.

    Raises DataError when it is run, if two of its names differ in this alone.
    """

    @functools.wraps(model)
    def program(*args: Any, **kwargs: Any) -> Any:
        with _Dotted({}):
            return model(*args, **kwargs)

    return program


class _Dotted(Messenger):
    """Rename every site on its way out of the program. `seen` is what each name was written like."""

    def __init__(self, seen: dict[str, str]):
        super().__init__(None)
        self.seen = seen
        self.around = ""  # what the scopes around the scan put before a name

    def process_message(self, msg: dict) -> None:
        if msg["type"] == "control_flow":
            scopes = [handler for handler in handlers_inside(self) if isinstance(handler, handlers.scope)]
            self.around = "".join(f"{scope.prefix}{scope.divider}" for scope in scopes)
            around_step(msg, step=_inside_step(scan_arguments(msg).step, scopes, self.seen))
            return
        name = msg.get("name")
        if not name:
            return
        if ran_in_scan(msg):
            msg["name"] = dotted(name.removeprefix(self.around))  # the step has put it there already
            return
        msg["name"] = dotted(name)
        if self.seen.setdefault(msg["name"], name) != name:
            raise DataError(
                f"the program has two sites '{name}' and '{self.seen[msg['name']]}', which are both '{msg['name']}' in results: "
                "rename one of them"
            )


def _inside_step(step: Callable, scopes: list[handlers.scope], seen: dict[str, str]) -> Callable:
    def renamed(carry: Any, inputs: Any) -> Any:
        with ExitStack() as stack:
            stack.enter_context(_Dotted(seen))
            for scope in scopes:
                again = handlers.scope(prefix=scope.prefix, divider=scope.divider, hide_types=scope.hide_types)
                stack.enter_context(again)
            return step(carry, inputs)

    return renamed
