"""Arguments that change nothing: the program is the same computation whatever whole number is given."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
from numpyro import handlers

from ppl_worldmodel.program.intercept import Beginning, Intercept
from ppl_worldmodel.program.sites import Scan, run_step
from ppl_worldmodel.program.start import starting_sites

ADDRESS = re.compile(r"0x[0-9a-f]+")


def is_ignored(model: Callable, data: Mapping[str, Any], name: str) -> bool:
    """Is the program on these data the same computation for the whole number `data[name]` and for that plus one?

    All that the program computes before, in and after its scan is compared, and the scan's length: as jaxprs; nothing is run.
    """
    return _computation(model, data) == _computation(model, {**data, name: data[name] + 1})


def _computation(model: Callable, data: Mapping[str, Any]) -> str:
    lengths: list[int] = []

    def run() -> list[Any]:
        found: list[Any] = []

        def on_scan(scan: Scan, _: Beginning) -> None:
            lengths.append(scan.length)
            first = jax.tree.map(lambda leaf: leaf[0], scan.inputs)
            carry, output, sites = run_step(scan.step, scan.init, first, {})
            found.append((carry, output, scan.inputs, [(site.fn, site.value, site.scale) for site in sites]))

        with handlers.block(), handlers.seed(rng_seed=0):
            Intercept(model, starting_sites(model, data), on_scan)(**data)
        return [leaf for leaf in jax.tree.leaves(found) if isinstance(leaf, jax.Array)]

    return ADDRESS.sub("", str(jax.make_jaxpr(run)())) + str(lengths)
