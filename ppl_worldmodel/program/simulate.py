"""What does a program look like when it runs forward?  Every site of one run at given parameters."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
from numpyro import handlers

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.program.intercept import Beginning, Intercept, starting_sites
from ppl_worldmodel.program.parameters import given
from ppl_worldmodel.program.sites import Scan, run_step


def simulate(
    model: Callable, parameters: Mapping[str, Any] | None, key: jax.Array, **arguments: Any
) -> dict[str, jax.Array]:
    """Run the program forward, seeded: the value of every site by name, series with a leading axis time.

    parameters  values of its parameter sites (those left out are drawn from the prior)
    arguments   what else the program takes (num_steps, actions), without the observations
    """
    program = handlers.trace(handlers.seed(given(model, parameters or {}), key))
    sites = program.get_trace(**arguments)
    values = {name: site["value"] for name, site in sites.items() if site["type"] in ("sample", "deterministic")}
    return {name: jax.numpy.asarray(value) for name, value in (parameters or {}).items()} | values


def as_data(model: Callable, sites: Mapping[str, jax.Array], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a simulated run, in the program's own arguments: {argument: the simulated site that it stands for}.

    An argument whose default is None and that was not given stands for the site of the same name, or of that name
    without its plural s, or for the only site of the step that is not carried on as the state.
    """
    free = [
        name
        for name, argument in inspect.signature(model).parameters.items()
        if argument.default is None and name not in arguments
    ]
    emitted = {name: sites[name] for name in _emitted(model, arguments)}
    data = dict(arguments)
    for name in free:
        match = next((site for site in (name, name.removesuffix("s")) if site in emitted), None)
        if match is None and len(free) == 1 and len(emitted) == 1:
            (match,) = emitted
        if match is None:
            raise DataError(
                f"no simulated site stands for the argument '{name}': name it after one of {sorted(emitted)}"
            )
        data[name] = emitted[match]
    return data


def _emitted(model: Callable, arguments: Mapping[str, Any]) -> list[str]:
    """The sample sites of the step whose values are not carried on: what would be observed."""
    names: list[str] = []

    def on_scan(scan: Scan, _: Beginning) -> None:
        first = jax.tree.map(lambda leaf: leaf[0], scan.inputs)
        carry, _, sites = run_step(scan.step, scan.init, first, {})
        carried = jax.tree.leaves(carry)
        names.extend(site.name for site in sites if not any(leaf is site.value for leaf in carried))

    def run() -> None:
        with handlers.block(), handlers.seed(rng_seed=0):
            Intercept(model, starting_sites(model, arguments), on_scan)(**arguments)

    jax.eval_shape(run)
    return names
