"""Model comparison on the same data: evidence, leave-future-out scores and weights, beside models that have no state.

The result is one DataTree. The group `scores` has a row for each model (dimension `model`); `pointwise` the scores of each time
step; `models/<name>` what each model learned, as its engine returned it; `without_names/<name>` its invariants, which do not depend
on names of states; `checks` whether the draws can be trusted (see `checks.check`). Attributes say which comparison can be decided.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from ppl_worldmodel.checks.check import as_dataset, from_dataset
from ppl_worldmodel.checks.failed import row
from ppl_worldmodel.checks.verdict import Finding
from ppl_worldmodel.comparisons.diagnostics import apart, doubts, trust, without_names
from ppl_worldmodel.comparisons.fit import Fit, fit
from ppl_worldmodel.comparisons.leave_future_out import check_first, default_first
from ppl_worldmodel.comparisons.ranking import Row, rows_of, verdicts
from ppl_worldmodel.comparisons.score import EVIDENCE, Score, score, terms_of
from ppl_worldmodel.comparisons.stateless_baselines import distribution_of, observed_series, stateless
from ppl_worldmodel.comparisons.table import as_text
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.infer.result_tree import Engine
from ppl_worldmodel.program.arguments import random_key
from ppl_worldmodel.program.reading import Reading, read
from ppl_worldmodel.program.site_names import with_dotted_names, with_dotted_sites
from ppl_worldmodel.provenance import provenance

Say = Callable[[str], None]


class Comparison(NamedTuple):
    """The result of a comparison: rows, the best first, and everything in one tree. Prints as a table."""

    rows: tuple[Row, ...]
    tree: xr.DataTree

    def __repr__(self) -> str:
        return as_text(self.tree)


def compare(
    models: Mapping[str, Callable],
    data: Mapping[str, Any],
    key: int | jax.Array = 0,
    *,
    engine: Engine | None = None,
    evidence: str = "bridge",
    first: int | None = None,
    horizon: int = 1,
    windows: bool = True,
    classic: bool = True,
    references: Mapping[str, Mapping[str, Any]] | None = None,
    fast: bool = False,
    say: Say = lambda line: None,
    ready: Callable[[str, xr.DataTree], None] = lambda name, result: None,
) -> Comparison:
    """Compare models of the same observations.

    models    {name: NumPyro program}
    data      the keyword arguments that they take; or, where they take different ones, {name: arguments} with an entry for each
    engine    learns the parameters; None: gibbs where they are conjugate, else nuts
    evidence  how it is estimated: "bridge", or "smc" over the data
    first     the first time step that is scored by leave-future-out (counted from 0); None: after a fifth of the series
    horizon   how many steps ahead the scores look
    windows   also models without a state: independent draws and windows of one and two steps of history
    classic   AIC, BIC, DIC and PSIS-LOO, too
    references  {name: parameter values} whose names of the states are taken, such as a simulation's truth
    fast      a tenth of the draws: to see that it runs, not to decide anything
    ready     is called with (name, result) as soon as a model has learned its parameters
    What fails for one model is a row of `checks` with its reason, and the others go on; if all fail, the first error is raised.
    Raises DataError if the models observe different data, or one gives them a probability and another a density;
    NotExactlySolvable for a program that is not read exactly.
    """
    if evidence not in EVIDENCE:
        raise DataError(f"there is no evidence '{evidence}': choose from {', '.join(EVIDENCE)}")
    started = time.perf_counter()
    _check_models(models)
    models = {name: with_dotted_sites(model) for name, model in models.items()}
    references = {name: with_dotted_names(values) for name, values in (references or {}).items()}
    each = _data_of(models, data)
    keys = jax.random.split(random_key(key), 2 * len(models) + 1)

    def size(number: int) -> int:
        return number // 10 if fast else number

    readings = {name: read(model, each[name]) for name, model in models.items()}
    _check_same(readings)
    failed: list[Finding] = []
    errors: list[Exception] = []

    def fails(what: str, error: Exception) -> None:
        errors.append(error)
        failed.append(row(what, error))
        say(f"{what} {failed[-1].why}")

    fits: dict[str, Fit] = {}
    for number, (name, reading) in enumerate(readings.items()):
        say(f"{name}: learning ...")
        try:
            fits[name] = fit(reading, keys[2 * number], engine=engine, size=size, reference=references.get(name))
        except Exception as error:
            fails(name, error)
            continue
        ready(name, fits[name].result)
    if not fits:
        raise errors[0]
    trusted = trust(fits)
    for line in doubts(trusted):
        say(line)
    steps = terms_of(next(iter(fits.values()))).shape[-1]
    start = default_first(steps) if first is None else first
    check_first(start, steps, horizon)
    scores: dict[str, Score] = {}
    for number, name in enumerate(models):
        if name not in fits:
            continue
        say(f"{name}: evidence and leave-future-out scores ...")
        try:
            scores[name] = score(
                fits[name],
                keys[2 * number + 1],
                first=start,
                horizon=horizon,
                evidence=evidence,
                classic=classic,
                size=size,
            )
        except Exception as error:
            fails(name, error)
            continue
        for what, problem in scores[name].failed.items():
            fails(f"{name}, {what}", problem)
    if not scores:
        raise errors[0]
    try:
        without, why = _windows(windows, fits, keys[-1])
    except Exception as error:  # such as a program that needs its observations to be simulated
        fails("models without a state", error)
        without, why = {}, f"models without a state {failed[-1].why}"
    if why:
        say(why)
    tree = rows_of(scores, without, start, horizon)
    for name, found in fits.items():
        tree[f"models/{name}"] = found.result
        if found.space.size:
            try:
                tree[f"without_names/{name}"] = xr.DataTree(without_names(found))
            except Exception as error:
                fails(f"{name}, invariants", error)
    told = _to_tell(tree, fits, keys[-1])
    tree["checks"] = xr.DataTree(as_dataset((*from_dataset(trusted), *failed)))
    tree.attrs = {
        "first": start, "horizon": horizon, "steps": steps, "fast": int(fast), "no_windows": why,
        "families": json.dumps({name: found.reading.family for name, found in fits.items()}),
        "structures": json.dumps({name: repr(found.reading) for name, found in fits.items()}),
        "to_tell": json.dumps(told),
        **verdicts(tree), "seconds": time.perf_counter() - started, **provenance(),
    }  # fmt: skip
    return Comparison(Row.all_of(tree), tree)


def _check_models(models: Any) -> None:
    """Raise DataError unless these are models by name."""
    if not isinstance(models, Mapping):
        raise DataError(
            f"compare was given a {type(models).__name__}: expected {{name: program}} with an entry for each model"
        )


def _data_of(models: Mapping[str, Callable], data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    if not models:
        raise DataError("there is no model to compare: give {name: program}")
    wrong = [name for name in models if not name or "/" in name]
    if wrong:
        raise DataError(f"a model cannot be called '{wrong[0]}': give a name without a slash")
    if set(data) == set(models) and all(isinstance(value, Mapping) for value in data.values()):
        return {name: dict(data[name]) for name in models}
    return {name: dict(data) for name in models}


def _check_same(readings: Mapping[str, Reading]) -> None:
    """Raise DataError unless all programs observe the same numbers, all with probabilities or all with densities."""
    seen: dict[str, list[np.ndarray]] = {}
    kinds: dict[str, list[tuple[str, str]]] = {}  # site, and whether its law gives a value a probability or a density
    for name, reading in readings.items():
        series = observed_series(reading)
        order = sorted(series, key=lambda site: (series[site].shape, series[site].tobytes()))
        seen[name] = [series[site] for site in order]
        laws = {site: distribution_of(reading, site) for site in order}
        kinds[name] = [(site, "probability" if law.support.is_discrete else "density") for site, law in laws.items()]
    first, *others = seen
    for name in others:
        same = len(seen[name]) == len(seen[first]) and all(
            np.array_equal(here, there, equal_nan=True) for here, there in zip(seen[name], seen[first], strict=True)
        )
        if not same:
            shapes = [", ".join(str(values.shape) for values in seen[one]) or "nothing" for one in (first, name)]
            raise DataError(
                f"'{first}' and '{name}' observe different data ({shapes[0]} and {shapes[1]}): scores of different data cannot be "
                "compared; give both the same observations"
            )
        for (site, kind), (other, other_kind) in zip(kinds[first], kinds[name], strict=True):
            if kind != other_kind:
                raise DataError(
                    f"'{first}' gives each observation of '{site}' a {kind}, '{name}' gives those of '{other}' a {other_kind}: "
                    "their evidence and scores have different units and cannot be compared; use counts (Poisson, NegativeBinomial) "
                    "in both, or a continuous law in both"
                )


def _to_tell(tree: xr.DataTree, fits: Mapping[str, Fit], key: jax.Array) -> dict[str, Any]:
    """The length of series that tells the two best models with a state apart; empty if there are fewer."""
    ranked = [str(name) for name in tree["scores"].to_dataset()["model"].values if name in fits][:2]
    if len(ranked) < 2:
        return {}
    said = apart(fits[ranked[0]], fits[ranked[1]], key)
    scores = tree["pointwise"].to_dataset()["lfo"]
    gained = (scores.sel(model=ranked[0]) - scores.sel(model=ranked[1])).values
    gained = gained[np.isfinite(gained)]
    seen = {"gained": float(gained.sum()), "scored": int(gained.size)}
    return {"models": ranked, **seen} | (
        {"unknown": said} if isinstance(said, str) else said._asdict() | {"tells": said.tells}
    )


def _windows(wanted: bool, fits: Mapping[str, Fit], key: jax.Array) -> tuple[dict[str, np.ndarray], str]:
    """The one-step scores of the baselines, on the scale that the first model expects."""
    if not wanted:
        return {}, ""
    found = next(iter(fits.values()))
    without, why = stateless(found.reading, key)
    taken = set(without) & set(fits)
    if taken:
        raise DataError(f"a model is called '{taken.pop()}', the name of a model without a state: give it another name")
    return without, why
