"""Which sites does a program have, and what does its scan do?  The one file that leans on NumPyro's inner interface.

NumPyro sends `scan` through its handlers as a message of type `control_flow` with args (f, init, xs, length, reverse) and expects
the value ((length, key, carry), (PytreeTrace, ys)). tests/program/test_sites.py says so when that changes.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from numpyro import handlers
from numpyro.contrib.control_flow.scan import scan_wrapper
from numpyro.distributions import Distribution, biject_to
from numpyro.ops.pytree import PytreeTrace
from numpyro.primitives import Messenger

from ppl_worldmodel.errors import DataError, NotExactlySolvable


class Sample(NamedTuple):
    """One sample statement as it was met: its distribution, value and whether the value was observed."""

    name: str
    fn: Distribution
    value: Any
    observed: bool
    scale: Any


class Scan(NamedTuple):
    """The loop of a program over time: step(carry, inputs[t]) -> (carry, output), from `init`."""

    step: Callable
    init: Any
    inputs: Any
    length: int


class _Found(Exception):
    """The scan was reached: there is no need to run on."""


def placeholder(fn: Distribution) -> jax.Array:
    """Some value in the support of a distribution, as a fresh array (so that it can be recognised by identity)."""
    dtype = jnp.int_ if fn.support.is_discrete else jnp.float_
    return jnp.array(fn.support.feasible_like(jnp.zeros(fn.shape(), dtype)), dtype)


def random_value(fn: Distribution, key: jax.Array) -> jax.Array:
    """A value drawn inside the support of a distribution, whether or not the distribution itself can be sampled."""
    if fn.support.is_discrete:
        return fn.sample(key)
    transform = biject_to(fn.support)
    return transform(jax.random.uniform(key, transform.inverse_shape(fn.shape()), minval=-1.0, maxval=1.0))


class _Record(Messenger):
    """Give the latent sites their values from `values`, or a placeholder, and write down every sample statement."""

    def __init__(self, values: Mapping[str, Any], sites: list[Sample]):
        super().__init__()
        self.values, self.sites = values, sites

    def process_message(self, msg):
        if msg["type"] == "control_flow":
            raise NotExactlySolvable("a scan or cond inside the scanned step cannot be read")
        if msg["type"] == "sample":
            if msg["value"] is None:
                name = msg["name"]
                msg["value"] = self.values[name] if name in self.values else placeholder(msg["fn"])
            self.sites.append(Sample(msg["name"], msg["fn"], msg["value"], msg["is_observed"], msg["scale"]))


def run_step(step: Callable, carry: Any, inputs: Any, values: Mapping[str, Any]) -> tuple[Any, Any, list[Sample]]:
    """One step with its latent sites set to `values`: the new carry, the output, and the sample statements in order."""
    sites: list[Sample] = []
    with handlers.block(), handlers.seed(rng_seed=0), _Record(values, sites):
        carry, output = step(carry, inputs)
    return carry, output, sites


def _scan_of(msg: dict) -> Scan:
    """The scan in a control_flow message, with the values that inner handlers (condition, substitute) give to its sites."""
    if msg["fn"] is not scan_wrapper:
        raise NotExactlySolvable(
            "the program branches with numpyro's cond, which cannot be read: use jnp.where inside the step"
        )
    step, init, inputs, length, reverse = msg["args"]
    if reverse:
        raise NotExactlySolvable("the scan runs backwards (reverse=True), which cannot be read: scan forwards")
    if length is None:
        length = jnp.shape(jax.tree.leaves(inputs)[0])[0]
    for leaf in jax.tree.leaves(inputs):
        if jnp.shape(leaf)[:1] != (length,):
            raise DataError(
                f"an input of the scan has shape {jnp.shape(leaf)}, expected a leading time axis of length {length}: "
                "give series of equal length"
            )
    # Inside a real scan the step meets JAX arrays only, never the user's NumPy scalars.
    init, inputs = jax.tree.map(jnp.asarray, (init, inputs))
    for kind, values in msg["kwargs"]["substitute_stack"]:
        if callable(values):
            raise NotExactlySolvable(f"the handler '{kind}' around the program gives values by a function: give a dict")
        if kind not in ("condition", "substitute"):
            raise NotExactlySolvable(
                f"the handler '{kind}' around the program cannot be read: use condition or substitute"
            )
        step, inputs = _with_values(Scan(step, init, inputs, length), kind, values)
    return Scan(step, init, inputs, int(length))


def _with_values(scan: Scan, kind: str, values: Mapping[str, Any]) -> tuple[Callable, Any]:
    """The step whose own sites have the values that a handler gives for all steps; the handler's other values are not for it."""
    handler = {"condition": handlers.condition, "substitute": handlers.substitute}[kind]
    first = jax.tree.map(lambda leaf: leaf[0], scan.inputs)
    names = {site.name for site in run_step(scan.step, scan.init, first, {})[2]}
    series = {name: jnp.asarray(value) for name, value in values.items() if name in names}
    for name, value in series.items():
        if value.shape[:1] != (scan.length,):
            raise DataError(
                f"the values given for site '{name}' have shape {value.shape}, expected a leading time axis of length {scan.length}"
            )

    def step_with_values(carry, inputs_and_values):
        inputs, values = inputs_and_values
        return handler(scan.step, data=values)(carry, inputs)

    return step_with_values, (scan.inputs, series)


