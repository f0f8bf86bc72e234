"""How do I sample a program's parameters without its states?  The same program with the states integrated out exactly."""

import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
import numpyro
from jaxtyping import Array

from ppl_worldmodel.program.intercept import Beginning, Intercept
from ppl_worldmodel.program.missing import masking
from ppl_worldmodel.program.read import Plan, System, examine, log_predictive, read_scan
from ppl_worldmodel.program.sites import Scan
from ppl_worldmodel.program.start import starting_sites


def marginalize(model: Callable) -> Callable:
    """A NumPyro program over the parameters alone, with density p(parameters) p(data | parameters).

    The scan and the initial state are replaced by one factor, `log_predictive`, of shape (*sequence, time): log p(y_t |
    y_1:t-1, parameters). `MCMC(NUTS(marginalize(model)))` and any other NumPyro inference run on it as it is.

    The first call with concrete data checks the program as `read` does and raises NotExactlySolvable where that refuses.
    """
    plans: dict[Any, Plan] = {}

    def plan_of(program: Callable, arguments: dict) -> Plan:
        leaves, treedef = jax.tree.flatten(arguments)
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return next(reversed(plans.values()), None) or Plan(starting_sites(program, arguments))
        seen = (treedef, *((np.shape(leaf), np.asarray(leaf).tobytes()) for leaf in leaves))
        if seen not in plans:
            # NUTS calls from inside a trace; a thread of its own is outside of it, where numbers are concrete.
            with ThreadPoolExecutor(max_workers=1) as outside:
                plans[seen] = outside.submit(examine, model, arguments).result()[1]
        return plans[seen]

    def marginal(*args, **kwargs):
        arguments = _arguments(model, args, kwargs)
        program = masking.observe(model) if masking.has_gaps(arguments) else model
        return with_factor(model, plan_of(program, arguments), "log_predictive", log_predictive)(**arguments)

    return marginal


def with_factor(model: Callable, plan: Plan, name: str, of_system: Callable[[System], Array]) -> Callable:
    """The program over its parameters, with the factor `of_system` of the system in place of the scan and the initial state."""

    def program(**arguments):
        terms: list[Array] = []

        def on_scan(scan: Scan, beginning: Beginning) -> None:
            terms.append(of_system(read_scan(scan, beginning, plan)))

        observed = masking.observed_in(model, arguments, plan.gaps)
        result = Intercept(observed, plan.start, on_scan)(**arguments)
        numpyro.factor(name, terms[0])
        return result

    return program


def _arguments(model: Callable, args: tuple, kwargs: dict) -> dict:
    """The call's arguments by name, as `read` takes them."""
    bound = inspect.signature(model).bind(*args, **kwargs)
    named: dict = {}
    for name, value in bound.arguments.items():
        variadic = bound.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
        named |= value if variadic else {name: value}
    return named
