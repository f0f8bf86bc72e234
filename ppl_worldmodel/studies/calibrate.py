"""Simulation-based calibration of an engine: posteriors of hundreds of simulated data sets, side by side.

See `checks.calibration` for the idea. The data sets are shared among the cores, and each core runs its own in one vectorised run.
"""

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from ppl_worldmodel import memory
from ppl_worldmodel.checks import calibration
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.infer.engine_spec import Lengths, engines
from ppl_worldmodel.labels.relabelling import permuted, relabelling
from ppl_worldmodel.program.arguments import random_key
from ppl_worldmodel.program.reading import Reading, read
from ppl_worldmodel.program.replay import replay
from ppl_worldmodel.program.simulate import as_data, simulate
from ppl_worldmodel.program.site_names import with_dotted_sites
from ppl_worldmodel.program.system import log_evidence
from ppl_worldmodel.provenance import provenance

BATCH = 5_000_000  # numbers of all draws of the states of so many data sets: more would be a long silence


def calibrate(
    model: Callable,
    *,
    engine: str = "nuts",
    replications: int = 200,
    num_warmup: int = 300,
    num_samples: int = 500,
    key: int | jax.Array = 0,
    fitted: Callable | None = None,
    arguments: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> xr.Dataset:
    """Ranks of the true parameters, states and log likelihoods among the draws of an engine, over simulated data sets.

    engine     "gibbs" or "nuts"
    arguments  what the program takes besides the data, such as num_steps
    fitted     another program to fit to the same data (to see whether calibration would notice a fault in it); the log
               likelihood that is ranked stays that of `model`, so that data which the other one ignores are missed

    say        is told how far it is, where that takes a while

    Returns `rank` (quantity, replication), fractions in (0, 1), `p` (quantity,), p-values of their uniformity, and `covered`
    (quantity,), of how many replications the central 90 % interval holds the truth; the joint verdict is in the attributes.
    """
    chain = samplers().get(engine)
    if chain is None:
        raise DataError(f"there is no engine '{engine}' to calibrate: choose from {', '.join(samplers())}")
    started = time.perf_counter()
    model, fitted = with_dotted_sites(model), with_dotted_sites(fitted) if fitted else None
    given = dict(arguments or {})
    key_truth, key_chains = jax.random.split(random_key(key))
    keys = jax.random.split(key_truth, replications)
    runs = jax.jit(jax.vmap(lambda key: simulate(model, None, key, **given)))(keys)
    settings = {name: value for name, value in given.items() if name != "num_steps"}
    first = {name: value[0] for name, value in runs.items()}
    example = as_data(model, first, settings)
    site_of = {
        name: next(site for site in first if first[site] is value)
        for name, value in example.items()
        if name not in given
    }
    reading = read(fitted or model, example)
    right = read(model, example) if fitted else reading
    names = list(right.parameters)
    if not names:
        raise DataError("the program has no parameters: there is no prior to calibrate over")
    sample = chain(reading, Lengths(num_warmup, num_samples))
    names_of_states = relabelling(reading)

    def renamed(draws: dict[str, Array], paths: Array, key: Array) -> tuple[dict[str, Array], Array]:
        """Where names mean nothing, every draw gets random ones, which leaves the posterior as it is and lets no chain keep to
        some of them (the random permutation sampler of Fruhwirth-Schnatter 2001, J. American Statistical Association 96).
        """
        if names_of_states is None or not names_of_states.exchangeable:
            return draws, paths
        orders = jax.vmap(lambda key: jax.random.permutation(key, names_of_states.num_states))(
            jax.random.split(key, len(paths))
        )
        moved = jax.vmap(lambda each, order: permuted(each, names_of_states.axes, order))(draws, orders)
        return moved, jax.vmap(lambda path, order: jnp.argsort(order)[path])(paths, orders)

    def one(run: dict[str, Array], key: Array) -> tuple[dict[str, Array], dict[str, Array]]:
        data = settings | {name: run[site] for name, site in site_of.items()}
        truth = {name: run[name] for name in names}
        here = right.on(data)
        states = replay(here, truth, run)
        draws, paths = sample(data, key)
        draws, paths = renamed(draws, paths, jax.random.fold_in(key, 1))
        of = jax.vmap(lambda each, path: quantities(here, each, path))
        return quantities(here, truth, states), of({name: draws[name] for name in names}, paths)

    compiled = jax.jit(jax.vmap(one))
    cores = min(os.cpu_count() or 1, replications)
    size = side_by_side(replications, cores, num_samples, reading.exact.entries)
    # All batches are of one size, so that one compiled run does for all: the last one begins again at the first data set.
    shares = [np.arange(at, at + size) % replications for at in range(0, replications, size)]
    chain_keys = jax.random.split(key_chains, replications)

    def run(share: np.ndarray) -> Any:
        return jax.tree.map(
            np.asarray, compiled({name: values[share] for name, values in runs.items()}, chain_keys[share])
        )

    parts, begun = [], time.perf_counter()
    with ThreadPoolExecutor(cores) as pool:
        for part in pool.map(run, shares):
            parts.append(part)
            done = min(len(parts) * size, replications)
            left = (time.perf_counter() - begun) / done * (replications - done)
            if done < replications:
                say(f"{engine}: {done} of {replications} data sets, about {left:.0f} s left")
    truth, draws = ({n: np.concatenate([p[i][n] for p in parts])[:replications] for n in parts[0][i]} for i in (0, 1))
    return _ranked(engine, truth, draws, random_key(key), seconds=time.perf_counter() - started, num_warmup=num_warmup)


def samplers() -> dict[str, Callable]:
    """{name: its vectorised chain} of the engines that can be calibrated."""
    return {name: spec.chain for name, spec in engines().items() if spec.chain is not None}


def side_by_side(replications: int, cores: int, num_samples: int, entries: int) -> int:
    """How many data sets each core takes at a time: all of its share if they are short, else as many as memory and progress want.

    entries  numbers in the states of one series
    """
    each = num_samples * entries
    room = memory.limit() // (cores * each * memory.PER_DRAW)
    if room < 1:
        raise DataError(
            f"one data set's chain needs about {memory.words(each * memory.PER_DRAW)}, more than its share of "
            f"{memory.words(memory.limit())}: give --max-memory, fewer --draws or --steps"
        )
    return int(max(1, min(-(-replications // cores), room, BATCH // each)))


def quantities(reading: Reading, parameters: Mapping[str, Array], states: Array) -> dict[str, Array]:
    """The test quantities, each one number: every entry of the parameters, some states, and the log likelihood."""
    system = reading.at(parameters)
    found: dict[str, Array] = {}
    for name, value in parameters.items():
        for index in np.ndindex(*jnp.shape(value)):
            found[f"{name}{list(index) if index else ''}"] = value[index]
    series = states[0] if system.structure.sequences else states
    length = series.shape[0]
    for t in sorted({0, length // 2, length - 1}):
        found[f"state[{t}]"] = (series[t] if series.ndim == 1 else series[t, 0]).astype(float)
    each = states if system.num_states is None else states == 0
    found["mean state" if system.num_states is None else "time in state 0"] = each.astype(float).mean()
    found["log likelihood"] = log_evidence(system).sum()
    return found


def _ranked(
    engine: str, truth: dict[str, np.ndarray], draws: dict[str, np.ndarray], key: Array, **said: float | int
) -> xr.Dataset:
    # What is given, such as the first state of a machine that starts as new, is no test.
    names = [name for name in truth if np.ptp(truth[name]) or np.ptp(draws[name])]
    true, drawn = np.stack([truth[name] for name in names]), np.stack([draws[name] for name in names])
    step = calibration.thinning(drawn)
    thinned = drawn[..., step - 1 :: step]
    ranks = calibration.fractional_ranks(true, thinned, np.asarray(jax.random.key_data(key)))
    p_values = calibration.uniformity(ranks)
    replications, kept = true.shape[1], thinned.shape[-1]
    row = calibration.finding(engine, names, p_values, replications=replications, kept=kept)
    return xr.Dataset(
        {
            "rank": (("quantity", "replication"), ranks),
            "p": ("quantity", p_values),
            "covered": ("quantity", (np.abs(ranks - 0.5) <= 0.45).sum(axis=1)),
        },
        coords={"quantity": names},
        attrs={
            "engine": engine, "replications": replications, "ranks_among": kept, "thinned_by": step, "joint_p": row.p,
            "verdict": row.verdict, "why": row.why, **said, **provenance(),
        },
    )  # fmt: skip
