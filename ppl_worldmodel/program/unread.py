"""Programs with a scan that are not read exactly: their start, their length and their states, for engines that only run them."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from numpyro import handlers

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.program.intercept import Beginning, Intercept
from ppl_worldmodel.program.jaxprs.dependence import dependence
from ppl_worldmodel.program.missing import masking
from ppl_worldmodel.program.missing.inputs import check_gaps
from ppl_worldmodel.program.missing.unknowns import gaps_of
from ppl_worldmodel.program.parameters import Collect, check_inside, check_names, given, row_support
from ppl_worldmodel.program.read import Plan, System, examine
from ppl_worldmodel.program.sites import run_step, scan_of
from ppl_worldmodel.program.start import Start, arrays, starting_sites, up_to_scan
from ppl_worldmodel.program.step import Step, take_apart
from ppl_worldmodel.program.whole_numbers import check_whole

NOT_READ = "not read exactly"  # the family of such a program


def examine_or_plan(
    model: Callable, data: Mapping[str, Any], parameters: Mapping[str, Any]
) -> tuple[System | None, Plan]:
    """What `read` finds, or None; and the plan of the program's start. The parameters are checked in either case."""
    check_gaps(model, data)
    check_whole(model, data)
    gaps = gaps_of(model, data)
    program = masking.observed_in(model, data, gaps)
    plan = Plan(drawn_before(program, data, frozenset(parameters)), gaps=gaps)
    # `read` takes a site for a parameter that its first state cannot be computed from; here it is drawn if it was not given.
    if set(plan.start.sites) <= set(starting_sites(program, data).sites):
        try:
            return examine(model, data, parameters)
        except NotExactlySolvable:
            pass
    collect = Collect(None, parameters, set(plan.start.sites), jax.random.key(0))
    with handlers.block(), collect:
        Intercept(program, plan.start, lambda scan, beginning: None)(**data)
    check_names(parameters, collect.found, collect.computed)
    supports = {name: type(row_support(site.fn)).__name__.strip("_") for name, site in collect.found.items()}
    check_inside(parameters, collect.inside, {name: f"a value of the kind {kind}" for name, kind in supports.items()})
    return None, plan


def drawn_before(model: Callable, data: Mapping[str, Any], known: frozenset[str]) -> Start:
    """The sites before the scan, of any distribution, that are drawn for each particle: those that are not known.

    One that enters the step itself, or an input of the scan, is a parameter: it is left out, and must be known.
    """
    outline: list[Any] = []
    jax.eval_shape(lambda: outline.append(up_to_scan(model, (), data, {})))
    sites = {name: site for name, site in outline[0].sites.items() if not site.observed}

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


def taken_apart(
    model: Callable, data: Mapping[str, Any], parameters: Mapping[str, Any], plan: Plan
) -> tuple[Step, Beginning]:
    """The program's step and first state, whose arrays are traced ones: ask them for names, kinds, shapes and the length only."""
    found: list[tuple[Step, Beginning]] = []

    def run() -> None:
        with handlers.block():
            program = given(masking.observed_in(model, data, plan.gaps), parameters)
            Intercept(
                program, plan.start, lambda scan, beginning: found.append((take_apart(scan, beginning), beginning))
            )(**data)

    jax.eval_shape(run)
    return found[0]


def entries_unread(model: Callable, data: Mapping[str, Any], parameters: Mapping[str, Any]) -> int:
    """How many numbers the states of the whole series are."""
    step, _ = taken_apart(model, data, parameters, examine_or_plan(model, data, parameters)[1])
    return step.scan.length * sum(math.prod(jnp.shape(leaf)) for leaf in step.before.values())