class _Outline(Messenger):
    def __init__(self, fn: Callable):
        super().__init__(fn)
        self.values: list[tuple[str, Any]] = []
        self.initial: dict[int, str] = {}

    def process_message(self, msg):
        if msg["type"] == "sample" and msg["value"] is None:
            msg["value"] = placeholder(msg["fn"])
            self.values.append((msg["name"], msg["value"]))
        if msg["type"] == "control_flow":
            leaves = jax.tree.leaves(msg["args"][1])
            self.initial = {i: name for i, leaf in enumerate(leaves) for name, value in self.values if leaf is value}
            raise _Found


def initial_sites(model: Callable, arguments: Mapping[str, Any]) -> dict[int, str]:
    """Which sample sites start the scan: {index of the carry's leaf: name of the site whose value it is}."""
    outline = _Outline(model)

    def run() -> None:
        with handlers.block(), handlers.seed(rng_seed=0):
            outline(**arguments)

    try:
        jax.eval_shape(run)
    except _Found:
        return outline.initial
    raise NotExactlySolvable(
        "the program has no scan over time: write the steps with numpyro.contrib.control_flow.scan", "none without it"
    )


class Intercept(Messenger):
    """Run a program with `on_scan(scan, initial)` in the place of its scan; the initial states' sites are hidden.

    on_scan receives the Scan and {index of the carry's leaf: Sample of the initial state}. What the scan would have returned
    is a placeholder, so that no sample statement may follow it.
    """

    def __init__(self, model: Callable, initial: Mapping[int, str], on_scan: Callable[[Scan, dict[int, Sample]], None]):
        super().__init__(model)
        self.initial, self.on_scan = initial, on_scan
        self.found: dict[str, Sample] = {}
        self.scanned = False

    def process_message(self, msg):
        if msg["type"] == "sample":
            if self.scanned:
                raise NotExactlySolvable(
                    f"site '{msg['name']}' is sampled after the scan: move it before the scan, or into the step"
                )
            if msg["name"] in self.initial.values():
                msg["value"] = placeholder(msg["fn"])
                self.found[msg["name"]] = Sample(msg["name"], msg["fn"], msg["value"], False, msg["scale"])
                msg["stop"] = True
        elif msg["type"] == "control_flow":
            if self.scanned:
                raise NotExactlySolvable("the program has two scans: put both in one step")
            self.scanned = True
            scan = _scan_of(msg)
            self.on_scan(scan, {leaf: self.found[name] for leaf, name in self.initial.items()})
            msg["value"] = _blank(scan)
            msg["stop"] = True


def _blank(scan: Scan) -> tuple:
    """What a scan returns, with values that mean nothing (NaN where the type has one)."""
    first = jax.tree.map(lambda leaf: leaf[0], scan.inputs)
    carry, output = jax.eval_shape(lambda: run_step(scan.step, scan.init, first, {})[:2])

    def fill(shape, dtype):
        return jnp.full(shape, jnp.nan if jnp.issubdtype(dtype, jnp.inexact) else 0, dtype)

    carry = jax.tree.map(lambda leaf: fill(leaf.shape, leaf.dtype), carry)
    output = jax.tree.map(lambda leaf: fill((scan.length, *leaf.shape), leaf.dtype), output)
    return (scan.length, None, carry), (PytreeTrace({}), output)
