"""Marginalised program: the states integrated out exactly, the parameters left to NumPyro's own inference."""

import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
import numpyro
from jaxtyping import Array

from ppl_worldmodel.exact.system import System
from ppl_worldmodel.program.examine import examine
from ppl_worldmodel.program.intercept import Beginning, Intercept
from ppl_worldmodel.program.missing import masking
from ppl_worldmodel.program.plan import Plan
from ppl_worldmodel.program.reading import Reading
from ppl_worldmodel.program.sites import Scan
from ppl_worldmodel.program.start import starting_sites
from ppl_worldmodel.program.system import log_evidence, log_predictive, read_scan

FACTOR = "log_predictive"  # the name of its site


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
                plans[seen] = outside.submit(examine, model, arguments, None).result().plan
        return plans[seen]

    def integrated(*args, **kwargs):
        arguments = _arguments(model, args, kwargs)
        program = masking.observe(model) if masking.has_gaps(arguments) else model
        reading = Reading(model, arguments, None, plan_of(program, arguments), {})
        terms: list[Array] = []

        def on_scan(scan: Scan, beginning: Beginning) -> None:
            terms.append(log_predictive(read_scan(scan, beginning, reading.plan)))

        result = Intercept(reading.program(), reading.plan.start, on_scan)()
        numpyro.factor(FACTOR, terms[0])
        return result

    return integrated


def with_factor(reading: Reading, name: str, of_system: Callable[[System], Array]) -> Callable[[], Any]:
    """The program on its data over its parameters alone, without arguments: the factor `of_system` of the system stands in the
    place of the scan and the initial state.
    """

    def program() -> Any:
        run = Intercept(reading.program(), reading.plan.start, lambda scan, beginning: None)
        result = run()
        system = reading.at({name: run.values[name] for name in reading.parameters})
        numpyro.factor(name, of_system(system))
        return result

    return program


def marginal(reading: Reading) -> Callable[[], Any]:
    """`marginalize` of a program that has been read, on its data: a NumPyro program without arguments."""
    return with_factor(reading, FACTOR, log_predictive)


def marginal_density(reading: Reading) -> Callable[[], Any]:
    """As `marginal`, with log p(data | parameters) as one number: a sampler needs no more, and its gradient costs less."""
    return with_factor(reading, "log_evidence", log_evidence)


def _arguments(model: Callable, args: tuple, kwargs: dict) -> dict:
    """The call's arguments by name, as `read` takes them."""
    bound = inspect.signature(model).bind(*args, **kwargs)
    named: dict = {}
    for name, value in bound.arguments.items():
        variadic = bound.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
        named |= value if variadic else {name: value}
    return named
