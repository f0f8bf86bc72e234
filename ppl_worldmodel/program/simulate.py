"""Simulation: every site of one forward run of a program at given parameters."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
from numpyro import handlers

from ppl_worldmodel.errors import DataError, NotExactlySolvable
from ppl_worldmodel.program.intercept import Beginning, Intercept
from ppl_worldmodel.program.missing import masking
from ppl_worldmodel.program.missing.unknowns import gaps_of
from ppl_worldmodel.program.numpyro_internals import ran_in_scan
from ppl_worldmodel.program.parameters import Collect, given
from ppl_worldmodel.program.sites import Scan, run_step
from ppl_worldmodel.program.start import starting_sites, up_to_scan


def simulate(
    model: Callable, parameters: Mapping[str, Any] | None, key: jax.Array, **arguments: Any
) -> dict[str, jax.Array]:
    """Run the program forward, seeded: the value of every site by name, series with a leading axis time.

    parameters  values of its parameter sites (those left out are drawn from the prior)
    arguments   what else the program takes (num_steps, actions), without the observations
    """
    sites = _forward(model, parameters, key, arguments)
    values = {name: site["value"] for name, site in sites.items()}
    return {name: jax.numpy.asarray(value) for name, value in (parameters or {}).items()} | values


def simulate_series(
    model: Callable, parameters: Mapping[str, Any] | None, key: jax.Array, **arguments: Any
) -> dict[str, jax.Array]:
    """The same run, but only the sites of the step and those drawn after the scan entry by entry of its steps.

    All have the leading axis time.
    """
    sites = _forward(model, parameters, key, arguments)
    inside = {name: site["value"] for name, site in sites.items() if ran_in_scan(site)}
    return inside | _emitted(given(model, parameters or {}), {n: s["value"] for n, s in sites.items()}, arguments)


def _emitted(program: Callable, values: Mapping[str, jax.Array], arguments: Mapping[str, Any]) -> dict[str, jax.Array]:
    """The values of the sites after the scan that would be emissions if they were observed, with the leading axis time."""
    found: dict[str, jax.Array] = {}
    for name in starting_sites(program, arguments).after.observed:
        if name not in values:
            continue
        try:
            seen = starting_sites(handlers.condition(program, {name: values[name]}), arguments).after.emitted
        except NotExactlySolvable:  # a forecast, or a sum over the states
            continue
        axis = seen[name].axis if name in seen else None
        if axis is not None:
            found[name] = jax.numpy.moveaxis(values[name], axis, 0)
    return found


def _forward(
    model: Callable, parameters: Mapping[str, Any] | None, key: jax.Array, arguments: Mapping[str, Any]
) -> dict[str, dict]:
    """The sampled and deterministic sites of one run. Raises DataError where it has no length or cannot be sampled."""
    check_length(model, arguments)
    program = handlers.trace(handlers.seed(given(model, parameters or {}), key))
    try:
        sites = program.get_trace(**arguments)
    except NotImplementedError as error:
        flat = starting_sites(model, arguments).sites
        raise DataError(
            f"the program cannot be run forward: a site before the scan has no distribution to draw from (such as "
            f"ImproperUniform; the first state comes from {', '.join(map(repr, flat)) or 'no site'}): give it a proper one"
        ) from error
    return {name: site for name, site in sites.items() if site["type"] in ("sample", "deterministic")}


def check_length(model: Callable, arguments: Mapping[str, Any]) -> None:
    """Raise DataError if the program's scan has neither a length nor a series to run along."""
    _, _, inputs, length, _ = up_to_scan(model, (), arguments, {}).message["args"]
    if length is None and not jax.tree.leaves(inputs):
        raise DataError(
            "the scan of the program has no length without data: give the program an argument num_steps=50, and its scan "
            "length=num_steps where there are no observations"
        )


def parameter_names(model: Callable, data: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the program's parameter sites; `data` are its keyword arguments."""
    program = masking.observed_in(model, data, gaps_of(model, data))
    start = starting_sites(program, data)
    names: list[str] = []

    def run() -> None:
        collect = Collect(None, None, set(start.sites), jax.random.key(0))
        with handlers.block(), collect:
            Intercept(program, start, lambda scan, beginning: None)(**data)
        names.extend(collect.found)

    jax.eval_shape(run)
    return tuple(names)


def as_data(model: Callable, sites: Mapping[str, jax.Array], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a simulated run, in the program's own arguments: {argument: the simulated site that it stands for}.

    An argument without a default, or with the default None, that was not given stands for the site of the same name, or of that
    name without its plural s, or for the site that is observed when it is given. One that stands for none is left out.
    """
    free = [
        name
        for name, argument in inspect.signature(model).parameters.items()
        if (argument.default is None or argument.default is inspect.Parameter.empty) and name not in arguments
    ]
    inside = [name for name in _sites(model, arguments) if name in sites]
    data = dict(arguments)
    for name in free:
        alike = [site for site in (name, name.removesuffix("s")) if site in inside]
        tried = alike or [site for site in inside if _stands_for(model, arguments, name, site, sites[site])]
        if tried:
            data[name] = sites[tried[0]]
    if free and len(data) == len(arguments):
        raise DataError(
            f"no simulated site stands for an argument of the program ({', '.join(free)}): name one after a site of the step, or "
            f"after the scan ({', '.join(inside)}), and observe that site through it"
        )
    return data


def _stands_for(model: Callable, arguments: Mapping[str, Any], argument: str, site: str, value: jax.Array) -> bool:
    """Is this site observed when the argument has its simulated value?"""
    try:
        return _sites(model, {**arguments, argument: value}).get(site, False)
    except (TypeError, ValueError, DataError):  # the value of another site may not have the shape that is needed
        return False


def _sites(model: Callable, arguments: Mapping[str, Any]) -> dict[str, bool]:
    """{sample site of the step, or after the scan: is it observed?}"""
    found: dict[str, bool] = {}

    def on_scan(scan: Scan, _: Beginning) -> None:
        first = jax.tree.map(lambda leaf: leaf[0], scan.inputs)
        found.update({site.name: site.observed for site in run_step(scan.step, scan.init, first, {})[2]})

    start = starting_sites(model, arguments)

    def run() -> None:
        with handlers.block(), handlers.seed(rng_seed=0):
            Intercept(model, start, on_scan)(**arguments)

    jax.eval_shape(run)
    return found | dict(start.after.observed)
