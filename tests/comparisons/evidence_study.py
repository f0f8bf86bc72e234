"""Do two independent methods agree about the evidence, and with the exact value where there is one?  Ten pairs of model and data.

Bridge sampling (of the draws of gibbs or nuts) and SMC over the data (tempered by the data, its own moves) share the density of the
program and nothing else. The exact value: the sum over all paths of conjugate counts (`tests/references/mixtures`), for short
series. A conjugate Markov chain (every state shows itself) and given parameters have tests of their own.

    python -m tests.comparisons.evidence_study [PART OF A NAME ...] [--seeds 1]    writes out/evidence_study.json
"""

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from ppl_worldmodel.comparisons.bridge_sampling import bridge
from ppl_worldmodel.comparisons.data_annealing import anneal
from ppl_worldmodel.comparisons.fit import fit
from ppl_worldmodel.files.load import default_data, load
from ppl_worldmodel.models import (
    damped_oscillator,
    earthquakes,
    left_to_right,
    nile,
    old_faithful,
    three_state,
    two_state_pomdp,
)
from ppl_worldmodel.program.reading import read

from ..references import mixtures

SYMBOLS, COUNTS = np.array([0, 0, 1, 0, 1, 1, 1, 0, 1, 1]), np.array([13, 14, 8, 30, 27, 19, 22])
TRITS = np.array([0, 0, 0, 1, 1, 2, 2, 2])


def simulated(name: str, steps: int | None = None) -> dict[str, Any]:
    """What the shipped model is given by default, simulated at its truth."""
    return default_data(load(name), 4, steps)[0]


def exact_pairs() -> dict[str, float]:
    """The log evidence of the short series."""
    mean, thirds, dirichlet = 40.0 * np.arange(1, 4) / 4.0, np.full(3, 1 / 3), mixtures.Dirichlet
    rates, sticky = mixtures.Gamma((mean / 3.0) ** 2, mean / 9.0), dirichlet(1.0 + 7.0 * np.eye(3))
    T, O = dirichlet(np.array([[8.0, 2.0], [2.0, 8.0]])), dirichlet(np.array([[12.0, 4.0], [4.0, 12.0]]))
    found = {
        "two_state, 10 symbols": mixtures.mixture(SYMBOLS, initial=[0.5, 0.5], T=T, O=O),
        "three_state, 8 symbols": mixtures.mixture(TRITS, initial=thirds, T=sticky, O=dirichlet(np.ones((3, 3)))),
        "earthquakes, 7 years": mixtures.mixture(COUNTS, initial=thirds, T=sticky, O=rates),
    }
    return {name: each.log_evidence for name, each in found.items()}


def pairs() -> dict[str, tuple[Callable, dict[str, Any]]]:
    return {
        "two_state, 10 symbols": (two_state_pomdp.model, {"observations": SYMBOLS}),
        "three_state, 8 symbols": (three_state.model, {"observations": TRITS}),
        "earthquakes, 7 years": (earthquakes.model, {"observations": COUNTS}),
        "earthquakes, 2 states": (partial(earthquakes.model, num_states=2), earthquakes.data()),
        "earthquakes, 3 states": (earthquakes.model, earthquakes.data()),
        "old_faithful, 2 states": (partial(old_faithful.model, num_states=2), old_faithful.data()),
        "three_state, 100 symbols": (three_state.model, simulated("three_state", 100)),
        "left_to_right, 60 days": (left_to_right.model, simulated("left_to_right", 60)),
        "nile": (nile.model, nile.data()),
        "damped_oscillator": (damped_oscillator.model, simulated("damped_oscillator")),
    }


def main(names: Sequence[str] = (), seeds: int = 1) -> None:
    right, rows = exact_pairs(), []
    chosen = {name: pair for name, pair in pairs().items() if not names or any(part in name for part in names)}
    path = Path("out/evidence_study.json")
    path.parent.mkdir(exist_ok=True)
    for (name, (model, data)), seed in product(chosen.items(), range(seeds)):
        found = fit(read(model, data), jax.random.key(3 * seed))
        one = bridge(found.space, found.draws, jax.random.key(3 * seed + 1), names=found.exchanged)
        other = anneal(found.space, jax.random.key(3 * seed + 2), names=found.exchanged).estimate
        apart = (one.log_evidence - other.log_evidence) / np.hypot(one.error, other.error)
        row = {
            "pair": name, "seed": seed, "bridge": one.log_evidence, "error": one.error, "smc": other.log_evidence,
            "smc error": other.error, "z apart": apart, "exact": right.get(name),
        }  # fmt: skip
        if name in right:
            row["z bridge"] = (one.log_evidence - right[name]) / one.error
            row["z smc"] = (other.log_evidence - right[name]) / other.error
        rows.append(row)
        Console(width=200).print(row)
        path.write_text(json.dumps(rows, indent=1))
    for what in ("z apart", "z bridge", "z smc"):
        z = np.array([row[what] for row in rows if what in row])
        if z.size:
            Console().print(
                f"{what}: root mean square {np.sqrt(np.mean(z**2)):.2f}, largest {np.abs(z).max():.2f}, of {z.size}"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Compare evidence by bridge sampling, by SMC, and exact.")
    parser.add_argument("names", nargs="*", help="parts of the names of pairs; all if none is given")
    parser.add_argument("--seeds", type=int, default=1)
    main(**vars(parser.parse_args()))
