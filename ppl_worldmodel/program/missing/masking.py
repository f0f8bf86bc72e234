"""Missing observations: a NaN in the data becomes a masked entry of its site, or a further unknown, whatever program it is in.

Where nothing else looks at the value of an observed site, its missing entries are left out of its density. Where the program goes
on to use the value (carries it into the next step, or looks at it with another site), each missing entry is a latent variable of
the program: a site `<name>_unobserved` with the same distribution is drawn at every step, and the value is the observation where
there is one, and else what was drawn. What was drawn where something was seen enters nothing, and integrates to one. `gaps` (see
`program.unknowns`) says which sites these are.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, Bool

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.program.missing.partly_observed import completed, leave_out, without_masks
from ppl_worldmodel.program.numpyro_internals import (
    Messenger,
    around_step,
    ran_in_scan,
    sampled_outside_of,
    scan_arguments,
)
from ppl_worldmodel.program.sites import run_step

UNOBSERVED = "_unobserved"
NO_LEAF = -1


class Unknown(NamedTuple):
    """An observed site whose missing values the program goes on to use.

    step     the first time step at which one is missing; None for a site before the scan
    leaf     which leaf of the scan's inputs stands for the value in the program, beside what numpyro.sample returns; or NO_LEAF
    entries  the places of the value's entries in that leaf, both flattened
    """

    site: str
    step: int | None
    leaf: int = NO_LEAF
    entries: np.ndarray | None = None

    @property
    def latent(self) -> str:
        """The name of the latent site."""
        return self.site + UNOBSERVED

    def said(self) -> str:
        """What is missing where, for people."""
        at = "before the scan" if self.step is None else f"at time step {self.step} (from 0)"
        return f"the observation of site '{self.site}' is missing {at}, and the program goes on to use it"


class Gaps(NamedTuple):
    """unknown   the observed sites whose missing values are further unknowns
    as_given  those whose missing value the program itself tests with isnan: it is handed the NaN
    """

    unknown: tuple[Unknown, ...] = ()
    as_given: frozenset[str] = frozenset()


NO_GAPS = Gaps()


class _Completed(Exception):
    """The value of a site is known in full: run the step again with it in the place of an input."""

    def __init__(self, unknown: Unknown, value: Array):
        super().__init__()
        self.unknown, self.value = unknown, value


class _LeaveOut(Messenger):
    """Mask NaN entries of observed sites, and the whole site where `keep` is False; draw those that are unknowns.

    done  {site: value} of an earlier run of the same step: these statements have been met, and only their values are wanted
    raw   {observed site: its value with the inputs as given}
    """

    def __init__(
        self,
        keep: Any = True,
        gaps: Gaps = NO_GAPS,
        done: dict[str, Any] | None = None,
        raw: Mapping[str, Any] = MappingProxyType({}),
    ):
        super().__init__()
        self.keep, self.as_given, self.done, self.raw = keep, gaps.as_given, {} if done is None else done, raw
        self.unknown = {unknown.site: unknown for unknown in gaps.unknown}
        self.again = any(unknown.leaf != NO_LEAF for unknown in gaps.unknown)
        self.handed: dict[str, Any] = {}  # what the program gets, where it is not what the handlers outside get
        self.passed: set[str] = set()
        self.idle = False

    def process_message(self, msg):
        if self.idle or msg["type"] not in ("sample", "deterministic"):
            return
        if msg["name"] in self.done:
            msg["value"], msg["stop"] = self.done[msg["name"]], True
            self.passed.add(msg["name"])
            return
        if msg["type"] != "sample" or not msg["is_observed"] or ran_in_scan(msg):
            return
        if isinstance(msg["fn"], dist.Unit):
            return
        name = msg["name"]
        value = msg["value"] = self.raw.get(name, msg["value"])
        if name in self.unknown:
            self.handed[name] = completed(msg["fn"], value, self._drawn(msg))
        elif name in self.as_given or not msg["fn"].support.is_discrete:
            self.handed[name] = value  # a NaN that is used against all expectation must not look like a number
        msg["fn"], msg["value"] = leave_out(msg["fn"], value, self.keep)

    def postprocess_message(self, msg):
        name = msg.get("name")
        if self.idle or msg["type"] not in ("sample", "deterministic") or name in self.passed:
            return
        if name in self.handed:
            msg["value"] = self.handed.pop(name)
        if self.again:
            self.done[name] = msg["value"]
        if name in self.unknown and self.unknown[name].leaf != NO_LEAF:
            raise _Completed(self.unknown[name], msg["value"])

    def _drawn(self, msg: dict) -> Array:
        """A value of the latent site that stands for the missing entries, drawn by the handlers outside of this one."""
        if msg["scale"] is not None:
            raise NotExactlySolvable(
                f"{self.unknown[msg['name']].said()}, but its density is scaled (handlers.scale, or a subsampled plate): what is "
                "missing has no distribution; take the scale away, or leave the gap out of the series"
            )
        if jnp.shape(msg["value"]) != msg["fn"].shape():
            raise NotExactlySolvable(
                f"{self.unknown[msg['name']].said()}, but the observation has shape {jnp.shape(msg['value'])} and its distribution "
                f"{msg['fn'].shape()}: give one value to each entry"
            )
        return sampled_outside_of(self, msg, without_masks(msg["fn"]), msg["name"] + UNOBSERVED)


def as_before(new: Any, old: Any) -> Any:
    """A leaf of the new carry, in the type that the old one has: a carry of int32, written for float32, runs in float64, too."""
    return new if jnp.result_type(new) == jnp.result_type(old) else jnp.asarray(new, jnp.result_type(old))


class _InsideScan(Messenger):
    """Put the masks inside the step of the scan, where the observed sites are, with one entry of `keep` for each step."""

    def __init__(self, keep: Bool[Array | np.ndarray, " time"] | None, gaps: Gaps, outside: _LeaveOut):
        super().__init__()
        self.keep, self.gaps, self.outside = keep, gaps, outside

    def process_message(self, msg):
        if msg["type"] != "control_flow":
            return
        step, _, inputs, _, _ = scan_arguments(msg)
        if self.keep is None:

            def masked(carry, inputs):
                return self._run(step, carry, inputs, True)

            around_step(msg, step=masked)
        else:

            def masked_with_keep(carry, inputs_and_keep):
                inputs, keep = inputs_and_keep
                return self._run(step, carry, inputs, keep)

            around_step(msg, step=masked_with_keep, inputs=(inputs, jnp.asarray(self.keep)))

    def _run(self, step: Callable, carry: Any, inputs: Any, keep: Any) -> tuple[Any, Any]:
        """One step. It is run again, up to where it was, with each value that stands in the place of an input."""
        done: dict[str, Any] = {}
        raw: dict[str, Any] = {}
        leaves, treedef = jax.tree.flatten(inputs)
        self.outside.idle = True
        try:
            if any(unknown.leaf != NO_LEAF for unknown in self.gaps.unknown):
                raw = {site.name: site.value for site in run_step(step, carry, inputs, {})[2] if site.observed}
            while True:
                try:
                    with _LeaveOut(keep, self.gaps, done, raw):
                        after, output = step(carry, jax.tree.unflatten(treedef, leaves))
                    return jax.tree.map(as_before, after, carry), output
                except _Completed as found:
                    i = found.unknown.leaf
                    leaf, value = jnp.asarray(leaves[i]), jnp.ravel(found.value).astype(jnp.result_type(leaves[i]))
                    leaves[i] = leaf.reshape(-1).at[found.unknown.entries].set(value).reshape(leaf.shape)
        finally:
            self.outside.idle = False


def has_gaps(arguments: Mapping[str, Any]) -> bool:
    """Is there a NaN in the data, or data traced by JAX, in which there may be one?"""
    numbers = (float, complex, np.ndarray, np.generic, jax.Array)  # text and functions have no gaps
    leaves = [leaf for leaf in jax.tree.leaves(dict(arguments)) if isinstance(leaf, numbers)]
    leaves = [leaf for leaf in leaves if jnp.issubdtype(getattr(leaf, "dtype", float), jnp.inexact)]
    return any(isinstance(leaf, jax.core.Tracer) or bool(np.isnan(np.asarray(leaf)).any()) for leaf in leaves)


def observe(model: Callable, keep: Bool[Array | np.ndarray, " time"] | None = None, gaps: Gaps = NO_GAPS) -> Callable:
    """The same program with the NaNs of its observed sites left out, and the observations of the steps with keep False too.

    gaps  which of them the program goes on to use, so that they are drawn
    """

    def observed(*args, **kwargs):
        outside = _LeaveOut(True, gaps)
        with outside, _InsideScan(keep, gaps, outside):
            return model(*args, **kwargs)

    return observed


def observed_in(model: Callable, data: Mapping[str, Any], gaps: Gaps) -> Callable:
    """`observe` where the data have gaps, or may have; else the program itself."""
    return observe(model, gaps=gaps) if has_gaps(data) else model
