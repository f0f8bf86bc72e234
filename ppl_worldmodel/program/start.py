"""The initial state of a program: which sample sites before the scan enter its first carry and nothing else."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from numpyro import handlers
from numpyro.distributions import (
    ImproperUniform,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
)

from ppl_worldmodel.errors import DataError, NotExactlySolvable
from ppl_worldmodel.program.after_scan import Afterwards, follow
from ppl_worldmodel.program.jaxprs.dependence import dependence
from ppl_worldmodel.program.numpyro_internals import Messenger
from ppl_worldmodel.program.outer_handlers import check_around
from ppl_worldmodel.program.sites import (
    Sample,
    Scan,
    bare,
    check_statement,
    is_delta,
    met,
    placeholder,
    run_step,
    scan_of,
)


class Start(NamedTuple):
    """The sites of the initial state.

    leaves   {index of a leaf of the scan's first carry: of which of them it is computed}
    linked   does the distribution of one of them depend on the value of another?
    observed  observed sites before the scan whose distributions depend on them: what was seen of the first state
    after     what follows the scan
    """

    sites: tuple[str, ...]
    leaves: dict[int, frozenset[str]]
    linked: bool = False
    observed: tuple[str, ...] = ()
    after: Afterwards = Afterwards()


class _Reached(Exception):
    """The scan was reached: there is no need to run on."""


class UpToScan(Messenger):
    """Give the sites before the scan their values from `values`, or a placeholder, write them down, and stop at the scan."""

    def __init__(self, fn: Callable | None, values: Mapping[str, Any]):
        super().__init__(fn)
        self.values = values
        self.sites: dict[str, Sample] = {}
        self.message: dict = {}

    def process_message(self, msg):
        check_statement(msg)
        if msg["type"] == "control_flow":
            self.message = msg
            check_around(self, msg)
            raise _Reached
        if msg["type"] in ("sample", "param", "plate") and msg["name"] in self.values and not msg.get("is_observed"):
            msg["value"] = self.values[msg["name"]]
        if msg["type"] == "sample":
            if msg["value"] is None:
                msg["value"] = placeholder(msg["fn"])
            if msg["name"] in self.sites:
                raise DataError(f"two sites before the scan are named '{msg['name']}': give each a name of its own")
            self.sites[msg["name"]] = met(msg, msg["value"])


def up_to_scan(model: Callable, args: tuple, kwargs: Mapping[str, Any], values: Mapping[str, Any]) -> UpToScan:
    found = UpToScan(model, values)
    with handlers.block(), handlers.seed(rng_seed=0):
        try:
            found(*args, **kwargs)
        except _Reached:
            return found
        except NotImplementedError as error:
            if "plate" not in str(error):
                raise
            raise NotExactlySolvable(
                "the scan is inside a numpyro.plate, which NumPyro does not allow: put the plate inside the step"
            ) from error
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


def starting_sites(model: Callable, arguments: Mapping[str, Any], *, held: bool = True) -> Start:
    """Which sample sites are the initial state: those that enter the scan's first carry and nothing else.

    A site that also enters the step, an input or another site's distribution is a parameter, and so is one that a leaf of the
    carry holds unchanged from step to step, and a continuous one that only enters leaves that forget it (the value before the
    first observation). A site whose value is not a leaf itself must be Gaussian or finite to count. Where the step draws nothing
    and there is no other state, what is held unchanged is the state (the coefficients of a regression).

    held  are values that are held unchanged parameters?
    """
    outline: list[Any] = []

    def look() -> None:
        outline.append(up_to_scan(model, (), arguments, {}))

    jax.eval_shape(look)
    sites = {name: site for name, site in outline[0].sites.items() if not site.observed}
    constant: set[int] = set()
    forgetful: set[int] = set()
    drawn: list[str] = []
    direct: set[str] = set()
    following: list[tuple[Afterwards, frozenset[str]]] = []

    def parts(*values: Any) -> tuple[list[Any], dict[str, list[Any]], list[Any]]:
        """The leaves of the first carry, what each site's density is computed from, and all that the step is."""
        run = up_to_scan(model, (), arguments, dict(zip(sites, values, strict=True)))
        scan = scan_of(run.message)
        leaves, treedef = jax.tree.flatten(scan.init)
        first = jax.tree.map(lambda leaf: leaf[0], scan.inputs)
        copies = [jnp.array(leaf, copy=True) for leaf in leaves]
        after, _, inside = run_step(scan.step, jax.tree.unflatten(treedef, copies), first, {}, validate=True)
        drawn.extend(site.name for site in inside if not site.observed)
        if held:
            constant.update(i for i, leaf in enumerate(jax.tree.leaves(after)) if leaf is copies[i])
        forgetful.update(_forgetful(scan))
        following.append(follow(model, arguments, scan, dict(zip(sites, values, strict=True))))
        direct.update(name for name, value in zip(sites, values, strict=True) if any(leaf is value for leaf in leaves))
        fresh = [leaf if i in constant else jnp.zeros_like(leaf) for i, leaf in enumerate(leaves)]
        carry, _, inside = run_step(scan.step, jax.tree.unflatten(treedef, fresh), first, {})
        rest: list[Any] = [carry, scan.inputs, [leaf for i, leaf in enumerate(leaves) if i in constant]]
        rest += [(site.fn, site.value if site.observed else None, site.scale) for site in inside]
        laws = {name: arrays((site.fn, site.value if site.observed else None)) for name, site in run.sites.items()}
        return leaves, laws, arrays(rest)

    shapes = (jax.ShapeDtypeStruct(site.value.shape, site.value.dtype) for site in sites.values())
    leaves, laws, rest = dependence(parts, *shapes)
    names = list(sites)
    position = {name: i for i, name in enumerate(names)}
    after, looked_at = following[-1]
    used = frozenset().union(*rest) | {position[name] for name in looked_at if name in position}
    needs = {name: frozenset().union(*found) for name, found in laws.items()}
    initial = {
        name
        for name, i in position.items()
        if i not in used
        and any(
            i in found
            for leaf, found in enumerate(leaves)
            if leaf not in constant and (leaf not in forgetful or sites[name].fn.support.is_discrete)
        )
        and (name in direct or _is_state_like(sites[name]))
    }
    # What another parameter's distribution is computed from is a parameter, too.
    while lost := {
        name for name in initial if any(position[name] in needs[other] for other in sites if other not in initial)
    }:
        initial -= lost
    if held and constant and not initial and not drawn:
        return starting_sites(model, arguments, held=False)
    places = {position[name] for name in initial}
    of = {
        leaf: frozenset(names[i] for i in found if i in places)
        for leaf, found in enumerate(leaves)
        if leaf not in constant
    }
    return Start(
        tuple(name for name in names if name in initial),
        {leaf: found for leaf, found in of.items() if found},
        any(places & needs[name] for name in initial),
        tuple(name for name in needs if name not in sites and places & needs[name]),
        after,
    )


def _forgetful(scan: Scan) -> set[int]:
    """Leaves of the carry that no latent site reaches and that are not computed from what they were, over any number of steps."""
    leaves, treedef = jax.tree.flatten(scan.init)
    first = jax.tree.map(lambda leaf: leaf[0], scan.inputs)
    latents = {site.name: site.value for site in run_step(scan.step, scan.init, first, {})[2] if not site.observed}
    count = len(leaves)

    def step(*values: Any) -> list[Any]:
        carry = jax.tree.unflatten(treedef, values[:count])
        return jax.tree.leaves(
            run_step(scan.step, carry, values[-1], dict(zip(latents, values[count:-1], strict=True)))[0]
        )

    moved = dependence(step, *leaves, *latents.values(), first)
    drawn = set(range(count, count + len(latents)))
    while more := {i for i in range(count) if i not in drawn and moved[i] & drawn}:
        drawn |= more
    lasting = set(range(count)) - drawn
    while ended := {j for j in lasting if not any(j in moved[i] for i in lasting)}:
        lasting -= ended
    return set(range(count)) - drawn - lasting


def arrays(tree: Any) -> list[Any]:
    """The leaves that are arrays of JAX's."""
    return [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)]


def _is_state_like(site: Sample) -> bool:
    fn = bare(site.fn)
    gaussian = isinstance(fn, (Normal, MultivariateNormal, LowRankMultivariateNormal, ImproperUniform))
    return gaussian or is_delta(fn) or (fn.support.is_discrete and fn.has_enumerate_support)
