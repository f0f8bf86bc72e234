"""What follows the scan: forecasts, which change nothing, and observations of the scanned-out states, which are read as emissions.

An observation in one vectorised statement is the emission of step t where its entries depend on what step t handed out and on
nothing of any other step: followed through the jaxpr, element by element. The last carry is what the last step handed on, so that
a factor of it is a last factor. Such a site then stands in the step that is read, with its entries of that step.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import lax
from jaxtyping import Array
from numpyro import handlers
from numpyro.distributions import constraints

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.program.jaxprs.dependence import dependence
from ppl_worldmodel.program.jaxprs.element_dependence import element_labels
from ppl_worldmodel.program.jaxprs.element_rules import MIXED, NOTHING
from ppl_worldmodel.program.likelihood import log_prob, unmasked
from ppl_worldmodel.program.missing.masking import leave_out
from ppl_worldmodel.program.numpyro_internals import Messenger, scan_result, validation_enabled
from ppl_worldmodel.program.sites import Sample, Scan, bare, check_statement, met, placeholder, run_step


class Emission(NamedTuple):
    """Which entries of a site (batch elements) belong to which step.

    axis   the axis that is time; None where the entries lie otherwise, and then
    slots  (time, most entries of a step): their numbers, -1 where a step has fewer
    """

    axis: int | None
    slots: np.ndarray


class Afterwards(NamedTuple):
    """The sites after the scan.

    hidden   forecasts, and what is computed from the states: not part of the marginal program
    emitted  observed sites that depend on the states
    observed {sample site: is it observed?}
    """

    hidden: frozenset[str] = frozenset()
    emitted: Mapping[str, Emission] = {}
    observed: Mapping[str, bool] = {}


class Onwards(Messenger):
    """Answer the scan with given results, give sites their values, and write down what is met after it."""

    def __init__(self, fn: Callable, values: Mapping[str, Any], outputs: Any, carry: Any, length: int):
        super().__init__(fn)
        self.values, self.answer = values, scan_result(length, carry, outputs)
        self.scanned = False
        self.sites: dict[str, Sample] = {}
        self.computed: dict[str, Any] = {}

    def process_message(self, msg):
        check_statement(msg)
        if msg["type"] == "control_flow":
            if self.scanned:
                raise NotExactlySolvable("the program has two scans: put both in one step")
            self.scanned = True
            msg["value"], msg["stop"] = self.answer, True
        elif msg["type"] in ("sample", "param", "plate"):
            if msg["name"] in self.values and not msg.get("is_observed"):
                msg["value"] = self.values[msg["name"]]
            if msg["type"] == "sample":
                if msg["value"] is None:
                    msg["value"] = placeholder(msg["fn"])
                if self.scanned:
                    self.sites[msg["name"]] = met(msg, msg["value"])
        elif msg["type"] == "deterministic" and self.scanned:
            self.computed[msg["name"]] = msg["value"]


def onwards(
    model: Callable, args: tuple, kwargs: Mapping[str, Any], values: Mapping[str, Any], outputs: Any, carry: Any, length: int
) -> Onwards:  # fmt: skip
    """The program run with `outputs` and `carry` as what its scan returned."""
    found = Onwards(model, values, outputs, carry, length)
    with handlers.block(), handlers.seed(rng_seed=0), validation_enabled(False):
        found(*args, **kwargs)
    return found


def follow(
    model: Callable, arguments: Mapping[str, Any], scan: Scan, before: Mapping[str, Any]
) -> tuple[Afterwards, frozenset[str]]:
    """What follows the scan, and which of the sites `before` it {name: value} an observation after it looks at."""
    first = jax.tree.map(lambda leaf: leaf[0], scan.inputs)
    carry, output, _ = run_step(scan.step, scan.init, first, {})
    outputs = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (scan.length, *jnp.shape(leaf))), output)
    outline = onwards(model, (), arguments, before, outputs, carry, scan.length)
    if not outline.sites and not outline.computed:
        return Afterwards(), frozenset()
    latents = {name: site.value for name, site in outline.sites.items() if not site.observed}
    names = [*before, *latents]

    def laws(outputs: Any, carry: Any, *values: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        run = onwards(model, (), arguments, dict(zip(names, values, strict=True)), outputs, carry, scan.length)
        drawn = {n: _arrays((s.fn, s.value if s.observed else None, s.scale)) for n, s in run.sites.items()}
        return drawn, {name: _arrays(value) for name, value in run.computed.items()}

    drawn, computed = dependence(laws, outputs, carry, *before.values(), *latents.values())
    needs = {n: frozenset().union(*found) for n, found in (*drawn.items(), *computed.items())}
    position = {name: 2 + i for i, name in enumerate(names)}
    states: frozenset[int] = frozenset({0, 1})
    while more := {position[name] for name in latents if position[name] not in states and states & needs[name]}:
        states |= more
    observed = {name: site.observed for name, site in outline.sites.items()}
    wanted: frozenset[int] = frozenset().union(*(needs[name] for name, seen in observed.items() if seen))
    while further := frozenset().union(*(needs[n] for n in latents if position[n] in wanted)) - wanted:
        wanted |= further
    for name in latents:
        if position[name] in wanted and position[name] in states:
            seen = next(n for n, flag in observed.items() if flag and wanted & needs[n])
            raise NotExactlySolvable(
                f"site '{name}' is drawn from the states after the scan, and '{seen}' is observed given it: put both into the step"
            )
    unknown = states | {position[name] for name in latents if position[name] not in wanted}
    hidden = {name for name in latents if position[name] not in wanted}
    hidden |= {name for name in computed if needs[name] & unknown}
    emitting = [name for name, seen in observed.items() if seen and needs[name] & states]
    looked_at = frozenset(name for name in before if position[name] in wanted)
    values = (*before.values(), *latents.values())
    emitted = _emissions(model, arguments, scan, names, values, outputs, carry, emitting) if emitting else {}
    return Afterwards(frozenset(hidden), emitted, observed), looked_at


def _emissions(
    model: Callable, arguments: Any, scan: Scan, names: list[str], values: tuple, outputs: Any, carry: Any, emitting: list[str]
) -> dict[str, Emission]:  # fmt: skip
    """Which entries of these sites belong to which step. Raises NotExactlySolvable where one depends on several."""
    last = scan.length - 1

    def entries(outputs: Any, carry: Any, *values: Any) -> dict[str, list[Array]]:
        run = onwards(model, (), arguments, dict(zip(names, values, strict=True)), outputs, carry, scan.length)
        return {name: _by_entry(run.sites[name]) for name in emitting}

    by_step = jax.tree.map(
        lambda leaf: np.broadcast_to(np.arange(scan.length).reshape(-1, *(1,) * (np.ndim(leaf) - 1)), np.shape(leaf)),
        outputs,
    )
    at_end = jax.tree.map(lambda leaf: np.full(np.shape(leaf), last), carry)
    found = element_labels(entries, [by_step, at_end, *(None for _ in values)], outputs, carry, *values)
    return {name: _placed(name, labels, scan.length) for name, labels in found.items()}


def _by_entry(site: Sample) -> list[Array]:
    """What the density of each entry is computed from, each of the entries' shape."""
    base, shape, value, _ = peeled(site)
    if isinstance(base, (dist.MultivariateNormal, dist.LowRankMultivariateNormal)):
        matrix = jnp.broadcast_to(base.covariance_matrix, (*shape, *base.event_shape, *base.event_shape))
        return [jnp.broadcast_to(base.loc, value.shape).sum(axis=-1), matrix.sum(axis=(-2, -1)), value.sum(axis=-1)]
    return [jnp.broadcast_to(log_prob(base, value), shape)]


