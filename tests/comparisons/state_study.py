"""Are the states found, named, and counted?  Measured on a hundred simulated series of separated states.

For each data set the blocked Gibbs sampler runs four chains from prior draws of an exchangeable program (`three_state`) with 1, 2,
... states. Alignment: of the chains of the right number of states every one is then given a random order of its states on top of
the one that it found itself; after relabelling R-hat is to be below 1.01, the planted order is to be undone, and the rows of O are
to be in the order of the truth where that is the reference. Choice: the evidence by bridge sampling says how many states there are.

    python -m tests.comparisons.state_study [--sets 100] [--states 3]    writes out/state_study_<states>.json
"""

import argparse
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from ppl_worldmodel import simulate
from ppl_worldmodel.comparisons import bridge
from ppl_worldmodel.comparisons.aligned import worst_rhat
from ppl_worldmodel.comparisons.alignment import CLEAR, align, relabelled
from ppl_worldmodel.comparisons.difference import TELLS
from ppl_worldmodel.comparisons.ranking import BARELY
from ppl_worldmodel.comparisons.relabelling import relabelling
from ppl_worldmodel.exact import finite
from ppl_worldmodel.infer.blocked import chain, conjugate_families
from ppl_worldmodel.models import three_state
from ppl_worldmodel.program.coordinates import coordinates
from ppl_worldmodel.program.read import examine, system_at

CHAINS, WARMUP, DRAWS, AT_ONCE = 4, 500, 1000, 10


def truth(states: int) -> dict[str, np.ndarray]:
    """Sticky states, each of which shows its own symbol four times in five."""
    T = 0.9 * np.eye(states) + 0.1 / (states - 1) * (1 - np.eye(states))
    O = 0.8 * np.eye(states) + 0.2 / (states - 1) * (1 - np.eye(states))
    return {"T": T, "O": O}


