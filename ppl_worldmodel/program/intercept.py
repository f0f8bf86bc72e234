"""Where does a program's time begin?  The sites of its initial state; and the program with something else in the scan's place."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from numpyro import handlers
from numpyro.distributions import ImproperUniform, LowRankMultivariateNormal, MultivariateNormal, Normal
from numpyro.ops.pytree import PytreeTrace
from numpyro.primitives import Messenger

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.program.dependence import dependence
from ppl_worldmodel.program.sites import Sample, Scan, bare, is_delta, met, placeholder, run_step, scan_of


class Start(NamedTuple):
    """The sites of the initial state, and of which of them each leaf of the scan's first carry is computed."""

    sites: tuple[str, ...]
    leaves: dict[int, frozenset[str]]


class Beginning(NamedTuple):
    """The initial state as a run of the program met it.

    leaves   {index of the carry's leaf: names of the sites that it is computed from}
    direct   {index of the carry's leaf: name of the site whose value it IS}
    sites    {name: the sample statement}
    at       values of these sites -> (all leaves of the first carry, the sample statements given these values)
    """

    leaves: dict[int, frozenset[str]]
    direct: dict[int, str]
    sites: dict[str, Sample]
    at: Callable[[Mapping[str, Any]], tuple[list[Any], dict[str, Sample]]]


class _Reached(Exception):
    """The scan was reached: there is no need to run on."""


class _UpToScan(Messenger):
    """Give the sites before the scan their values from `values`, or a placeholder, write them down, and stop at the scan."""

    def __init__(self, fn: Callable | None, values: Mapping[str, Any]):
        super().__init__(fn)
        self.values = values
        self.sites: dict[str, Sample] = {}
        self.message: dict = {}

    def process_message(self, msg):
        if msg["type"] == "control_flow":
            self.message = msg
            raise _Reached
        if msg["type"] in ("sample", "param", "plate") and msg["name"] in self.values and not msg.get("is_observed"):
            msg["value"] = self.values[msg["name"]]
        if msg["type"] == "sample":
            if msg["value"] is None:
                msg["value"] = placeholder(msg["fn"])
            self.sites[msg["name"]] = met(msg, msg["value"])


def _up_to_scan(model: Callable, args: tuple, kwargs: Mapping[str, Any], values: Mapping[str, Any]) -> _UpToScan:
    found = _UpToScan(model, values)
    with handlers.block(), handlers.seed(rng_seed=0):
        try:
            found(*args, **kwargs)
        except _Reached:
            return found
    names = sorted(found.sites, key=lambda name: (len(name), name))
    unrolled = [name for name in names if re.search(r"\d$", name)]
    if len(unrolled) >= 3:
        raise NotExactlySolvable(
            f"the program has no scan over time; its sites '{unrolled[0]}' ... '{unrolled[-1]}' look like a loop unrolled in "
            "Python: write one step as a function, and run it with numpyro.contrib.control_flow.scan",
            "none without it",
        )
    raise NotExactlySolvable(
        "the program has no scan over time: write the steps with numpyro.contrib.control_flow.scan", "none without it"
    )


