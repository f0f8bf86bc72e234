"""Handlers between a program and its scan: those that would change the sites of the step are refused."""

import jax
from numpyro import handlers

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.program.numpyro_internals import Messenger, handlers_inside
from ppl_worldmodel.program.sites import run_step, scan_of

# Handlers that leave the sites of a step as they are, or that `scan_of` has looked at.
_HARMLESS = (
    handlers.seed, handlers.trace, handlers.substitute, handlers.condition, handlers.infer_config,
    handlers.scope,
)  # fmt: skip


def check_around(outermost: Messenger, msg: dict) -> None:
    """Raise NotExactlySolvable for a handler between the program and its scan that would change the sites of the step."""
    for handler in handlers_inside(outermost):
        name = type(handler).__name__
        if isinstance(handler, handlers.reparam) and isinstance(handler.config, dict):
            scan = scan_of(msg)
            first = jax.tree.map(lambda leaf: leaf[0], scan.inputs)
            inside = {site.name for site in run_step(scan.step, scan.init, first, {})[2]} & set(handler.config)
            if inside:
                raise NotExactlySolvable(
                    f"handlers.reparam around the program names site '{sorted(inside)[0]}' of the step: put it around the step"
                )
        elif type(handler).__module__ == handlers.__name__ and not isinstance(handler, _HARMLESS):
            raise NotExactlySolvable(
                f"the scan is inside handlers.{name}, which would change the sites of its step: put the handler inside the step"
            )
