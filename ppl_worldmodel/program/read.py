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
from ppl_worldmodel.exact.system import FiniteState, LinearGaussian
from ppl_worldmodel.program import missing
from ppl_worldmodel.program.finite import read_finite
from ppl_worldmodel.program.gaps import check_gaps
from ppl_worldmodel.program.gaussian import bends, read_gaussian
from ppl_worldmodel.program.likelihood import normalisation_error, outside_support
from ppl_worldmodel.program.parameters import Collect, check_inside, check_names, given, row_support
from ppl_worldmodel.program.sites import Intercept, Sample, Scan, initial_sites, run_step
from ppl_worldmodel.program.step import Step, kind, take_apart

System = FiniteState | LinearGaussian


class _Faults(NamedTuple):
    """What can only be judged on concrete numbers, computed beside the system.

    bends    {what is not linear-Gaussian: by how much}
    sums     {what must sum to one: the sums}
    outside  {observed site: is the observation outside the support, (time,)}
    misses   {observed site: by how much its probabilities miss one, (time,)}
    """

    bends: dict[str, Array]
    sums: dict[str, Array]
    outside: dict[str, Array]
    misses: dict[str, Array]


def read(model: Callable, data: Mapping[str, Any] | None = None, parameters: Mapping[str, Any] | None = None) -> System:
    """Read the exact structure of a NumPyro program off the program itself.

    model       an ordinary NumPyro program with one `numpyro.contrib.control_flow.scan` over time
    data        the keyword arguments that it takes, {"observations": y, ...}; NaN in float data is a missing observation
    parameters  values of its parameter sites; without them, random values inside their supports (to look at the structure)

    Returns a FiniteState or a LinearGaussian; its repr says what was found.
    Raises NotExactlySolvable (with the site and the reason) or DataError (data or parameters that do not fit).
    """
    arguments = dict(data or {})
    check_gaps(model, arguments)
    program = missing.observe(model) if missing.has_gaps(arguments) else model
    initial = initial_sites(program, arguments)
    described: list[tuple[str, str]] = []
    supports: dict[str, str] = {}

    def run(parameters: Mapping[str, Any] | None) -> tuple[System, _Faults, dict[str, Array]]:
        collect = Collect(None, parameters, set(initial.values()), jax.random.key(0))
        read_off: list[tuple[System, _Faults]] = []

        def on_scan(scan: Scan, starts: dict[int, Sample]) -> None:
            check_names(parameters or {}, collect.found)
            step = take_apart(scan)
            system = _system(scan, starts, step)
            read_off.append((system, _faults(system, scan, step)))

        with handlers.block(), collect:
            Intercept(program, initial, on_scan)(**arguments)
        listed = ", ".join(f"'{name}' {site.fn.shape()} {kind(site.fn)}" for name, site in collect.found.items())
        described.append(("parameters", listed or "none"))
        supports.update({name: _support(site) for name, site in collect.found.items()})
        return (*read_off[0], collect.inside)

    values = None if parameters is None else {name: _numbers(name, value) for name, value in parameters.items()}
    system, faults, inside = jax.jit(run)(values)
    check_inside(values or {}, inside, supports)
    _raise(faults)
    _raise_nan(system)
    gaps = sum(
        int(np.isnan(leaf).sum())
        for leaf in jax.tree.leaves(arguments)
        if np.issubdtype(jnp.result_type(leaf), np.inexact)
    )
    about = [
        (label, f"{text}, {f'{gaps} missing' if gaps else 'none missing'}" if label == "observation" else text)
        for label, text in system.structure.about
    ]
    return system._replace(structure=replace(system.structure, about=(*about, described[0])))


def system_at(model: Callable, data: Mapping[str, Any], parameters: Mapping[str, Any]) -> System:
    """The system at parameters that JAX may be tracing: `read` without its checks, for use inside jit, vmap and grad."""
    program = given(missing.observe(model) if missing.has_gaps(data) else model, parameters)
    systems: list[System] = []

    def on_scan(scan: Scan, starts: dict[int, Sample]) -> None:
        systems.append(read_scan(scan, starts))

    with handlers.block():
        Intercept(program, initial_sites(program, data), on_scan)(**data)
    return systems[0]


def read_scan(scan: Scan, initial: dict[int, Sample]) -> System:
    """The system of a captured scan, whose values may be traced by JAX; unchecked."""
    return _system(scan, initial, take_apart(scan))


def log_predictive(system: System) -> Array:
    """log p(y_t | y_1:t-1) for every t, (time,); the sum is the log evidence."""
    return finite.evidence(system) if isinstance(system, FiniteState) else gaussian.evidence(system)


