"""How do I sample a program's parameters without its states?  The same program with the states integrated out exactly."""

import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import jax
import numpyro

from ppl_worldmodel.program import missing
from ppl_worldmodel.program.read import log_predictive, read, read_scan
from ppl_worldmodel.program.sites import Intercept, Sample, Scan, initial_sites


def marginalize(model: Callable) -> Callable:
    """A NumPyro program over the parameters alone, with density p(parameters) p(data | parameters).

    The scan and the initial state are replaced by one factor, `log_predictive`, of shape (time,): log p(y_t | y_1:t-1,
    parameters). `MCMC(NUTS(marginalize(model)))` and any other NumPyro inference run on it as it is.

    The first call with concrete data checks the program as `read` does and raises NotExactlySolvable where that refuses.
    """
    checked: set = set()

    def marginal(*args, **kwargs):
        arguments = _arguments(model, args, kwargs)
        leaves, treedef = jax.tree.flatten(arguments)
        signature = (treedef, tuple(jax.numpy.shape(leaf) for leaf in leaves))
        if signature not in checked and not any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            # NUTS calls from inside a trace; a thread of its own is outside of it, where `read` compiles and runs.
            with ThreadPoolExecutor(max_workers=1) as outside:
                outside.submit(read, model, arguments).result()
            checked.add(signature)
        program = missing.observe(model) if missing.has_gaps(arguments) else model

        def on_scan(scan: Scan, initial: dict[int, Sample]) -> None:
            terms.append(log_predictive(read_scan(scan, initial)))

        terms: list = []
        result = Intercept(program, initial_sites(program, arguments), on_scan)(**arguments)
        numpyro.factor("log_predictive", terms[0])
        return result

    return marginal


def _arguments(model: Callable, args: tuple, kwargs: dict) -> dict:
    """The call's arguments by name, as `read` takes them."""
    bound = inspect.signature(model).bind(*args, **kwargs)
    named: dict = {}
    for name, value in bound.arguments.items():
        variadic = bound.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
        named |= value if variadic else {name: value}
    return named
