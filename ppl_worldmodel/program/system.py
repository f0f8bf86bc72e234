"""The exact system of a captured scan: finite-state or linear-Gaussian, inside a trace of JAX or outside, unchecked."""

from dataclasses import replace

from jaxtyping import Array

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.exact.families import verbs
from ppl_worldmodel.exact.system import System
from ppl_worldmodel.program.batch import Batch
from ppl_worldmodel.program.finite.reachable_states import tabulate
from ppl_worldmodel.program.finite.state_table import Table
from ppl_worldmodel.program.finite.transition import read_finite
from ppl_worldmodel.program.gaussian.matrices import improper, read_gaussian
from ppl_worldmodel.program.independence import sequences
from ppl_worldmodel.program.intercept import Beginning
from ppl_worldmodel.program.missing.unanswerable import check_unknown
from ppl_worldmodel.program.plan import KnownSystem, Plan
from ppl_worldmodel.program.sites import Scan, kind
from ppl_worldmodel.program.step import Step, take_apart


def read_scan(scan: Scan, beginning: Beginning, plan: Plan) -> KnownSystem:
    """The system of a captured scan, whose values may be traced by JAX; unchecked."""
    return system_of(take_apart(scan, beginning), beginning, plan)[0]


def log_predictive(system: System) -> Array:
    """log p(y_t | y_1:t-1) for every t, (*sequence, time); the sum is the log evidence."""
    return verbs(system).evidence(system)


def log_evidence(system: System) -> Array:
    """log p(y_1:T), (*sequence,): the sum of `log_predictive`, with a cheaper gradient."""
    return verbs(system).log_evidence(system)


def system_of(step: Step, beginning: Beginning, plan: Plan) -> tuple[KnownSystem, Batch, Table | None]:
    """The system, its sequences, and the table of a finite one."""
    sites = {**beginning.sites, **step.latents}
    check_unknown(plan.gaps, sites)
    discrete = discrete_sites(step, beginning)
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


def discrete_sites(step: Step, beginning: Beginning) -> dict[str, bool]:
    """Which sites are the state, and which of them are discrete?"""
    sites = step.latents or beginning.sites
    return {name: site.fn.support.is_discrete for name, site in sites.items()}