def _system(scan: Scan, initial: dict[int, Sample], step: Step) -> System:
    discrete = {site.name: site.fn.support.is_discrete for site in step.states.values()}
    if all(discrete.values()):
        return read_finite(scan, initial, step)
    if not any(discrete.values()):
        return read_gaussian(scan, initial, step)
    names = ", ".join(f"'{name}' ({'discrete' if flag else 'continuous'})" for name, flag in discrete.items())
    raise NotExactlySolvable(
        f"the state has discrete and continuous parts, {names}: the number of terms of a switching system's filter doubles "
        "with every step"
    )


def _faults(system: System, scan: Scan, step: Step) -> _Faults:
    def observed(
        old: dict[int, Array], new: dict[int, Array], inputs: Any
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        carry, inputs = step.carry(inputs, old)
        named = {step.states[i].name: value for i, value in new.items()}
        sites = [site for site in run_step(scan.step, carry, inputs, named)[2] if site.name in step.observed]
        outside = {site.name: outside_support(site.fn, site.value) for site in sites}
        return outside, {site.name: normalisation_error(site.fn) for site in sites}

    if isinstance(system, LinearGaussian):
        states = {i: site.value for i, site in step.states.items()}
        _, misses = jax.vmap(lambda inputs: observed(states, states, inputs), axis_size=scan.length)(step.series)
        return _Faults(bends(scan, step, jax.random.key(1)), {}, {}, misses)
    ((leaf, site),) = step.states.items()
    support = site.fn.enumerate_support(expand=False).reshape(-1)
    both = system.structure.order == "both states"
    old, new = (jnp.repeat(support, support.size), jnp.tile(support, support.size)) if both else (support, support)

    def in_every_state(inputs: Any) -> tuple[dict[str, Array], dict[str, Array]]:
        outside, misses = jax.vmap(lambda old, new: observed({leaf: old}, {leaf: new}, inputs))(old, new)
        return jax.tree.map(lambda flags: flags.all(), outside), jax.tree.map(lambda values: values.max(), misses)

    outside, misses = jax.vmap(in_every_state, axis_size=scan.length)(step.series)
    sums = {
        f"the transition of site '{site.name}'": system.transition.sum(axis=-1),
        "the distribution of the initial state": system.initial.sum(axis=-1),
    }
    return _Faults({}, sums, outside, misses)


def _raise(faults: _Faults) -> None:
    for what, bend in faults.bends.items():
        if not float(bend) <= 1e-9:
            raise NotExactlySolvable(f"{what}: between three random states it bends by {float(bend):.3g} of its size")
    for what, sums in faults.sums.items():
        wrong = ~(np.abs(np.asarray(sums)) < np.inf) | (np.abs(np.asarray(sums) - 1.0) > 1e-6)
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(np.atleast_1d(wrong))[0])
            row = f"row {list(at)} sums" if np.ndim(sums) else "it sums"
            raise DataError(
                f"{what} does not sum to one: {row} to {np.atleast_1d(sums)[at]:.6g}; make every row sum to one"
            )
    for name, outside in faults.outside.items():
        if np.any(outside):
            raise DataError(
                f"the observation of site '{name}' at time step {int(np.argmax(outside))} (counted from 0) is outside the "
                "support of its distribution: check the data (categories count from 0; of a vector with dependent "
                "components all or none may be missing)"
            )
    for name, misses in faults.misses.items():
        if np.any(~(np.asarray(misses) <= 1e-6)):
            raise DataError(
                f"the probabilities of site '{name}' miss a sum of one by {float(np.max(misses)):.3g}: make every row sum to one"
            )


def _raise_nan(system: System) -> None:
    for name, array in system._asdict().items():
        if name not in ("observations", "structure") and bool(jnp.isnan(array).any()):
            where = jnp.argwhere(jnp.isnan(array))[0].tolist()
            raise DataError(
                f"the program's {name} is NaN at {where}: a NaN is allowed only where an observation is missing (all of it, if its "
                "components depend on each other); look for one in actions, covariates or parameters"
            )


def _numbers(name: str, value: Any) -> Array:
    try:
        return jnp.asarray(value, jnp.float_ if np.asarray(value).dtype.kind == "f" else None)
    except (TypeError, ValueError) as error:
        raise DataError(f"parameter '{name}' is {value!r}: expected an array of numbers") from error


def _support(site: Sample) -> str:
    name = type(row_support(site.fn)).__name__.strip("_")
    return "non-negative numbers that sum to one" if name == "Simplex" else f"a value of the kind {name}"
