"""Missing observations that a program goes on to use: found before JAX traces it, from the numbers in the data and the jaxpr.

The value of an observed site, or the input that it is taken from, is followed entry by entry through one step. Where an entry
that is missing at some time reaches the distribution of another site, or a leaf of the carry that does later, it is a further
unknown of the program (`program.missing` draws it). A use that nothing can stand in for is refused: a lagged series that was made
outside of the scan, a value that is looked at before it is observed, an observation computed from an unknown one.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun
from jaxtyping import Array
from numpyro.distributions import Unit

from ppl_worldmodel.compiled import quickly
from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.program.jaxprs.entry_dependence import MOVED, Entries
from ppl_worldmodel.program.missing.masking import NO_GAPS, Gaps, Unknown, has_gaps
from ppl_worldmodel.program.missing.observations import Hand, Look, Seen, first, is_observed, look_at, scanned
from ppl_worldmodel.program.sites import Sample, run_step

Tag = tuple[str, Any]


def gaps_of(model: Callable, data: Mapping[str, Any]) -> Gaps:
    """Which missing observations of these data does the program go on to use?

    Raises NotExactlySolvable or DataError, naming the site and the step, for a use that cannot be answered.
    """
    if not has_gaps(data) or any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(dict(data))):
        return NO_GAPS
    look = look_at(model, data)
    before = {name: seen for name, seen in look.before.items() if seen.missing.any()}
    inside = {name: seen for name, seen in look.inside.items() if seen.missing.any()}
    inputs = {i: hole for i, hole in enumerate(look.inputs) if hole.any()}
    if not before and not inside and not inputs and not any(hole.any() for hole in look.init):
        return NO_GAPS
    return _Followed(model, data, look).gaps(before, inside, inputs)


class _Followed:
    """What one step makes of its inputs and of the values that its observed sites hand to it, followed entry by entry."""

    def __init__(self, model: Callable, data: Mapping[str, Any], look: Look):
        self.look, self.order = look, list[str]()
        before = {name: self._like(seen.value.shape, seen) for name, seen in look.before.items()}
        inside = {name: self._like(seen.value.shape[1:], seen) for name, seen in look.inside.items()}
        scan = scanned(model, data, {})[1]
        first = jax.tree.map(lambda leaf: leaf[0], scan.inputs)
        carry, treedef = jax.tree.flatten(scan.init)
        inputs, input_treedef = jax.tree.flatten(first)

        def follow(before: dict, carry: list, inputs: list, inside: dict) -> list[Array]:
            sites, scan = scanned(model, data, before)

            def step(carry: Any, inputs: Any) -> Any:
                with Hand(None, inside):
                    return scan.step(carry, inputs)

            unflat = jax.tree.unflatten(treedef, carry), jax.tree.unflatten(input_treedef, inputs)
            after, _, within = run_step(step, *unflat, {})
            self.order[:] = [*sites, *(site.name for site in within)]
            found: dict[Tag, list[Any]] = {("init", i): [leaf] for i, leaf in enumerate(jax.tree.leaves(scan.init))}
            found |= {("carry", i): [leaf] for i, leaf in enumerate(jax.tree.leaves(after))}
            found |= {("input", i): [leaf] for i, leaf in enumerate(jax.tree.leaves(scan.inputs))}
            for site in [*sites.values(), *within]:
                found["law", site.name] = [site.fn, site.scale, *_density(site)]
                if is_observed(site):
                    found["value", site.name] = [site.value]
            arrays = {
                tag: [leaf for leaf in jax.tree.leaves(some) if isinstance(leaf, jax.Array)]
                for tag, some in found.items()
            }
            tags[:] = [tag for tag, some in arrays.items() for _ in some]
            return [leaf for some in arrays.values() for leaf in some]

        tags: list[Tag] = []
        self.entries, self.tags = Entries(follow, before, carry, inputs, inside), tags
        numbers = iter(range(len(before) + len(carry) + len(inputs) + len(inside)))
        # The leaves of a dict are in the order of its sorted keys.
        self.before = dict(zip(sorted(before), numbers, strict=False))
        self.carry = [next(numbers) for _ in carry]
        self.inputs = [next(numbers) for _ in inputs]
        self.inside = dict(zip(sorted(inside), numbers, strict=False))
        self.live = self._live()

    @staticmethod
    def _like(shape: tuple[int, ...], seen: Seen) -> Array:
        return jnp.zeros(shape, int if seen.discrete else seen.value.dtype)

    def _reach(self, at: int, marks: Any) -> tuple[dict[Tag, np.ndarray], bool]:
        """{what is reached: its strongest mark by array}, and whether the program asks if it is a number."""
        found = self.entries.reached({at: marks})
        hit: dict[Tag, np.ndarray] = {}
        for tag, mark in zip(self.tags, found.marks, strict=True):
            if mark.any():
                hit[tag] = mark
        return hit, found.asked

    def _live(self) -> dict[int, set[Tag]]:
        """{leaf of the carry: what it reaches, in its step or later}."""
        hits = {
            i: set(self._reach(at, np.ones(self.entries.closed.in_avals[at].shape))[0])
            for i, at in enumerate(self.carry)
        }
        while True:
            grown = {
                i: found | {tag for kind, j in found if kind == "carry" for tag in hits[j]} for i, found in hits.items()
            }
            if grown == hits:
                return hits
            hits = grown

    def _used(self, hit: Mapping[Tag, Any], own: str | None = None) -> set[Tag]:
        """The distributions and observed values that these places lead to, now or later."""
        found: set[Tag] = set()
        for kind, which in hit:
            if kind in ("carry", "init"):
                found |= {("later", tag) for tag in self.live[which] if tag[0] in ("law", "value")}
            elif kind != "value" or which != own:
                found.add((kind, which))
        return found

    def gaps(self, before: dict[str, Seen], inside: dict[str, Seen], inputs: dict[int, np.ndarray]) -> Gaps:
        unknown: dict[str, Unknown] = {}
        as_given: set[str] = set()
        for name, seen in (before | inside).items():
            at, missing = (
                (self.inside[name], seen.missing.any(axis=0)) if seen.inside else (self.before[name], seen.missing)
            )
            hit, asked = self._reach(at, missing)
            used = self._used(hit)
            if asked:
                as_given.add(name)
            elif used:
                unknown[name] = Unknown(name, first(seen.missing) if seen.inside else None)
                self._check(unknown[name], used)
        for leaf, holes in inputs.items():
            self._check_seen_once(leaf, holes, inside)
            for found in self._in_place_of(leaf, holes, inside):
                unknown[found.site] = found
        for leaf, hole in enumerate(self.look.init):
            if hole.any():
                hit, asked = self._reach(self.carry[leaf], hole)
                if self._used(hit) and not asked:
                    raise NotExactlySolvable(
                        "the first carry of the scan is NaN, and the program goes on to use it: carry the value that "
                        "numpyro.sample returns for the observation before the scan, or give the first value"
                    )
        return Gaps(tuple(unknown[name] for name in self.order if name in unknown), frozenset(as_given))

    def _in_place_of(self, leaf: int, holes: np.ndarray, inside: dict[str, Seen]) -> list[Unknown]:
        """The sites whose values are entries of this input, where the program uses the input itself."""
        hit, asked = self._reach(self.inputs[leaf], holes.any(axis=0))
        if asked or not self._used({tag: mark for tag, mark in hit.items() if tag[0] != "value"}):
            return []
        places = {name: self._places(leaf, name) for name in inside}
        rest, found = holes.any(axis=0).reshape(-1).copy(), []
        for name, place in places.items():
            if place is not None and rest[place].any():
                found.append(Unknown(name, first(inside[name].missing), leaf, place))
                rest[place] = False
        shape = holes.shape[1:]
        left, _ = self._reach(self.inputs[leaf], rest.reshape(shape)) if rest.any() else ({}, False)
        of = sorted(which for kind, which in left if kind == "value")
        if self._used({tag: mark for tag, mark in left.items() if tag[0] != "value"}):
            step = first(holes & rest.reshape(shape))
            raise NotExactlySolvable(
                f"the observation of site '{of[0]}' is missing at time step {step} (from 0), and the program goes on to use the "
                "input that it is computed from: use the value that numpyro.sample returns"
                if of
                else f"an input of the scan is NaN at time step {step} (from 0), and no observed site of that step has its value: "
                "only an observation may be missing. Write the past of a series as a carry: return the value of numpyro.sample in "
                "the carry, instead of scanning over a shifted copy (y[1:], y[:-1])"
            )
        for one in found:
            marks = np.zeros(rest.size, bool)
            marks[one.entries] = True
            hit, _ = self._reach(self.inputs[leaf], marks.reshape(shape))
            earlier = self.order[: self.order.index(one.site) + 1]
            early = [which for kind, which in hit if kind == "law" and which in earlier]
            if early:
                raise NotExactlySolvable(
                    f"{one.said()}: site '{early[0]}' looks at it before it is observed. Observe it first, or leave the gap out of "
                    "the series"
                )
            self._check(one, self._used(hit, one.site))
        return found

    def _check_seen_once(self, leaf: int, holes: np.ndarray, inside: dict[str, Seen]) -> None:
        """Refuse a missing entry that is the value of two sites at once: its two densities are of one unknown."""
        size = holes[0].size
        names = [which for kind, which in self._reach(self.inputs[leaf], holes.any(axis=0))[0] if kind == "value"]
        names = [name for name in names if name in inside]
        if len(names) < 2:
            return
        count = np.zeros((len(holes), size), int)
        for name in names:
            missing = (inside[name].missing & inside[name].counted).reshape(len(holes), -1)
            place = self._places(leaf, name)
            if place is not None:
                count[:, place] += missing
                continue
            for entry in np.flatnonzero(holes.any(axis=0)):
                if ("value", name) in self._reach(
                    self.inputs[leaf], (np.arange(size) == entry).reshape(holes.shape[1:])
                )[0]:
                    count[:, entry] += missing.any(axis=1)
        if (count > 1).any():
            raise NotExactlySolvable(
                f"the sites {', '.join(map(repr, names))} observe one and the same value, which is missing at time step "
                f"{first(count > 1)} (from 0): it is one unknown with several densities. Observe it once, or leave the gap out of "
                "the series"
            )

    def _places(self, leaf: int, name: str) -> np.ndarray | None:
        """Which entries of an input are the entries of a site's value, each once; None where the value is more than that."""
        at = self.inputs[leaf]
        shape = self.entries.closed.in_avals[at].shape
        marks = self._reach(at, np.ones(shape))[0].get(("value", name))
        if marks is None or not (marks == MOVED).all():
            return None
        which = self.tags.index(("value", name))

        def moved(numbers: Array) -> Array:
            arguments = [jnp.zeros(one.shape, one.dtype) for one in self.entries.closed.in_avals]
            return jaxpr_as_fun(self.entries.closed)(*arguments[:at], numbers, *arguments[at + 1 :])[which]

        numbers = np.arange(int(np.prod(shape)), dtype=self.entries.closed.in_avals[at].dtype).reshape(shape)
        once = quickly(moved, numbers)
        place = np.asarray(once(numbers)).reshape(-1).astype(int)
        return place if np.unique(place).size == place.size else None

    def _check(self, unknown: Unknown, used: set[Tag]) -> None:
        """Refuse an unknown that another observation is computed from."""
        for tag in used:
            kind, which = tag[1] if tag[0] == "later" else tag
            if kind == "value" and which != unknown.site:
                raise NotExactlySolvable(
                    f"{unknown.said()}: the value of the observed site '{which}' is computed from it, which would have to be an "
                    "unknown, too. Put it into the mean of that site, or leave the gap out of the series"
                )
            if kind == "value" and tag[0] == "later":
                raise NotExactlySolvable(
                    f"{unknown.said()}: the next value of that site is computed from it. Put it into the mean of the site, "
                    "or leave the gap out of the series"
                )
            if kind == "input":
                raise NotExactlySolvable(
                    f"{unknown.said()} in an input of the scan: carry the value that numpyro.sample returns instead"
                )


def _density(site: Sample) -> list[Any]:
    """The log density of some value, which is not that of the data."""
    if isinstance(site.fn, Unit):
        return [site.fn.log_factor]
    return [site.fn.log_prob(jnp.zeros(jnp.shape(site.value), int if site.fn.support.is_discrete else float))]
