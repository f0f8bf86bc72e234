"""The parts of a step: the state, and what merely runs along; found by running the step once on placeholders."""

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array
from numpyro.distributions import Unit

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.program.intercept import Beginning
from ppl_worldmodel.program.jaxprs.dependence import dependence
from ppl_worldmodel.program.likelihood import log_prob
from ppl_worldmodel.program.numpyro_internals import Messenger
from ppl_worldmodel.program.sites import Sample, Scan, bare, kind, run_step

Values = dict[int, Array]


class Step(NamedTuple):
    """A step taken apart.

    names     {index of a leaf of the carry that is (part of) the state: what to call it}
    origin    {that index: the name of the latent site whose value the new leaf IS, or the index of the old leaf that it IS,
              or None where it is computed}
    latents   the latent sites that matter to the state or to what is seen, in the order of sampling
    dropped   names of latent sites that matter to neither, and integrate to one
    observed  names of the observed sites; factors of those numpyro.factor sites that the step has
    seen_from (state leaves, latent sites) that the distributions of the observed sites and the factors are computed from
    about     lines for the repr
    series    the inputs of every step: (leaves of the carry that run along, the scan's inputs), leading axis time
    before    placeholders of the state's leaves, of their shapes and types
    """

    names: dict[int, str]
    origin: dict[int, str | int | None]
    latents: dict[str, Sample]
    dropped: tuple[str, ...]
    observed: tuple[str, ...]
    factors: tuple[str, ...]
    seen_from: tuple[frozenset[int], frozenset[str]]
    about: tuple[tuple[str, str], ...]
    series: Any
    before: Values
    scan: Scan
    treedef: Any

    def first(self) -> Any:
        """The inputs of the first step."""
        return jax.tree.map(lambda leaf: leaf[0], self.series)

    def run(self, state: Values, latents: dict[str, Array], inputs: Any) -> tuple[dict[int, Any], dict[str, Sample]]:
        """One step from the given state, with the given latent values: the new state's leaves as they are, and the sites."""
        along, inputs = inputs
        carry = jax.tree.unflatten(self.treedef, [(state | along)[i] for i in range(self.treedef.num_leaves)])
        after, _, sites = run_step(self.scan.step, carry, inputs, latents)
        leaves = jax.tree.leaves(after)
        return {i: leaves[i] for i in self.names}, {site.name: site for site in sites}

    def drawn(self) -> tuple[str, ...]:
        """The names of the latent sites, in the order of the carry where the state is nothing but them."""
        return tuple(str(name) for name in self.origin.values()) if self.carried() else tuple(self.latents)

    def carried(self) -> bool:
        """Is the state nothing but the values of the latent sites, each carried on once?"""
        return sorted(map(str, self.origin.values())) == sorted(self.latents)