class Fitted:
    """The programs of so many states, compiled once for all data sets of a length."""

    def __init__(self, states: int, symbols: int, example: dict[str, Any]):
        self.model = model = partial(three_state.model, num_states=states, num_obs=symbols)
        system, plan = examine(model, example)
        self.space = coordinates(model, example, plan)
        self.names = relabelling(model, example, system, plan, self.space)
        run = chain(model, plan, conjugate_families(model, example, system, plan), num_warmup=WARMUP, num_samples=DRAWS)
        self.sample = jax.jit(jax.vmap(lambda data, keys: jax.vmap(lambda key: run(data, key)[0])(keys)))
        smoothed = lambda data, values: finite.smooth(system_at(model, data, values, plan)).smoothed  # noqa: E731
        self.occupied = jax.jit(
            lambda data, draws: jax.lax.map(lambda each: smoothed(data, each), draws, batch_size=100)
        )
        self.ratios = jax.jit(
            lambda data, components, points: bridge.log_ratios(
                coordinates(model, data, plan), components, points, self.names
            )
        )
        self.flatten = jax.jit(jax.vmap(jax.vmap(self.space.unconstrain)))

    def evidence(self, data: dict[str, Any], draws: dict[str, np.ndarray], key: jax.Array) -> bridge.Estimate:
        z = np.asarray(self.flatten(draws))
        fit, used = z[:, : DRAWS // 2].reshape(-1, self.space.size), z[:, DRAWS // 2 :: 2]
        key_fit, key_draw = jax.random.split(key)
        components = bridge.proposal(self.space, fit, key_fit, self.names)
        proposed = bridge.drawn_from(components, key_draw, 1000)
        posterior = np.asarray(self.ratios(data, components, used.reshape(-1, self.space.size)))
        return bridge.bridged(posterior.reshape(used.shape[:2]), np.asarray(self.ratios(data, components, proposed)))


def named(
    fitted: Fitted, data: dict[str, Any], draws: dict[str, np.ndarray], right: dict[str, np.ndarray], seed: int
) -> dict:
    """What relabelling makes of chains whose states were given random orders."""
    rng = np.random.default_rng(seed)
    states = right["T"].shape[0]
    thin = {name: values[:, ::2] for name, values in draws.items()}
    shape = thin["T"].shape[:2]
    planted = np.stack([rng.permutation(states) for _ in range(CHAINS)])
    order = np.broadcast_to(planted[:, None], (*shape, states))
    mixed = {name: relabelled(thin[name], order, axes) for name, axes in fitted.names.axes.items()}
    flat = {name: jnp.asarray(values.reshape(-1, *values.shape[2:])) for name, values in mixed.items()}
    occupied = np.asarray(fitted.occupied(data, flat)).reshape(*shape, -1, states)
    reference = np.asarray(fitted.occupied(data, {name: jnp.asarray(v)[None] for name, v in right.items()}))[0]
    told, alone = align(occupied, reference), align(occupied)
    after = {name: relabelled(mixed[name], told.order, axes) for name, axes in fitted.names.axes.items()}
    own = {name: relabelled(mixed[name], alone.order, axes) for name, axes in fitted.names.axes.items()}
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


def winner(found: list[bridge.Estimate]) -> str:
    """The number of states of the largest evidence, or "cannot tell", by the rule of the table."""
    values = np.array([each.log_evidence for each in found])
    best, second = np.argsort(-values)[:2]
    error = np.hypot(found[best].error, found[second].error)
    return str(best + 1) if values[best] - values[second] > max(TELLS * error, BARELY) else "cannot tell"


def main(sets: int = 100, states: int = 3, steps: int = 1000, *, seed: int = 0, choose: bool = True) -> dict[str, Any]:
    """Measure; returns what was found, and writes it."""
    right, symbols = truth(states), states
    key_data, key_chains, key_bridge = jax.random.split(jax.random.key(seed), 3)
    simulated = partial(three_state.model, num_states=states, num_obs=symbols)
    run = jax.jit(jax.vmap(lambda key: simulate(simulated, right, key, num_steps=steps)["observation"]))
    series = np.asarray(run(jax.random.split(key_data, sets)))
    numbers = range(1, states + 2) if choose else [states]
    evidences: dict[int, list[bridge.Estimate]] = {}
    aligned: list[dict] = []
    for number in numbers:
        fitted = Fitted(number, symbols, {"observations": series[0]})
        evidences[number] = []
        for first in range(0, sets, AT_ONCE):
            some = series[first : first + AT_ONCE]
            keys = jax.vmap(lambda key: jax.random.split(key, CHAINS))(
                jax.random.split(jax.random.fold_in(key_chains, first), len(some))
            )
            draws = {name: np.asarray(v) for name, v in fitted.sample({"observations": some}, keys).items()}
            for i in range(len(some)):
                data, own = {"observations": some[i]}, {name: values[i] for name, values in draws.items()}
                if choose:
                    evidences[number].append(fitted.evidence(data, own, jax.random.fold_in(key_bridge, first + i)))
                if number == states:
                    aligned.append(named(fitted, data, own, right, seed=first + i))
            Console(stderr=True).print(f"{number} states: {first + len(some)} data sets")
    found = {
        "sets": sets, "states": states, "steps": steps, "aligned": aligned,
        "evidence": {number: [each._asdict() for each in each_of] for number, each_of in evidences.items()},
        "rhat after below 1.01": sum(each["rhat after"] < 1.01 for each in aligned),
        "rhat alone below 1.01": sum(each["rhat alone"] < 1.01 for each in aligned),
        "as the truth": sum(each["as the truth"] for each in aligned),
        "chains agree": sum(each["chains agree"] for each in aligned),
        "largest rhat after": max(each["rhat after"] for each in aligned),
        "smallest rhat before": min(each["rhat before"] for each in aligned),
        "winners": dict(Counter(winner(list(each)) for each in zip(*evidences.values(), strict=True))) if choose else {},
    }  # fmt: skip
    path = Path("out") / f"state_study_{states}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=1))
    Console().print({name: value for name, value in found.items() if name not in ("aligned", "evidence")})
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure how often states are found, named and counted rightly.")
    parser.add_argument("--sets", type=int, default=100)
    parser.add_argument("--states", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--only-names", action="store_true", help="leave out the choice of the number of states")
    chosen = parser.parse_args()
    main(chosen.sets, chosen.states, chosen.steps, choose=not chosen.only_names)
