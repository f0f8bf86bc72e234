"""Does the evidence find the right number of states?  Measured on a hundred simulated series of three separated states.

The data are those of `state_study`. An exchangeable program (`three_state`) with 1, 2, 3 and 4 states is fitted to each by the
blocked Gibbs sampler; bridge sampling says which has the most evidence, or, by the rule of the table of `worldmodel compare`, that
one cannot tell. How much a state too many costs is up to the prior of T: `--move-counts` 1 allows states that are visited hardly
ever, 4 expects every state to be visited from every other.

    python -m tests.comparisons.number_study [--sets 100] [--move-counts 4]    writes out/number_study_<counts>.json
"""

import argparse
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from ppl_worldmodel.comparisons import bridge_sampling
from ppl_worldmodel.comparisons.paired_difference import TELLS
from ppl_worldmodel.comparisons.ranking import BARELY
from ppl_worldmodel.labels.relabelling import relabelling
from ppl_worldmodel.models import three_state
from ppl_worldmodel.program.coordinates import coordinates
from ppl_worldmodel.program.reading import read

from ..labels.state_study import sampled, series

RIGHT, MOST, STEPS = 3, 4, 1000
WARMUP, DRAWS, PROPOSED = 500, 1000, 1000


def evidences(number: int, observed: np.ndarray, key: jax.Array, move_counts: float) -> list[bridge_sampling.Estimate]:
    """The log evidence of so many states, for each series; compiled once for all of them."""
    model = partial(three_state.model, num_states=number, num_obs=RIGHT, move_counts=move_counts)
    reading = read(model, {"observations": observed[0]})
    space, names = coordinates(reading), relabelling(reading)
    flatten = jax.jit(jax.vmap(jax.vmap(space.unconstrain)))
    ratios = jax.jit(
        lambda data, components, points: bridge_sampling.log_ratios(
            coordinates(reading.on(data)), components, points, names
        )
    )
    found = []
    key_chains, key_bridge = jax.random.split(key)
    for i, (data, draws) in enumerate(sampled(model, observed, key_chains, num_warmup=WARMUP, num_samples=DRAWS)):
        z = np.asarray(flatten(draws))
        fit, used = z[:, : DRAWS // 2].reshape(-1, space.size), z[:, DRAWS // 2 :: 2]
        key_fit, key_draw = jax.random.split(jax.random.fold_in(key_bridge, i))
        components = bridge_sampling.proposal(space, fit, key_fit, names)
        proposed = np.asarray(ratios(data, components, bridge_sampling.drawn_from(components, key_draw, PROPOSED)))
        posterior = np.asarray(ratios(data, components, used.reshape(-1, space.size)))
        found.append(bridge_sampling.bridged(posterior.reshape(used.shape[:2]), proposed))
    return found


def winner(found: list[bridge_sampling.Estimate]) -> str:
    """The number of states of the largest evidence, or "cannot tell", by the rule of the table."""
    values = np.array([each.log_evidence for each in found])
    best, second = np.argsort(-values)[:2]
    error = np.hypot(found[best].error, found[second].error)
    return str(best + 1) if values[best] - values[second] > max(TELLS * error, BARELY) else "cannot tell"


def main(sets: int = 100, move_counts: float = 4.0, *, seed: int = 0) -> dict[str, Any]:
    """Measure; returns what was found, and writes it."""
    key_data, key = jax.random.split(jax.random.key(seed))
    observed = series(RIGHT, sets, STEPS, key_data)
    found = {}
    for number in range(1, MOST + 1):
        found[number] = evidences(number, observed, jax.random.fold_in(key, number), move_counts)
        Console(stderr=True).print(f"{number} states: done")
    of = np.array([[each.log_evidence for each in row] for row in found.values()])
    told = {
        "sets": sets, "steps": STEPS, "move counts": move_counts,
        "winners": dict(Counter(winner(list(each)) for each in zip(*found.values(), strict=True))),
        "3 minus 2, least": float((of[2] - of[1]).min()),
        "3 minus 4, least, mean, most": [float(f(of[2] - of[3])) for f in (np.min, np.mean, np.max)],
        "largest error": float(max(each.error for row in found.values() for each in row)),
        "evidence": {number: [each._asdict() for each in row] for number, row in found.items()},
    }  # fmt: skip
    path = Path("out") / f"number_study_{move_counts:g}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(told, indent=1))
    Console().print({name: value for name, value in told.items() if name != "evidence"})
    return told


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure how often the evidence finds the right number of states.")
    parser.add_argument("--sets", type=int, default=100)
    parser.add_argument("--move-counts", type=float, default=4.0)
    main(**vars(parser.parse_args()))