def _placed(name: str, parts: list[np.ndarray], length: int) -> Emission:
    labels = np.stack(parts)
    high, low = labels.max(axis=0), np.where(labels == NOTHING, MIXED, labels).min(axis=0)
    mixed = (high == MIXED) | ((high != NOTHING) & (low != high))
    if mixed.any():
        entry = [int(i) for i in np.argwhere(np.atleast_1d(mixed))[0]] if mixed.ndim else ""
        raise NotExactlySolvable(
            f"the observation '{name}' after the scan is no emission: its entry {entry} looks at the states of several steps; "
            "give the state what it must remember and observe it in the step (numpyro.factor takes one term for each step, "
            "without a sum)"
            if mixed.ndim
            else f"site '{name}' after the scan is one term of the states of several steps: give numpyro.factor one term for each "
            "step, without a sum, or put it into the step"
        )
    for axis, size in enumerate(high.shape):
        step = np.arange(size).reshape(-1, *(1,) * (high.ndim - axis - 1))
        if size == length and ((high == step) | (high == NOTHING)).all():
            return Emission(axis, np.zeros((length, 0), int))
    flat = np.where(high == NOTHING, length - 1, high).ravel()
    most = int(np.bincount(flat, minlength=length).max())
    slots = np.full((length, most), -1)
    for t in range(length):
        own = np.flatnonzero(flat == t)
        slots[t, : len(own)] = own
    return Emission(None, slots)


def peeled(site: Sample) -> tuple[dist.Distribution, tuple[int, ...], Array, Array]:
    """The distribution of one entry, the entries' shape, the value, and which entries are not masked."""
    base, whole = bare(site.fn), jnp.broadcast_shapes(site.fn.shape(), jnp.shape(site.value))
    shape = whole[: len(whole) - base.event_dim]
    kept = unmasked(site.fn, whole).all(axis=tuple(range(len(shape), len(whole))))
    return base, shape, jnp.broadcast_to(site.value, whole), kept


