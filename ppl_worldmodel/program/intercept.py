"""A run of a program with something else in the place of its scan, and the initial state as that run met it."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from numpyro.handlers import block

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.program.after_scan import onwards, with_emissions
from ppl_worldmodel.program.numpyro_internals import Messenger, scan_result, validation_enabled
from ppl_worldmodel.program.sites import (
    Sample,
    Scan,
    check_statement,
    met,
    placeholder,
    run_step,
    scan_of,
)
from ppl_worldmodel.program.start import Start, up_to_scan


class Beginning(NamedTuple):
    """The initial state as a run of the program met it.

    leaves   {index of the carry's leaf: names of the sites that it is computed from}
    direct   {index of the carry's leaf: name of the site whose value it IS}
    sites    {name: the sample statement}
    linked   does the distribution of one of them depend on the value of another?
    seen     {name: the sample statement} of what was observed of the first state before the scan
    at       values of these sites -> (all leaves of the first carry, all these sample statements given the values)
    """

    leaves: dict[int, frozenset[str]]
    direct: dict[int, str]
    sites: dict[str, Sample]
    linked: bool
    seen: dict[str, Sample]
    at: Callable[[Mapping[str, Any]], tuple[list[Any], dict[str, Sample]]]


class Intercept(Messenger):
    """Run a program with `on_scan(scan, beginning)` in the place of its scan; the initial state's sites are hidden.

    So are the sites after the scan that depend on the states: what they observe is in the step of the scan that `on_scan` gets,
    once the program has run to its end. What the scan would have returned is a placeholder.
    """

    def __init__(self, model: Callable, start: Start, on_scan: Callable[[Scan, Beginning], None]):
        super().__init__(model)
        self.start, self.on_scan = start, on_scan
        self.found: dict[str, Sample] = {}
        self.values: dict[str, Any] = {}
        self.scan: Scan | None = None

    def __call__(self, *args, **kwargs):
        self.call = args, kwargs
        with ExitStack() as self.unchecked:
            result = super().__call__(*args, **kwargs)
        if self.scan is not None:
            self._read(self.scan)
        return result

    def process_message(self, msg):
        check_statement(msg)
        start = self.start
        if msg["type"] == "control_flow":
            if self.scan is not None:
                raise NotExactlySolvable("the program has two scans: put both in one step")
            self.scan = scan_of(msg)
            msg["value"] = _blank(self.scan)
            self.unchecked.enter_context(validation_enabled(False))  # what the scan returns here is no value
            msg["stop"] = True
        elif self.scan is None and msg["type"] == "sample":
            if msg["name"] in start.sites:
                msg["value"] = placeholder(msg["fn"])
            if msg["name"] in (*start.sites, *start.observed):
                self.found[msg["name"]] = met(msg, msg["value"])
                msg["stop"] = True
        elif self.scan is not None and (msg["name"] in start.after.hidden or msg["name"] in start.after.emitted):
            if msg["type"] == "sample" and msg["value"] is None:
                msg["value"] = placeholder(msg["fn"])
            msg["stop"] = True

    def postprocess_message(self, msg):
        if msg["type"] in ("sample", "param", "plate") and not msg.get("is_observed"):
            self.values[msg["name"]] = msg["value"]

    def _read(self, scan: Scan) -> None:
        """Hand over the scan, with what is observed after it in its step."""
        leaves = jax.tree.leaves(scan.init)
        start = self.start
        sites, seen = ({name: self.found[name] for name in some} for some in (start.sites, start.observed))
        direct = {i: name for i in start.leaves for name, site in sites.items() if leaves[i] is site.value}
        if start.after.emitted:
            args, kwargs = self.call

            def run(outputs: Any, carry: Any) -> dict[str, Sample]:
                return onwards(self.fn, args, kwargs, self.values, outputs, carry, scan.length).sites

            scan = with_emissions(scan, start.after, run)
        self.on_scan(scan, Beginning(start.leaves, direct, sites, start.linked, seen, self._at))

    def _at(self, values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Sample]]:
        args, kwargs = self.call
        run = up_to_scan(self.fn, args, kwargs, self.values | dict(values))
        return jax.tree.leaves(scan_of(run.message).init), {
            name: run.sites[name] for name in (*self.start.sites, *self.start.observed)
        }


def visit[T](
    program: Callable,
    start: Start,
    arguments: Mapping[str, Any],
    work: Callable[[Scan, Beginning], T],
    *around: Messenger,
) -> T:
    """What `work` returns in the place of the program's scan; none of its statements is seen outside of the handlers `around`."""
    found: list[T] = []
    with ExitStack() as stack:
        for handler in (block(), *around):
            stack.enter_context(handler)
        Intercept(program, start, lambda scan, beginning: found.append(work(scan, beginning)))(**arguments)
    return found[0]


def _blank(scan: Scan) -> tuple:
    """What a scan returns, with values that mean nothing (NaN where the type has one)."""
    first = jax.tree.map(lambda leaf: leaf[0], scan.inputs)
    carry, output = jax.eval_shape(lambda: run_step(scan.step, scan.init, first, {})[:2])

    def fill(shape, dtype):
        return jnp.full(shape, jnp.nan if jnp.issubdtype(dtype, jnp.inexact) else 0, dtype)

    carry = jax.tree.map(lambda leaf: fill(leaf.shape, leaf.dtype), carry)
    output = jax.tree.map(lambda leaf: fill((scan.length, *leaf.shape), leaf.dtype), output)
    return scan_result(scan.length, carry, output)
