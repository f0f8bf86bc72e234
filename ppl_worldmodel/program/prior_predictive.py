"""Prior predictive draws: what a program's observed sites show when it runs forward on the inputs that it was given."""

import math
from collections.abc import Callable, Iterator

import jax
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array
from numpyro import handlers

from ppl_worldmodel.program.missing.masking import as_before
from ppl_worldmodel.program.numpyro_internals import Messenger, around_step, ran_in_scan, scan_arguments
from ppl_worldmodel.program.parameters import given
from ppl_worldmodel.program.reading import Reading

WORTH_OPTIMISING = 2_000_000  # simulated numbers


class _Draw(Messenger):
    """Draw what is observed, before the scan and inside its step. Factors stay: they have no value to draw."""

    def process_message(self, msg):
        if msg["type"] == "control_flow":
            step = scan_arguments(msg).step

            def drawn(carry, inputs):
                with _Draw():
                    after, output = step(carry, inputs)
                return jax.tree.map(as_before, after, carry), output

            around_step(msg, step=drawn)
        elif _is_data(msg):
            msg["value"], msg["is_observed"] = None, False


def _is_data(msg: dict) -> bool:
    """Is this an observed site (and no factor) that has still to be run?"""
    observed = msg["type"] == "sample" and msg["is_observed"] and not ran_in_scan(msg)
    return observed and not isinstance(msg["fn"], dist.Unit)


def forward(reading: Reading) -> Callable:
    """key -> the values of all sites of one run, with parameters from the prior unless they are given."""
    program = given(reading.model, reading.values or {})

    def run(key: Array) -> dict[str, Array]:
        with handlers.trace() as trace, handlers.seed(rng_seed=key), _Draw():
            program(**reading.data)
        return {name: site["value"] for name, site in trace.items() if site["type"] == "sample"}

    return run


def batches(run: Callable, names: list[str], key: Array, *, size: int, number: int) -> Iterator[dict[str, np.ndarray]]:
    """`number` times `size` runs side by side, {site: (run, ...)}."""
    keys = jax.random.split(key, (number, size))
    once = jax.jit(jax.vmap(lambda key: {name: run(key)[name] for name in names})).lower(keys[0])
    # Short series are run a few times: optimising that would take longer than it saves.
    numbers = sum(math.prod(each.shape) for each in once.out_info.values()) * number
    some = once.compile({"xla_backend_optimization_level": int(numbers > WORTH_OPTIMISING)})
    for each in keys:
        yield {name: np.asarray(values) for name, values in some(each).items()}
