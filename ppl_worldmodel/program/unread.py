"""Programs with a scan that are not read exactly: their start, their length and their states, for engines that only run them."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from ppl_worldmodel.program.intercept import Beginning, visit
from ppl_worldmodel.program.jaxprs.dependence import dependence
from ppl_worldmodel.program.missing import masking
from ppl_worldmodel.program.missing.inputs import check_gaps
from ppl_worldmodel.program.missing.unknowns import gaps_of
from ppl_worldmodel.program.parameters import Collect, Parameter, check_inside, check_names, described
from ppl_worldmodel.program.plan import Plan
from ppl_worldmodel.program.sites import run_step, scan_of
from ppl_worldmodel.program.start import Start, arrays, starting_sites, up_to_scan
from ppl_worldmodel.program.step import Step, take_apart
from ppl_worldmodel.program.whole_numbers import check_whole

if TYPE_CHECKING:
    from ppl_worldmodel.program.reading import Reading


class Outline(NamedTuple):
    """The plan of a program's start, and its parameters."""

    plan: Plan
    parameters: dict[str, Parameter]


def outline(model: Callable, data: Mapping[str, Any], values: Mapping[str, Any] | None) -> Outline:
    """The outline of a program at these values of its parameters, which are checked; None: they are not given."""
    check_gaps(model, data)
    check_whole(model, data)
    program, plan = _start(model, data, values)
    collect = Collect(None, values, set(plan.start.sites), jax.random.key(0))
    visit(program, plan.start, data, lambda scan, beginning: None, collect)
    check_names(values or {}, collect.found, collect.computed)
    found = described(collect)
    check_inside(values or {}, collect.inside, found)
    return Outline(plan, found)


def only_drawn(model: Callable, data: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """Why the first state cannot be read exactly at these values; empty where nothing speaks against it.

    `examine` takes a site for a parameter that its first state cannot be computed from; here it is drawn if it was not given.
    """
    program, plan = _start(model, data, values)
    further = set(plan.start.sites) - set(starting_sites(program, data).sites)
    named = ", ".join(map(repr, sorted(further)))
    return f"the first state comes from {named}, which has no value and is no affine part of it" if further else ""


def _start(model: Callable, data: Mapping[str, Any], values: Mapping[str, Any] | None) -> tuple[Callable, Plan]:
    """The program with its missing observations left out, and the plan of its start."""
    gaps = gaps_of(model, data)
    program = masking.observed_in(model, data, gaps)
    return program, Plan(drawn_before(program, data, frozenset(values or ())), gaps=gaps)


def drawn_before(model: Callable, data: Mapping[str, Any], known: frozenset[str]) -> Start:
    """The sites before the scan, of any distribution, that are drawn for each particle: those that are not known.

    One that enters the step itself, or an input of the scan, is a parameter: it is left out, and must be known.
    """
    runs: list[Any] = []
    jax.eval_shape(lambda: runs.append(up_to_scan(model, (), data, {})))
    sites = {name: site for name, site in runs[0].sites.items() if not site.observed}

    def parts(*values: Any) -> tuple[list[Any], dict[str, list[Any]], list[Any]]:
        """The leaves of the first carry, what each observed site's density is computed from, and all else that the step sees."""
        run = up_to_scan(model, (), data, dict(zip(sites, values, strict=True)))
        scan = scan_of(run.message)
        carry = jax.tree.map(jnp.zeros_like, scan.init)
        after, _, inside = run_step(scan.step, carry, jax.tree.map(lambda leaf: leaf[0], scan.inputs), {})
        rest = [after, scan.inputs, [(site.fn, site.value if site.observed else None, site.scale) for site in inside]]
        seen = {name: arrays((site.fn, site.value)) for name, site in run.sites.items() if site.observed}
        return jax.tree.leaves(scan.init), seen, arrays(rest)

    shapes = (jax.ShapeDtypeStruct(site.value.shape, site.value.dtype) for site in sites.values())
    leaves, seen, rest = dependence(parts, *shapes)
    names, inside = list(sites), frozenset().union(*rest)
    drawn = {i for i, name in enumerate(names) if name not in known and i not in inside}
    of = {leaf: frozenset(names[i] for i in found & drawn) for leaf, found in enumerate(leaves) if found & drawn}
    return Start(
        tuple(names[i] for i in sorted(drawn)),
        of,
        observed=tuple(name for name, found in seen.items() if drawn & frozenset().union(*found)),
    )


def taken_apart(reading: "Reading") -> tuple[Step, Beginning]:
    """The program's step and first state, whose arrays are traced ones: ask them for names, kinds, shapes and the length only."""
    found: list[tuple[Step, Beginning]] = []

    def run() -> None:
        # Without values the parameters are any of their supports: only names and shapes are looked at.
        anything = Collect(None, None, set(reading.plan.start.sites), jax.random.key(0))
        around = [anything] if reading.values is None else []
        found.append(
            reading.visit(lambda scan, beginning: (take_apart(scan, beginning), beginning), reading.values, *around)
        )

    jax.eval_shape(run)
    return found[0]


def state_names(reading: "Reading") -> tuple[str, ...]:
    """The names of the parts of the state: the leaves of the carry that depend on a latent site."""
    return tuple(taken_apart(reading)[0].names.values())


def entries_unread(reading: "Reading") -> int:
    """How many numbers the states of the whole series are."""
    step, _ = taken_apart(reading)
    return step.scan.length * sum(math.prod(jnp.shape(leaf)) for leaf in step.before.values())
