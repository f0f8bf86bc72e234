"""The main job: one model, one data set, several engines, every check; everything in one DataTree that can be saved.

engines/<name>   the result of each engine, as ArviZ has it
checks           the findings, dimension `row`
Attributes: name, mode ("known" or "learned"), source, about, data_from, parameters_from, coords, seed, command, created, versions,
commit, seconds. `report` draws the page from such a tree alone.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr

from ppl_worldmodel.checks.check import as_dataset, check
from ppl_worldmodel.errors import DataError, WorldModelError
from ppl_worldmodel.exact import FiniteState
from ppl_worldmodel.infer.exact import exact_engine
from ppl_worldmodel.infer.gibbs import gibbs
from ppl_worldmodel.infer.nuts import nuts
from ppl_worldmodel.infer.svi import svi
from ppl_worldmodel.program.load import Loaded
from ppl_worldmodel.program.read import read
from ppl_worldmodel.provenance import provenance

ENGINES = ("exact", "nuts", "svi", "svi_full_rank", "gibbs")


def run(
    loaded: Loaded,
    data: Mapping[str, Any],
    *,
    data_from: str = "given by the caller",
    simulated: bool = False,
    known: bool = False,
    parameters: Mapping[str, Any] | None = None,
    engines: Sequence[str] = (),
    seed: int = 0,
    fast: bool = False,
    progress: bool = False,
    say: Callable[[str], None] = lambda line: None,
    command: str = "",
) -> xr.DataTree:
    """Run the engines on one model and data set, check them against each other, and return everything.

    known       False: the parameters are learned, and NUTS is the reference of SVI; True: they are given (by `parameters`, else
                the model's `truth`, else the posterior mean of a NUTS run), and the exact recursion is the reference
    simulated   the data come from the model's `truth`, so that learned parameters can be checked against it
    engines     names out of ENGINES; none: those that apply
    fast        a tenth of the draws: to see that it runs, not to decide anything
    """
    started = time.perf_counter()
    structure = read(loaded.model, data)
    say(repr(structure))
    finite = isinstance(structure, FiniteState)
    chosen = _chosen(engines, known, finite)
    keys = dict(zip(ENGINES, jax.random.split(jax.random.key(seed), len(ENGINES)), strict=True))
    size = _Sizes(fast)
    given, parameters_from = _given(loaded, data, known, parameters, size, keys["nuts"], progress, say)
    makers: dict[str, Callable] = {
        "exact": lambda: exact_engine(parameters=given),
        "gibbs": lambda: gibbs(
            parameters=given or {}, num_samples=size(10_000), num_warmup=size(500), prefixes=5, progress=progress
        ),
        "nuts": lambda: nuts(
            parameters=given,
            num_warmup=size(500),
            num_samples=size(1000),
            prefixes=3 if known else 0,
            progress=progress,
        ),
        "svi": lambda: svi(parameters=given, num_steps=size(5000), progress=progress),
        "svi_full_rank": lambda: svi(guide="full_rank", parameters=given, num_steps=size(5000), progress=progress),
    }
    results: dict[str, xr.DataTree] = {}
    for name in chosen:
        say(f"{name} ...")
        results[name] = makers[name]()(loaded.model, data, keys[name])
        say(f"{name}: {results[name].attrs['algorithm']}, {results[name].attrs['seconds']:.1f} s")
    if not known and "exact" in ENGINES and (not engines or "exact" in engines):
        centre, parameters_from = _centre(loaded, results, simulated)
        if centre is not None:
            results = {"exact": exact_engine(parameters=centre)(loaded.model, data, keys["exact"])} | results
    reference = "exact" if known else "nuts"
    truth = loaded.truth if simulated and not known else None
    findings = [
        finding
        for name, result in results.items()
        if name != "exact"
        for finding in check(result, against=results.get(reference) if name != reference else None, truth=truth)
    ]
    tree = xr.DataTree.from_dict({"checks": as_dataset(tuple(findings))})
    for name, result in results.items():
        tree[f"engines/{name}"] = _labelled(result, loaded.coords, loaded.units)
    tree.attrs = {
        "name": loaded.name,
        "mode": "known" if known else "learned",
        "source": loaded.source,
        "about": loaded.about,
        "structure": repr(structure),
        "data_from": data_from,
        "parameters_from": parameters_from,
        "truth": json.dumps({name: np.asarray(value).tolist() for name, value in (truth or {}).items()}),
        "coords": json.dumps(loaded.coords),
        "seed": seed,
        "fast": int(fast),
        "command": command,
        "dtype": str(jax.numpy.zeros(()).dtype),
        "seconds": time.perf_counter() - started,
        **provenance(),
    }
    return tree


class _Sizes:
    """Numbers of draws and steps, a tenth of them in a fast run."""

    def __init__(self, fast: bool):
        self.fast = fast

    def __call__(self, number: int) -> int:
        return number // 10 if self.fast else number


def _chosen(engines: Sequence[str], known: bool, finite: bool) -> list[str]:
    """The engines that can answer, in order; a wrong or inapplicable name is refused."""
    answers = {
        (False, True): ["nuts", "svi", "svi_full_rank"],
        (False, False): ["nuts", "svi", "svi_full_rank"],
        (True, True): ["exact", "gibbs"],
        (True, False): ["exact", "nuts", "svi", "svi_full_rank"],
    }[known, finite]
    for name in engines:
        if name not in ENGINES:
            raise WorldModelError(f"there is no engine '{name}': choose from {', '.join(ENGINES)}")
        if name not in answers and name != "exact":
            state = "a finite state" if finite else "a continuous state"
            question = "at known parameters" if known else "when parameters are learned"
            raise WorldModelError(
                f"the engine '{name}' does not answer about {state} {question}: choose from exact, {', '.join(answers)}"
            )
    return [name for name in answers if not engines or name in engines]


def _given(loaded, data, known, parameters, size, key, progress, say) -> tuple[dict[str, np.ndarray] | None, str]:
    """The parameters of a known run and where they come from; (None, ...) when they are to be learned."""
    if not known:
        if parameters:
            raise DataError("parameters are given, but are to be learned: add --known to ask at these values")
        return None, "learned"
    if parameters:
        return {name: np.asarray(value) for name, value in parameters.items()}, "given by the caller"
    if loaded.truth is not None:
        return loaded.truth, f"the truth of the model '{loaded.name}'"
    say("no truth is known: learning the posterior mean with nuts first ...")
    learned = nuts(num_warmup=size(500), num_samples=size(1000), progress=progress)(loaded.model, data, key)
    means = learned["posterior"].to_dataset().mean(("chain", "draw"))
    return {
        str(name): values.values for name, values in means.data_vars.items()
    }, "the posterior mean of a NUTS run on these data"


def _centre(loaded: Loaded, results: Mapping[str, xr.DataTree], simulated: bool) -> tuple[dict | None, str]:
    """Where the exact beliefs of a learned run are drawn, for the eye only: at the truth, else at the posterior mean."""
    if simulated and loaded.truth is not None:
        return loaded.truth, "the truth of the simulation"
    if "nuts" not in results:
        return None, "learned"
    means = results["nuts"]["posterior"].to_dataset().mean(("chain", "draw"))
    return {str(name): values.values for name, values in means.data_vars.items()}, "the posterior mean of NUTS"


def _labelled(result: xr.DataTree, coords: Mapping[str, Sequence], units: Mapping[str, str]) -> xr.DataTree:
    """The result with the model file's labels on every dimension that they fit, and its units."""
    labelled = result.copy()
    for group in labelled.subtree:
        fit = {name: list(labels) for name, labels in coords.items() if group.sizes.get(name) == len(labels)}
        if "dim_bis" in group.sizes and "dim" in fit:
            fit["dim_bis"] = fit["dim"]
        dataset = group.to_dataset().assign_coords(fit)
        for name in set(units) & {str(name) for name in [*dataset.data_vars, *fit]}:
            dataset[name].attrs["units"] = units[name]
        labelled[group.path].dataset = dataset
    return labelled
