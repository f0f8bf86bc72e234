"""Examination of a program on its data with concrete numbers: its exact system, proven and checked, and the plan for traces."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ppl_worldmodel.compiled import quickly
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.exact.families import verbs
from ppl_worldmodel.failure import in_words
from ppl_worldmodel.program.batch import Batch
from ppl_worldmodel.program.finite.reachable_states import tabulate
from ppl_worldmodel.program.finite.state_table import Table
from ppl_worldmodel.program.finite.support import NeedsNumbers
from ppl_worldmodel.program.gaussian.linearity import NotLinear, check_linear
from ppl_worldmodel.program.gaussian.matrices import infinite
from ppl_worldmodel.program.independence import coupling, independent, sequences
from ppl_worldmodel.program.intercept import Beginning, visit
from ppl_worldmodel.program.missing import masking
from ppl_worldmodel.program.missing.inputs import check_gaps
from ppl_worldmodel.program.missing.unanswerable import check_before, check_unknown
from ppl_worldmodel.program.missing.unknowns import gaps_of
from ppl_worldmodel.program.parameters import Collect, Parameter, check_inside, check_names, described
from ppl_worldmodel.program.plan import KnownSystem, Plan
from ppl_worldmodel.program.sites import Scan
from ppl_worldmodel.program.start import starting_sites
from ppl_worldmodel.program.step import Step, take_apart
from ppl_worldmodel.program.system import discrete_sites, system_of
from ppl_worldmodel.program.validation import Faults, faults_of, raise_faults, raise_nan
from ppl_worldmodel.program.whole_numbers import check_whole


class _Together(Exception):
    """The sequences of a continuous state are linear-Gaussian as one system only."""


class _Seen(NamedTuple):
    """One look at a program with concrete numbers: the system, what is wrong, and what the plan must know."""

    system: KnownSystem
    faults: Faults
    inside: dict[str, Array]
    coupling: Array
    infinite: dict[str, Array]


class Examined(NamedTuple):
    """The system, the plan with which it is read inside a trace of JAX, and the program's parameters in their order."""

    system: KnownSystem
    plan: Plan
    parameters: dict[str, Parameter]


def examine(model: Callable, data: Mapping[str, Any], parameters: Mapping[str, Any] | None) -> Examined:
    """The exact system of a program at these values of its parameters, or at random ones. Raises as `read` does."""
    with in_words():
        return _examine(model, dict(data), parameters)


def _examine(model: Callable, arguments: dict[str, Any], parameters: Mapping[str, Any] | None) -> Examined:
    check_gaps(model, arguments)
    check_whole(model, arguments)
    gaps = gaps_of(model, arguments)
    program = masking.observed_in(model, arguments, gaps)
    values = None if parameters is None else {name: _numbers(name, value) for name, value in parameters.items()}
    plan = Plan(starting_sites(program, arguments), gaps=gaps)
    check_before(gaps, plan.start.sites)
    while True:
        try:
            seen, about, found, elsewhere = _look(program, arguments, values, plan)
        except NeedsNumbers:
            plan = plan._replace(table=_table(program, arguments, values, plan))
            continue
        except _Together:
            plan = plan._replace(separate=False)
            continue
        wide = {name for name, flag in seen.infinite.items() if flag} - plan.diffuse
        if plan.separate and float(seen.coupling) > 1e-9:
            plan = plan._replace(separate=False, table=None)
        elif wide:
            plan = plan._replace(diffuse=plan.diffuse | wide)
        else:
            break
    check_inside(values or {}, seen.inside, found)
    raise_faults(seen.faults)
    raise_nan(seen.system)
    system = seen.system
    others = [elsewhere(jax.random.key(n)) for n in (1, 2)] if values is None else []
    if not all(verbs(each).keeps_digits(each) for each in (system, *others)):
        plan = plan._replace(form="square root")
        system = system._replace(structure=replace(system.structure, form=plan.form))
        about = (("arithmetic", "square roots of covariances, which would lose digits (slower)"), *about)
    system = _with_gaps(system, {name: seen.faults.missing[name] for name in system.structure.observed}, about)
    return Examined(system, plan, found)


