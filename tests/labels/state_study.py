"""Are the states found, and do they get their names back?  Measured on a hundred simulated series of separated states.

For each data set the blocked Gibbs sampler runs four chains from prior draws of an exchangeable program (`three_state`). Each chain
is then given a random order of its states on top of the one that it found itself; after relabelling R-hat is to be below 1.01, the
planted order is to be undone, and the rows of O are to be in the order of the truth where that is the reference. How many states
there are is the question of `number_study`.

    python -m tests.comparisons.state_study [--sets 100] [--states 3] [--steps 1000]    writes out/state_study_<states>.json
"""

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from ppl_worldmodel import simulate
from ppl_worldmodel.exact import finite
from ppl_worldmodel.infer.blocked_gibbs import chain, conjugate_families
from ppl_worldmodel.labels.aligned_results import worst_rhat
from ppl_worldmodel.labels.alignment import CLEAR, align, relabelled
from ppl_worldmodel.labels.relabelling import Relabelling, relabelling
from ppl_worldmodel.models import three_state
from ppl_worldmodel.program.reading import read

CHAINS, WARMUP, AT_ONCE = 4, 500, 10
DRAWS, SWEEPS = 1000, 4  # a draw is kept after so many sweeps


def truth(states: int) -> dict[str, np.ndarray]:
    """Sticky states, each of which shows its own symbol four times in five."""
    T = 0.9 * np.eye(states) + 0.1 / (states - 1) * (1 - np.eye(states))
    O = 0.8 * np.eye(states) + 0.2 / (states - 1) * (1 - np.eye(states))
    return {"T": T, "O": O}


def series(states: int, sets: int, steps: int, key: jax.Array) -> np.ndarray:
    """Simulated series (set, time)."""
    program = partial(three_state.model, num_states=states, num_obs=states)
    run = jax.jit(jax.vmap(lambda key: simulate(program, truth(states), key, num_steps=steps)["observation"]))
    return np.asarray(run(jax.random.split(key, sets)))


def sampled(
    model: Callable, observed: np.ndarray, key: jax.Array, **lengths: int
) -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """Each series as data of the program, and draws (chain, draw, ...) of its posterior by the blocked Gibbs sampler."""
    reading = read(model, {"observations": observed[0]})
    run = chain(reading, conjugate_families(reading), **lengths)
    chains = jax.jit(jax.vmap(lambda data, keys: jax.vmap(lambda key: run(data, key)[0])(keys)))
    for first in range(0, len(observed), AT_ONCE):
        some = observed[first : first + AT_ONCE]
        keys = jax.random.split(jax.random.fold_in(key, first), (len(some), CHAINS))
        draws = {name: np.asarray(values) for name, values in chains({"observations": some}, keys).items()}
        for i, each in enumerate(some):
            yield {"observations": each}, {name: values[i] for name, values in draws.items()}
        Console(stderr=True).print(f"{first + len(some)} data sets")


def named(
    names: Relabelling, occupied: Callable, draws: dict[str, np.ndarray], right: dict[str, np.ndarray], seed: int
) -> dict:
    """What relabelling makes of chains whose states were given random orders.

    occupied  {parameter: (draw, ...)} -> p(state) at each time step (draw, time, state)
    """
    rng = np.random.default_rng(seed)
    states, shape = names.num_states, draws["T"].shape[:2]
    planted = np.stack([rng.permutation(states) for _ in range(CHAINS)])
    order = np.broadcast_to(planted[:, None], (*shape, states))
    mixed = {name: relabelled(draws[name], order, axes) for name, axes in names.axes.items()}
    flat = {name: jnp.asarray(values.reshape(-1, *values.shape[2:])) for name, values in mixed.items()}
    beliefs = np.asarray(occupied(flat)).reshape(*shape, -1, states)
    reference = np.asarray(occupied({name: jnp.asarray(v)[None] for name, v in right.items()}))[0]
    told, alone = align(beliefs, reference), align(beliefs)
    after = {name: relabelled(mixed[name], told.order, axes) for name, axes in names.axes.items()}
    own = {name: relabelled(mixed[name], alone.order, axes) for name, axes in names.axes.items()}
    means = after["O"].mean(axis=(0, 1))
    # Without a reference the names are those of any draw: all chains are to have the same.
    nearest = [
        np.abs(each.mean(axis=0)[:, None] - right["O"][None]).sum(axis=-1).argmin(axis=1).tolist() for each in own["O"]
    ]
    return {
        "labellings": len({tuple(chain[0]) for chain in told.order}),
        "rhat before": worst_rhat(mixed), "rhat after": worst_rhat(after), "rhat alone": worst_rhat(own),
        "as the truth": bool((np.abs(means[:, None] - right["O"][None]).sum(axis=-1).argmin(axis=1) == np.arange(states)).all()),
        "chains agree": all(sorted(each) == list(range(states)) and each == nearest[0] for each in nearest),
        "unclear": float((told.margin < CLEAR).mean()),
    }  # fmt: skip


def main(sets: int = 100, states: int = 3, steps: int = 1000, *, seed: int = 0) -> dict[str, Any]:
    """Measure; returns what was found, and writes it."""
    key_data, key_chains = jax.random.split(jax.random.key(seed))
    observed, right = series(states, sets, steps, key_data), truth(states)
    model = partial(three_state.model, num_states=states, num_obs=states)
    reading = read(model, {"observations": observed[0]})
    names = relabelling(reading)
    assert names is not None

    @jax.jit
    def occupied(data: dict[str, Any], draws: dict[str, Any]) -> jax.Array:
        at = lambda each: finite.smooth(reading.on(data).at(each)).smoothed  # noqa: E731
        return jax.lax.map(at, draws, batch_size=100)

    lengths = {"num_warmup": WARMUP, "num_samples": DRAWS, "thin": SWEEPS}
    aligned = [
        named(names, partial(occupied, data), draws, right, seed=i)
        for i, (data, draws) in enumerate(sampled(model, observed, key_chains, **lengths))
    ]
    found = {
        "sets": sets, "states": states, "steps": steps, "draws": DRAWS, "sweeps for each": SWEEPS, "aligned": aligned,
        "rhat after below 1.01": sum(each["rhat after"] < 1.01 for each in aligned),
        "rhat alone below 1.01": sum(each["rhat alone"] < 1.01 for each in aligned),
        "as the truth": sum(each["as the truth"] for each in aligned),
        "chains agree": sum(each["chains agree"] for each in aligned),
        "largest rhat after": max(each["rhat after"] for each in aligned),
        "smallest rhat before": min(each["rhat before"] for each in aligned),
        "fewest labellings": min(each["labellings"] for each in aligned),
    }  # fmt: skip
    path = Path("out") / f"state_study_{states}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=1))
    Console().print({name: value for name, value in found.items() if name != "aligned"})
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure how often states are found and named rightly.")
    parser.add_argument("--sets", type=int, default=100)
    parser.add_argument("--states", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000)
    main(**vars(parser.parse_args()))