def with_emissions(scan: Scan, after: Afterwards, run: Callable[[Any, Any], Mapping[str, Sample]]) -> Scan:
    """The scan with the observations after it in its step; run(outputs, carry) -> the sites after the scan."""

    def step(carry: Any, inputs_and_time: Any) -> tuple[Any, Any]:
        inputs, t = inputs_and_time
        carry, output = scan.step(carry, inputs)
        outputs = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (scan.length, *jnp.shape(leaf))), output)
        sites = run(outputs, carry)
        for name, emission in after.emitted.items():
            fn, value = _entry(sites[name], emission, t)
            scale = sites[name].scale
            with nullcontext() if scale is None else handlers.scale(scale=scale):
                numpyro.sample(name, fn, obs=value)
        return carry, output

    return Scan(step, scan.init, (scan.inputs, jnp.arange(scan.length)), scan.length)


def _entry(site: Sample, emission: Emission, t: Any) -> tuple[dist.Distribution, Array]:
    """The site's entries of step t, as a distribution of their own and their values, NaN where missing left out."""
    base, shape, value, kept = peeled(site)

    def chosen(array: Any, event: int = 0) -> Array:
        array = jnp.broadcast_to(array, (*shape, *jnp.shape(array)[jnp.ndim(array) - event :]))
        if emission.axis is not None:
            return lax.dynamic_index_in_dim(array, t, emission.axis, keepdims=False)
        flat = array.reshape(-1, *array.shape[len(shape) :])
        return flat[jnp.asarray(emission.slots)[t]]

    present = chosen(kept)
    if emission.axis is None:
        present = present & (jnp.asarray(emission.slots)[t] >= 0)
    fn: dist.Distribution
    if isinstance(base, dist.Normal):
        fn = dist.Normal(chosen(base.loc), chosen(base.scale))
    elif isinstance(base, (dist.MultivariateNormal, dist.LowRankMultivariateNormal)):
        fn = dist.MultivariateNormal(chosen(base.loc, 1), covariance_matrix=chosen(base.covariance_matrix, 2))
    elif isinstance(base, dist.Unit):
        return dist.Unit(jnp.where(present, chosen(base.log_factor), 0.0)), jnp.zeros((*jnp.shape(present), 0))
    else:
        missing = jnp.isnan(value) if jnp.issubdtype(value.dtype, jnp.inexact) else jnp.zeros(value.shape, bool)
        gone = missing.all(axis=tuple(range(len(shape), value.ndim))) if value.ndim > len(shape) else missing
        filled_base, filled = leave_out(base, value)
        bad = ~jnp.broadcast_to(jnp.asarray(bare(filled_base).support(filled)), shape)
        terms = jnp.where(gone, 0.0, jnp.broadcast_to(log_prob(bare(filled_base), filled), shape))
        fn = _named(base)(chosen(terms), chosen(bad), base.event_shape).mask(present & ~chosen(gone))
        return fn, chosen(value, value.ndim - len(shape))
    given = site.value
    value = chosen(value, value.ndim - len(shape))
    if isinstance(given, jax.core.Tracer) or np.isnan(np.asarray(given)).any():
        fn, value = leave_out(fn, value)
    whole = emission.axis is not None and bare(site.fn) is site.fn
    return (fn if whole else fn.mask(present)), value


class _Flags(constraints.Constraint):
    """A support that says of each entry what was found before."""

    def __init__(self, outside: Array):
        self.outside = outside

    def tree_flatten(self) -> tuple:
        return (self.outside,), (("outside",), {})

    def __call__(self, value: Any) -> Any:
        return ~self.outside


class Entry(dist.Distribution):
    """The log densities of entries that were computed elsewhere, as a site of a step; drawn from it is nothing."""

    pytree_data_fields = ("terms", "outside")

    def __init__(self, terms: Array, outside: Array, event_shape: tuple[int, ...] = ()):
        self.terms, self.outside = terms, outside
        super().__init__(batch_shape=jnp.shape(terms), event_shape=event_shape)

    @property
    def support(self) -> Any:
        return _Flags(self.outside)

    @property
    def mean(self) -> Array:
        return jnp.zeros((*self.batch_shape, *self.event_shape))

    def log_prob(self, value: Any) -> Array:
        return self.terms


def _named(base: dist.Distribution) -> type[Entry]:
    """The class of entries of a family, called like it."""
    return type(type(base).__name__, (Entry,), {})


def _arrays(tree: Any) -> list[Any]:
    return [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)]
