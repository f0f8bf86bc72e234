"""NumPyro's inner interface: all that this package takes from NumPyro without its documentation saying so stands here.

NumPyro sends every statement of a program through the stack of its handlers as a message, a dict. `scan` is a message of the type
`control_flow` with args (f, init, xs, length, reverse), and expects the value ((length, key, carry), (PytreeTrace, ys)).
tests/program/test_numpyro_internals.py says so when that changes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from numpyro.contrib.control_flow.scan import scan_wrapper
from numpyro.distributions import MaskedDistribution
from numpyro.distributions.distribution import validation_enabled
from numpyro.distributions.util import sum_rightmost
from numpyro.ops.pytree import PytreeTrace
from numpyro.primitives import _PYRO_STACK, Messenger, apply_stack

__all__ = [
    "Messenger", "ScanArguments", "around_step", "handlers_inside", "is_scan", "mask_of", "ran_in_scan", "sampled_outside_of",
    "scan_arguments", "scan_result", "sum_rightmost", "validation_enabled", "values_from_handlers",
]  # fmt: skip


class ScanArguments(NamedTuple):
    """What `scan` was called with."""

    step: Callable
    init: Any
    inputs: Any
    length: int | None
    reverse: bool


def is_scan(msg: dict) -> bool:
    """Is this message of the type control_flow a scan, and not a cond?"""
    return msg["fn"] is scan_wrapper


def scan_arguments(msg: dict) -> ScanArguments:
    return ScanArguments(*msg["args"])


def around_step(msg: dict, **changed: Any) -> None:
    """Change arguments of a scan on its way through the handlers, such as its step or its inputs."""
    msg["args"] = tuple(scan_arguments(msg)._replace(**changed))


def values_from_handlers(msg: dict) -> list[tuple[str, Any]]:
    """(handler, values) of each `condition` and `substitute` inside, for the sites of the step."""
    return msg["kwargs"]["substitute_stack"]


def scan_result(length: int, carry: Any, outputs: Any) -> tuple:
    """The value of a scan's message, with no trace of its sites."""
    return (length, None, carry), (PytreeTrace({}), outputs)


def ran_in_scan(msg: dict) -> bool:
    """Is this a site of a step, told once more after its scan is over?"""
    return bool(msg.get("_control_flow_done", False))


def handlers_inside(handler: Messenger) -> list[Messenger]:
    """The handlers that a program has put up inside of `handler`, the outermost first."""
    return _PYRO_STACK[_PYRO_STACK.index(handler) + 1 :]


def sampled_outside_of(handler: Messenger, msg: dict, fn: Any, name: str) -> Any:
    """The value of a latent site `name` ~ fn, where the message is, that only handlers outside of `handler` meet."""
    latent = {
        **msg, "name": name, "fn": fn, "value": None, "is_observed": False, "kwargs": {"rng_key": None, "sample_shape": ()},
        "infer": {}, "intermediates": [], "cond_indep_stack": list(msg["cond_indep_stack"]),
    }  # fmt: skip
    here = _PYRO_STACK.index(handler)
    inner = _PYRO_STACK[here:]
    del _PYRO_STACK[here:]  # they have had their say about this statement
    try:
        return apply_stack(latent)["value"]
    finally:
        _PYRO_STACK.extend(inner)


def mask_of(fn: MaskedDistribution) -> Any:
    """True where a value of the distribution counts."""
    return fn._mask
