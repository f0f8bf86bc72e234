"""What is this program?  Its exact structure as arrays: a finite-state or a linear-Gaussian system, or a refusal that says why."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpyro import handlers

from ppl_worldmodel.errors import DataError, NotExactlySolvable
from ppl_worldmodel.exact import finite, gaussian
from ppl_worldmodel.exact.system import FiniteState, Form, LinearGaussian
from ppl_worldmodel.failure import in_words
from ppl_worldmodel.program.batch import Batch
from ppl_worldmodel.program.finite.reachable_states import tabulate
from ppl_worldmodel.program.finite.state_table import Table
from ppl_worldmodel.program.finite.support import NeedsNumbers
from ppl_worldmodel.program.finite.transition import read_finite
from ppl_worldmodel.program.gaussian.linearity import NotLinear, check_linear
from ppl_worldmodel.program.gaussian.matrices import improper, infinite, read_gaussian
from ppl_worldmodel.program.independence import coupling, independent, sequences
from ppl_worldmodel.program.intercept import Beginning, Intercept
from ppl_worldmodel.program.missing import masking
from ppl_worldmodel.program.missing.inputs import check_gaps
from ppl_worldmodel.program.missing.masking import NO_GAPS, Gaps
from ppl_worldmodel.program.missing.unknowns import check_before, check_unknown, gaps_of
from ppl_worldmodel.program.parameters import Collect, check_inside, check_names, given, row_support
from ppl_worldmodel.program.sites import Sample, Scan
from ppl_worldmodel.program.start import Start, starting_sites
from ppl_worldmodel.program.step import Step, kind, take_apart
from ppl_worldmodel.program.validation import Faults, faults_of, raise_faults, raise_nan
from ppl_worldmodel.program.whole_numbers import check_whole

System = FiniteState | LinearGaussian


class Plan(NamedTuple):
    """What only concrete numbers tell about a program; it is settled before JAX traces the program.

    start     the sites of its initial state
    separate  are the axes of its plates independent sequences?
    diffuse   sites of the initial state whose variance is infinite, beside the improper ones
    table     the listed states of a finite program, where its structure alone does not tell them
    gaps      the missing observations that the program goes on to use
    form      how a Gaussian belief is carried: where covariances would lose digits, by square roots of them
    """

    start: Start
    separate: bool = True
    diffuse: frozenset[str] = frozenset()
    table: Table | None = None
    gaps: Gaps = NO_GAPS
    form: Form = "covariance"


class _Together(Exception):
    """The sequences of a continuous state are linear-Gaussian as one system only."""


class _Seen(NamedTuple):
    """One look at a program with concrete numbers: the system, what is wrong, and what the plan must know."""

    system: System
    faults: Faults
    inside: dict[str, Array]
    coupling: Array
    infinite: dict[str, Array]


def read(model: Callable, data: Mapping[str, Any] | None = None, parameters: Mapping[str, Any] | None = None) -> System:
    """Read the exact structure of a NumPyro program off the program itself.

    model       an ordinary NumPyro program with one `numpyro.contrib.control_flow.scan` over time
    data        the keyword arguments that it takes, {"observations": y, ...}; NaN in float data is a missing observation
    parameters  values of its parameter sites; without them, random values inside their supports (to look at the structure)

    Returns a FiniteState or a LinearGaussian; its repr says what was found.
    Raises NotExactlySolvable (with the site and the reason), DataError (data or parameters that do not fit), ProgramError (an
    exception inside of the program, with its line), or ReadingFault (an exception inside of this package, with what to report).
    """
    return examine(model, data, parameters)[0]


def examine(
    model: Callable, data: Mapping[str, Any] | None = None, parameters: Mapping[str, Any] | None = None
) -> tuple[System, Plan]:
    """What `read` finds, and the plan with which `system_at` and `read_scan` read the same program inside a trace of JAX."""
    with in_words():
        return _examine(model, dict(data or {}), parameters)


def _examine(model: Callable, arguments: dict[str, Any], parameters: Mapping[str, Any] | None) -> tuple[System, Plan]:
    check_gaps(model, arguments)
    check_whole(model, arguments)
    gaps = gaps_of(model, arguments)
    program = masking.observed_in(model, arguments, gaps)
    values = None if parameters is None else {name: _numbers(name, value) for name, value in parameters.items()}
    plan = Plan(starting_sites(program, arguments), gaps=gaps)
    check_before(gaps, plan.start.sites)
    while True:
        try:
            seen, about, supports, elsewhere = _look(program, arguments, values, plan)
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
    check_inside(values or {}, seen.inside, supports)
    raise_faults(seen.faults)
    raise_nan(seen.system)
    system = seen.system
    if isinstance(system, LinearGaussian):
        others = [elsewhere(jax.random.key(n)) for n in (1, 2)] if values is None else []
        if not all(map(gaussian.covariances_suffice, (system, *others))):
            plan, system = plan._replace(form="square root"), gaussian.in_square_root_form(system)
            about = (("arithmetic", "square roots of covariances, which would lose digits (slower)"), *about)
    return _with_gaps(system, {name: seen.faults.missing[name] for name in system.structure.observed}, about), plan


def system_at(model: Callable, data: Mapping[str, Any], parameters: Mapping[str, Any], plan: Plan) -> System:
    """The system at parameters that JAX may be tracing: `read` without its checks, for use inside jit, vmap and grad."""
    program = given(masking.observed_in(model, data, plan.gaps), parameters)
    systems: list[System] = []

    def on_scan(scan: Scan, beginning: Beginning) -> None:
        systems.append(read_scan(scan, beginning, plan))

    with handlers.block():
        Intercept(program, plan.start, on_scan)(**data)
    return systems[0]


def read_scan(scan: Scan, beginning: Beginning, plan: Plan) -> System:
    """The system of a captured scan, whose values may be traced by JAX; unchecked."""
    return system_of(take_apart(scan, beginning), beginning, plan)[0]


def log_predictive(system: System) -> Array:
    """log p(y_t | y_1:t-1) for every t, (*sequence, time); the sum is the log evidence."""
    return finite.evidence(system) if isinstance(system, FiniteState) else gaussian.evidence(system)


def system_of(step: Step, beginning: Beginning, plan: Plan) -> tuple[System, Batch, Table | None]:
    """The system, its sequences, and the table of a finite one."""
    sites = {**beginning.sites, **step.latents}
    check_unknown(plan.gaps, sites)
    discrete = _discrete(step, beginning)
    batch = sequences(step, beginning) if plan.separate else Batch()
    if all(discrete.values()):
        table = plan.table or tabulate(step, beginning, batch)
        return read_finite(step, beginning, batch, table), batch, table
    if not any(discrete.values()):
        system = read_gaussian(step, beginning, batch, plan.diffuse | improper(beginning))
        return system._replace(structure=replace(system.structure, form=plan.form)), batch, None
    names = ", ".join(f"'{name}' ({kind(sites[name].fn)})" for name in discrete)
    raise NotExactlySolvable(
        f"the state has discrete and continuous parts, {names}: it is a switching system, and the number of terms of its filter "
        "is multiplied with every step",
        "smc, a particle filter at given parameters",
    )


def _discrete(step: Step, beginning: Beginning) -> dict[str, bool]:
    """Which sites are the state, and which of them are discrete?"""
    sites = step.latents or beginning.sites
    return {name: site.fn.support.is_discrete for name, site in sites.items()}


def _proven(step: Step, beginning: Beginning, plan: Plan) -> tuple[tuple[str, str], ...]:
    """Raise NotLinear for a continuous state that is not linear-Gaussian; what is to be said if it is."""
    if any(_discrete(step, beginning).values()):
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
) -> tuple[_Seen, tuple[tuple[str, str], ...], dict[str, str], Callable[[Array], Any]]:
    """Read the program once, compiled, with its checks; lines for the repr; the parameters' supports; the system at other draws."""
    described: list[tuple[str, str]] = []
    supports: dict[str, str] = {}

    def run(parameters: Mapping[str, Any] | None, key: Array) -> _Seen:
        collect = Collect(None, parameters, set(plan.start.sites), key)
        seen: list[_Seen] = []

        def on_scan(scan: Scan, beginning: Beginning) -> None:
            check_names(parameters or {}, collect.found, collect.computed)
            step = take_apart(scan, beginning)
            check_unknown(plan.gaps, {**beginning.sites, **step.latents})
            described.extend(_proven(step, beginning, plan))
            system, batch, table = system_of(step, beginning, plan)
            faults = faults_of(system, step, beginning, batch, table)
            far = jnp.zeros(())
            if batch and not independent(step, beginning, batch, table):
                far = coupling(step, beginning, batch, table)
                described.append(("sequences", "independent as far as was tried, with random states at every step"))
            wide = infinite(beginning) if table is None else {}
            seen.append(_Seen(system, faults, {}, far, wide))

        with handlers.block(), collect:
            Intercept(program, plan.start, on_scan)(**arguments)
        listed = ", ".join(f"'{name}' {site.fn.shape()} {kind(site.fn)}" for name, site in collect.found.items())
        described.extend(("unknown", f"{unknown.said()}: it is '{unknown.latent}'") for unknown in plan.gaps.unknown)
        described.append(("parameters", listed or "none"))
        supports.update({name: _support(site) for name, site in collect.found.items()})
        return seen[0]._replace(inside=collect.inside)

    # Compiled to be run once: optimising it would take longer than it saves.
    key = jax.random.key(0)
    once = jax.jit(run).lower(values, key).compile({"xla_backend_optimization_level": 0})
    return once(values, key), tuple(described), supports, lambda key: once(values, key).system


def _table(program: Callable, arguments: dict[str, Any], values: Mapping[str, Array] | None, plan: Plan) -> Table:
    """The table of a finite program, from a run with concrete numbers."""
    tables: list[Table] = []

    def on_scan(scan: Scan, beginning: Beginning) -> None:
        step = take_apart(scan, beginning)
        tables.append(tabulate(step, beginning, sequences(step, beginning) if plan.separate else Batch()))

    with handlers.block(), Collect(None, values, set(plan.start.sites), jax.random.key(0)):
        Intercept(program, plan.start, on_scan)(**arguments)
    return tables[0]


def _with_gaps(system: System, missing: Mapping[str, Array], lines: tuple[tuple[str, str], ...]) -> System:
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


def _support(site: Sample) -> str:
    name = type(row_support(site.fn)).__name__.strip("_")
    return "non-negative numbers that sum to one" if name == "Simplex" else f"a value of the kind {name}"