def take_apart(scan: Scan, beginning: Beginning) -> Step:
    """Recognise the state: the leaves of the carry that depend on a latent site, of the step or of the initial state."""
    leaves, treedef = jax.tree.flatten(scan.init)
    # Fresh copies: two leaves that start as one and the same array are still two leaves.
    leaves = [jnp.array(leaf, copy=True) for leaf in leaves]
    inputs = jax.tree.map(lambda leaf: leaf[0], scan.inputs)
    carry, _, sites = run_step(scan.step, jax.tree.unflatten(treedef, leaves), inputs, {})
    after = jax.tree.leaves(carry)
    latents = {site.name: site for site in sites if not site.observed}
    observed = [site for site in sites if site.observed]
    names, count = list(latents), len(leaves)

    def parts(*arguments: Any) -> tuple[list[Any], dict[str, Any], list[Any]]:
        old, values = list(arguments[:count]), dict(zip(names, arguments[count:-1], strict=True))
        carry, _, sites = run_step(scan.step, jax.tree.unflatten(treedef, old), arguments[-1], values)
        drawn = {site.name: _law(site.fn, latents[site.name].value) for site in sites if not site.observed}
        seen = [leaf for site in sites if site.observed for leaf in _law(site.fn, site.value, site.scale)]
        return jax.tree.leaves(carry), drawn, seen

    arguments = (*leaves, *(site.value for site in latents.values()), inputs)
    moved, drawn, seen = dependence(parts, *arguments)
    latent = {count + i: name for i, name in enumerate(names)}
    state = {i for i in range(count) if i in beginning.leaves or set(latent) & moved[i]}
    while reached := {i for i in range(count) if i not in state and state & moved[i]}:
        state |= reached
    needed = frozenset().union(*seen, *(moved[i] for i in state))
    while more := frozenset().union(*(set().union(*drawn[latent[i]]) for i in needed if i in latent)) - needed:
        needed |= more
    kept = {name: latents[name] for i, name in latent.items() if i in needed}
    for name, site in {**beginning.sites, **kept}.items():
        if site.scale is not None:
            raise NotExactlySolvable(
                f"the latent site '{name}' has a scaled density (handlers.scale), which is no probability: scale what is observed"
            )
    if not state and kept:
        return take_apart(_remembered(scan, kept), beginning)
    if not state:
        raise NotExactlySolvable(
            "the step samples no latent state: nothing is hidden, and the program's own log density is its evidence"
            if observed
            else "the step samples no latent state: give the data, so that observed sites are observed"
        )
    if not observed:
        loose = [name for name in latents if not any(latents[name].value is leaf for leaf in after)]
        raise NotExactlySolvable(
            f"the step observes nothing{f', and its latent site {loose[-1]!r} is not carried on' if loose else ''}: "
            "give the data, so that observed sites are observed"
        )
    along = {i: leaf for i, leaf in enumerate(leaves) if i not in state}
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(scan.init)[0]]
    origin = {i: _origin(after[i], leaves, kept, state) for i in sorted(state)}
    called = {i: _name(origin[i], paths[i], len(state) > 1) for i in sorted(state)}
    dropped = tuple(name for name in latents if name not in kept)
    everything = frozenset().union(*seen)
    shown = [site for site in observed if not isinstance(bare(site.fn), Unit)]
    about = [("observation", f"site '{site.name}', {kind(site.fn)}") for site in shown]
    about += [("factor", f"site '{site.name}'") for site in observed if isinstance(bare(site.fn), Unit)]
    about += [("left out", f"site '{name}', on which nothing depends") for name in dropped]
    return Step(
        names={i: name if list(called.values()).count(name) == 1 else f"{name}{paths[i]}" for i, name in called.items()},
        origin=origin,
        latents=kept,
        dropped=dropped,
        observed=tuple(site.name for site in shown),
        factors=tuple(site.name for site in observed if isinstance(bare(site.fn), Unit)),
        seen_from=(everything & state, frozenset(latent[i] for i in everything if i in latent)),
        about=tuple(about),
        series=(_run_along(scan, along, after, treedef), scan.inputs),
        before={i: leaves[i] for i in sorted(state)},
        scan=scan,
        treedef=treedef,
    )  # fmt: skip


class _Catch(Messenger):
    """Keep the values of some sites."""

    def __init__(self, names: Collection[str]):
        super().__init__()
        self.names = names
        self.values: dict[str, Any] = {}

    def postprocess_message(self, msg):
        if msg["type"] == "sample" and msg["name"] in self.names:
            self.values[msg["name"]] = msg["value"]


def _remembered(scan: Scan, latents: Mapping[str, Sample]) -> Scan:
    """The scan with latent sites that are drawn anew at every step in its carry: a state that forgets what it was."""

    def step(carry: Any, inputs: Any) -> tuple[Any, Any]:
        caught = _Catch(latents)
        with caught:
            after, output = scan.step(carry[0], inputs)
        return (after, {name: caught.values[name] for name in latents}), output

    before = {name: jnp.array(site.value, copy=True) for name, site in latents.items()}
    return Scan(step, (scan.init, before), scan.inputs, scan.length)


def _law(fn: Any, value: Any, scale: Any = None) -> list[Any]:
    """Everything that the density of a site is computed from."""
    return [leaf for leaf in jax.tree.leaves((fn, value, scale, log_prob(fn, value))) if isinstance(leaf, jax.Array)]


def _origin(leaf: Any, before: list[Any], latents: dict[str, Sample], state: set[int]) -> str | int | None:
    site = next((name for name, site in latents.items() if site.value is leaf), None)
    return site if site is not None else next((j for j in sorted(state) if before[j] is leaf), None)


def _name(origin: str | int | None, path: str, several: bool) -> str:
    """What to call a part of the state: its site's name, or its place in the carry."""
    if isinstance(origin, str):
        return origin
    key = re.fullmatch(r"(?:\['(\w+)'\]|\.(\w+))", path)
    return (key[1] or key[2]) if key else f"state{path if several else ''}"


def _run_along(scan: Scan, along: Values, after: list[Any], treedef: Any) -> Values:
    """The values, at every step, of the leaves of the carry that are not the state: time, a previous observation."""
    if not along:
        return {}
    leaves = jax.tree.leaves(scan.init)

    def step(along: Values, inputs: Any) -> tuple[Values, Values]:
        carry = jax.tree.unflatten(treedef, [along.get(i, leaf) for i, leaf in enumerate(leaves)])
        new = jax.tree.leaves(run_step(scan.step, carry, inputs, {})[0])
        return {i: jnp.broadcast_to(jnp.asarray(new[i], leaves[i].dtype), leaves[i].shape) for i in along}, along

    return lax.scan(step, along, scan.inputs, length=scan.length)[1]
