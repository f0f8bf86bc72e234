"""Sample statements of a program as one run meets them: before its scan, in its first step, and after it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ppl_worldmodel.program.after_scan import onwards
from ppl_worldmodel.program.sites import Sample, Scan, run_step, scan_of
from ppl_worldmodel.program.start import up_to_scan


class Statements(NamedTuple):
    before: list[Sample]
    inside: list[Sample]
    after: list[Sample]
    scan: Scan


def statements(model: Callable, data: Mapping[str, Any]) -> Statements:
    """The statements, whose latent sites have placeholders for values; what the scan returns repeats its first step."""
    run = up_to_scan(model, (), data, {})
    scan = scan_of(run.message)
    carry, output, inside = run_step(scan.step, scan.init, jax.tree.map(lambda leaf: leaf[0], scan.inputs), {})
    outputs = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (scan.length, *jnp.shape(leaf))), output)
    after = onwards(model, (), data, {}, outputs, carry, scan.length).sites
    return Statements([*run.sites.values()], inside, [*after.values()], scan)