def starting_sites(model: Callable, arguments: Mapping[str, Any]) -> Start:
    """Which sample sites are the initial state: those that enter the scan's first carry and nothing else.

    A site that also enters the step, an input or another site's distribution is a parameter, and so is one that a leaf of the
    carry holds unchanged from step to step. A site whose value is not a leaf itself must be Gaussian or finite to count.
    """
    outline: list[Any] = []

    def look() -> None:
        outline.append(_up_to_scan(model, (), arguments, {}))

    jax.eval_shape(look)
    sites = {name: site for name, site in outline[0].sites.items() if not site.observed}
    constant: set[int] = set()
    direct: set[str] = set()

    def parts(*values: Any) -> tuple[list[Any], list[Any]]:
        """The leaves of the first carry, and all else that is computed from the sites."""
        run = _up_to_scan(model, (), arguments, dict(zip(sites, values, strict=True)))
        scan = scan_of(run.message)
        leaves, treedef = jax.tree.flatten(scan.init)
        first = jax.tree.map(lambda leaf: leaf[0], scan.inputs)
        copies = [jnp.array(leaf, copy=True) for leaf in leaves]
        after, _, _ = run_step(scan.step, jax.tree.unflatten(treedef, copies), first, {})
        constant.update(i for i, leaf in enumerate(jax.tree.leaves(after)) if leaf is copies[i])
        direct.update(name for name, value in zip(sites, values, strict=True) if any(leaf is value for leaf in leaves))
        fresh = [leaf if i in constant else jnp.zeros_like(leaf) for i, leaf in enumerate(leaves)]
        carry, _, inside = run_step(scan.step, jax.tree.unflatten(treedef, fresh), first, {})
        rest = [carry, scan.inputs, [site.fn for site in run.sites.values()]]
        rest += [(site.fn, site.value if site.observed else None, site.scale) for site in inside]
        return leaves, [leaf for leaf in jax.tree.leaves(rest) if isinstance(leaf, jax.Array)]

    leaves, rest = dependence(parts, *(jax.ShapeDtypeStruct(s.value.shape, s.value.dtype) for s in sites.values()))
    used = frozenset().union(*rest)
    names = list(sites)
    initial = {
        name
        for i, name in enumerate(names)
        if i not in used
        and any(i in needs for leaf, needs in enumerate(leaves) if leaf not in constant)
        and (name in direct or _is_state_like(sites[name]))
    }
    of = {
        leaf: frozenset(names[i] for i in needs if names[i] in initial)
        for leaf, needs in enumerate(leaves)
        if leaf not in constant
    }
    return Start(tuple(name for name in names if name in initial), {leaf: found for leaf, found in of.items() if found})


def _is_state_like(site: Sample) -> bool:
    fn = bare(site.fn)
    gaussian = isinstance(fn, (Normal, MultivariateNormal, LowRankMultivariateNormal, ImproperUniform))
    return gaussian or is_delta(fn) or (fn.support.is_discrete and fn.has_enumerate_support)


class Intercept(Messenger):
    """Run a program with `on_scan(scan, beginning)` in the place of its scan; the initial state's sites are hidden.

    What the scan would have returned is a placeholder, so that no sample statement may follow it.
    """

    def __init__(self, model: Callable, start: Start, on_scan: Callable[[Scan, Beginning], None]):
        super().__init__(model)
        self.start, self.on_scan = start, on_scan
        self.found: dict[str, Sample] = {}
        self.values: dict[str, Any] = {}
        self.scanned = False

    def __call__(self, *args, **kwargs):
        self.call = args, kwargs
        return super().__call__(*args, **kwargs)

    def process_message(self, msg):
        if msg["type"] == "sample":
            if self.scanned:
                raise NotExactlySolvable(
                    f"site '{msg['name']}' is sampled after the scan: move it before the scan, or into the step"
                )
            if msg["name"] in self.start.sites:
                msg["value"] = placeholder(msg["fn"])
                self.found[msg["name"]] = met(msg, msg["value"])
                msg["stop"] = True
        elif msg["type"] == "control_flow":
            if self.scanned:
                raise NotExactlySolvable("the program has two scans: put both in one step")
            self.scanned = True
            scan = scan_of(msg)
            leaves = jax.tree.leaves(scan.init)
            direct = {
                i: name for i in self.start.leaves for name, site in self.found.items() if leaves[i] is site.value
            }
            self.on_scan(scan, Beginning(self.start.leaves, direct, self.found, self._at))
            msg["value"] = _blank(scan)
            msg["stop"] = True

    def postprocess_message(self, msg):
        if msg["type"] in ("sample", "param", "plate") and not msg.get("is_observed"):
            self.values[msg["name"]] = msg["value"]

    def _at(self, values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Sample]]:
        args, kwargs = self.call
        run = _up_to_scan(self.fn, args, kwargs, self.values | dict(values))
        return jax.tree.leaves(scan_of(run.message).init), {name: run.sites[name] for name in self.start.sites}


def _blank(scan: Scan) -> tuple:
    """What a scan returns, with values that mean nothing (NaN where the type has one)."""
    first = jax.tree.map(lambda leaf: leaf[0], scan.inputs)
    carry, output = jax.eval_shape(lambda: run_step(scan.step, scan.init, first, {})[:2])

    def fill(shape, dtype):
        return jnp.full(shape, jnp.nan if jnp.issubdtype(dtype, jnp.inexact) else 0, dtype)

    carry = jax.tree.map(lambda leaf: fill(leaf.shape, leaf.dtype), carry)
    output = jax.tree.map(lambda leaf: fill((scan.length, *leaf.shape), leaf.dtype), output)
    return (scan.length, None, carry), (PytreeTrace({}), output)
