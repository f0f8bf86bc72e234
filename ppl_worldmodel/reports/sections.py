"""Sections of the report page: which figures stand in each, and the sentences above them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ppl_worldmodel.checks.beliefs import kinds
from ppl_worldmodel.checks.verdict import Finding
from ppl_worldmodel.infer.beliefs import KINDS
from ppl_worldmodel.program.reading import NOT_READ
from ppl_worldmodel.reports.figures.beliefs import Drawn, Pair, belief_figure
from ppl_worldmodel.reports.figures.data import Fixed, data_figure, fixed
from ppl_worldmodel.reports.figures.distances import distance_figure, worst_series
from ppl_worldmodel.reports.figures.embedding import Picture
from ppl_worldmodel.reports.figures.forest import forest
from ppl_worldmodel.reports.figures.ranks import ranks
from ppl_worldmodel.reports.figures.styles import Look, called
from ppl_worldmodel.reports.names import group, text
from ppl_worldmodel.reports.parameters import ParameterRow, entries, learned

Engines = Mapping[str, xr.DataTree]


class BeliefRow(NamedTuple):
    """One engine's beliefs: (predicted,) filtered and smoothed, side by side; None for what it did not answer."""

    engine: str
    pictures: dict[str, Picture | None]


class DataSection(NamedTuple):
    """Observed series, given series, and given values."""

    observed: list[Picture]
    given: list[Picture]
    fixed: list[Fixed]


def compared(engines: Engines, *, known: bool, truth: Mapping[str, Any]) -> str:
    """The reference of this run, in two sentences."""
    kinds = {text(tree.attrs, "engine", name) for name, tree in engines.items()}
    apart = (
        "filtered beliefs, p(state at t | data up to t), are compared with filtered ones only, and smoothed beliefs, "
        "p(state at t | all data), with smoothed ones only."
    )
    nuts = "NUTS, once its chains agree, is the reference of the other engines"
    if known:
        reference = "the exact recursion is the reference of every other engine" if "exact" in kinds else nuts
        if any(text(tree.attrs, "family") == NOT_READ for tree in engines.values()):
            reference = f"no exact reference exists, for the program is not read exactly{f'; {nuts}' if 'nuts' in kinds else ''}"
        elif not kinds & {"exact", "nuts"}:
            reference = "the exact recursion would be the reference, but it is not in this run"
        return f"The parameters are given, so {reference}. {apart[0].upper()}{apart[1:]}{_cost(engines)}"
    reference = nuts if "nuts" in kinds else "NUTS would be the reference, but it is not in this run"
    true = "; each posterior is also held against the truth that the data were simulated from" if truth else ""
    return (
        f"The parameters are learned, so {reference}{true}. Beliefs are the exact ones at each draw of the parameters, averaged "
        f"over the draws, so that comparing them checks the parameters and not the recursion; {apart}"
    )


def _cost(engines: Engines) -> str:
    """The time taken to sample the beliefs of prefixes, beside that of the recursion, which answers all of them."""
    exact = _first(engines, "exact")
    told = [
        f" {called(text(tree.attrs, 'engine', name))} sampled {int(tree.attrs['num_prefixes']) + 1} posteriors for that, of "
        f"the whole series and of its prefixes, in {float(tree.attrs['seconds']):.1f} s"
        for name, tree in engines.items()
        if int(tree.attrs.get("num_prefixes", 0))
    ]
    if not told:
        return ""
    recursion = f"; the recursion took {float(engines[exact].attrs['seconds']):.1f} s for all of them" if exact else ""
    return f"{'.'.join(told)}{recursion} (compilation included)."


def beliefs(engines: Engines, look: Mapping[str, Look], *, parameters_from: str) -> list[BeliefRow]:
    """A row for each engine, drawn against the exact answer or NUTS, whichever answers the same question."""
    exact, nuts = _first(engines, "exact"), _first(engines, "nuts")
    found = []
    for name in [name for name in engines if name != exact] or list(engines):
        question = text(engines[name].attrs, "question")
        others = [other for other in (exact, nuts) if other is not None and other != name]
        same = [other for other in others if text(engines[other].attrs, "question") == question]
        other = same[0] if same else exact if exact in others else None
        against = None
        if other is not None:
            called = look[other].name if same else f"exact at {parameters_from or 'single values of the parameters'}"
            against = Drawn(engines[other], look[other], called)
        pair = Pair(Drawn(engines[name], look[name], look[name].name), against, bool(same))
        drawn = {kind: belief_figure(kind, pair, _points(engines[name])) for kind in kinds(engines[name])}
        shown = {kind: picture for kind, picture in drawn.items() if picture or kind != "predicted"}
        found.append(BeliefRow(look[name].name, shown))
    return [row for row in found if any(row.pictures.values())]


def where(engines: Engines, findings: tuple[Finding, ...], look: Mapping[str, Look]) -> list[Picture]:
    """Distances from the reference over time, one picture for each kind of belief."""
    pictures = [distance_figure(kind, findings, engines, look) for kind in KINDS]
    return [picture for picture in pictures if picture is not None]


def data(engines: Engines, findings: tuple[Finding, ...]) -> DataSection:
    """The data, from the first engine that holds them; of several series first those whose beliefs differ most."""
    observed, given = (
        next((found for tree in engines.values() if (found := group(tree, name)) is not None), xr.Dataset())
        for name in ("observed_data", "constant_data")
    )
    first = worst_series(findings, engines)
    drawn = [
        [picture for name in dataset.data_vars if (picture := data_figure(dataset, str(name), first)) is not None]
        for dataset in (observed, given)
    ]
    return DataSection(drawn[0], drawn[1], fixed(given))


def parameters(
    engines: Engines, look: Mapping[str, Look], truth: Mapping[str, Any], rows: list[ParameterRow]
) -> list[list[Picture]]:
    """For each learned parameter its forest, and the rank plots of every engine that has several chains."""
    draws = learned(engines)
    found = []
    for name in dict.fromkeys(name for parameters in draws.values() for name in parameters):
        have = {engine: parameters[name] for engine, parameters in draws.items() if name in parameters}
        have = {engine: values for engine, values in have.items() if np.isfinite(values).all()}
        pictures = [forest(name, have, look, truth.get(name))] if have else []
        for engine, values in have.items():
            rhats = [row.rhat.value for row in rows if row.engine == engine and row.label in entries(name, values)]
            if np.isfinite(rhats).all():  # so there are several chains, and every entry varies
                pictures.append(ranks(name, values, look[engine], max(rhats)))
        found.append(pictures)
    return found


def _first(engines: Engines, engine: str) -> str | None:
    return next((name for name, tree in engines.items() if text(tree.attrs, "engine", name) == engine), None)


def _points(tree: xr.DataTree) -> tuple[str, np.ndarray] | None:
    """The observed series (*sequence, time), if there is one and the state is a single number on about the same scale."""
    state, observed = group(tree, "beliefs"), group(tree, "observed_data")
    if state is None or observed is None or state.sizes.get("dim") != 1 or len(observed.data_vars) != 1:
        return None
    name, series = next(iter(observed.data_vars.items()))
    if set(series.dims) - {"sequence"} != {"time"} or series.dtype.kind not in "iuf" or "smoothed" not in state:
        return None
    values, means = series.transpose(..., "time").values.astype(float), state["smoothed"].values[..., 0]
    if values.shape != means.shape or not np.isfinite(values).any() or not np.isfinite(means).any():
        return None
    near = abs(np.nanmedian(values) - np.nanmedian(means)) <= 2.0 * (np.nanstd(values) + np.nanstd(means))
    return (str(name), values) if near else None