def _proven(step: Step, beginning: Beginning, plan: Plan) -> tuple[tuple[str, str], ...]:
    """Raise NotLinear for a continuous state that is not linear-Gaussian; what is to be said if it is."""
    if any(discrete_sites(step, beginning).values()):
        return ()
    batch = sequences(step, beginning) if plan.separate else Batch()
    try:
        return check_linear(step, beginning, batch)
    except NotLinear:
        if batch:
            check_linear(step, beginning, Batch())
            raise _Together from None
        raise


def _look(
    program: Callable, arguments: dict[str, Any], values: Mapping[str, Array] | None, plan: Plan
) -> tuple[_Seen, tuple[tuple[str, str], ...], dict[str, Parameter], Callable[[Array], Any]]:
    """Read the program once, compiled, with its checks; lines for the repr; the parameters; the system at other draws of them."""
    about: list[tuple[str, str]] = []
    parameters_found: dict[str, Parameter] = {}

    def run(parameters: Mapping[str, Any] | None, key: Array) -> _Seen:
        collect = Collect(None, parameters, set(plan.start.sites), key)

        def look(scan: Scan, beginning: Beginning) -> _Seen:
            check_names(parameters or {}, collect.found, collect.computed)
            step = take_apart(scan, beginning)
            check_unknown(plan.gaps, {**beginning.sites, **step.latents})
            about.extend(_proven(step, beginning, plan))
            system, batch, table = system_of(step, beginning, plan)
            faults = faults_of(system, step, beginning, batch, table)
            far = jnp.zeros(())
            if batch and not independent(step, beginning, batch, table):
                far = coupling(step, beginning, batch, table)
                about.append(("sequences", "independent as far as was tried, with random states at every step"))
            wide = infinite(beginning) if table is None else {}
            return _Seen(system, faults, {}, far, wide)

        seen = visit(program, plan.start, arguments, look, collect)
        parameters_found.update(described(collect))
        listed = ", ".join(f"'{name}' {each.shape} {each.kind}" for name, each in parameters_found.items())
        about.extend(("unknown", f"{unknown.said()}: it is '{unknown.latent}'") for unknown in plan.gaps.unknown)
        about.append(("parameters", listed or "none"))
        if collect.held:
            names = ", ".join(f"'{name}'" for name in collect.held)
            about.append(("held", f"{names} (numpyro.param: no prior) at the initial value; to learn it, sample it"))
        return seen._replace(inside=collect.inside)

    key = jax.random.key(0)
    once = quickly(run, values, key)
    return once(values, key), tuple(about), parameters_found, lambda key: once(values, key).system


def _table(program: Callable, arguments: dict[str, Any], values: Mapping[str, Array] | None, plan: Plan) -> Table:
    """The table of a finite program, from a run with concrete numbers."""

    def table(scan: Scan, beginning: Beginning) -> Table:
        step = take_apart(scan, beginning)
        return tabulate(step, beginning, sequences(step, beginning) if plan.separate else Batch())

    return visit(program, plan.start, arguments, table, Collect(None, values, set(plan.start.sites), jax.random.key(0)))


def _with_gaps(system: KnownSystem, missing: Mapping[str, Array], lines: tuple[tuple[str, str], ...]) -> KnownSystem:
    """The system, with how much is missing and further lines (which parameters there are) in its repr."""
    counts = iter(int(count) for count in missing.values())
    about = [
        (label, f"{text}, {next(counts) or 'none'} missing" if label == "observation" else text)
        for label, text in system.structure.about
    ]
    return system._replace(structure=replace(system.structure, about=(*about, *lines)))


def _numbers(name: str, value: Any) -> Array:
    try:
        return jnp.asarray(value, jnp.float_ if np.asarray(value).dtype.kind == "f" else None)
    except (TypeError, ValueError) as error:
        raise DataError(f"parameter '{name}' is {value!r}: expected an array of numbers") from error
