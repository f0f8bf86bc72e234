"""Which figures stand in which section of the page, and what is said above them?"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ppl_worldmodel.checks.verdict import Finding
from ppl_worldmodel.reports import rows
from ppl_worldmodel.reports.belief_figures import Pair, belief_figure
from ppl_worldmodel.reports.data_figures import Fixed, data_figure, fixed
from ppl_worldmodel.reports.distance_figures import distance_figure
from ppl_worldmodel.reports.figures import Picture
from ppl_worldmodel.reports.names import Look, text
from ppl_worldmodel.reports.parameter_figures import forest, ranks

KINDS = ("filtered", "smoothed")


class BeliefRow(NamedTuple):
    """One engine's beliefs: filtered and smoothed, side by side; None for what it did not answer."""

    engine: str
    filtered: Picture | None
    smoothed: Picture | None


class DataSection(NamedTuple):
    """Observed series, given series, and given values."""

    observed: list[Picture]
    given: list[Picture]
    fixed: list[Fixed]


def compared(engines: Mapping[str, xr.DataTree], *, known: bool, truth: Mapping[str, Any]) -> str:
    """What is the reference here, in words."""
    kinds = {text(tree.attrs, "engine", name) for name, tree in engines.items()}
    apart = "filtered beliefs, p(state at t | data up to t), only with filtered ones, and smoothed beliefs, p(state at t | all data), only with smoothed ones"
    if known:
        if "exact" not in kinds:
            return f"The parameters are given, but there is no exact answer here to compare with. Where engines are compared, it is {apart}."
        return f"The parameters are given, so the exact recursion is the reference of every other engine. Compared are {apart}."
    reference = "NUTS, once its chains agree, is the reference of the other engines" if "nuts" in kinds else "there is no NUTS run here to compare with"
    true = ", and each posterior is held against the truth that the data were simulated from" if truth else ""
    first = f"The parameters are learned, so {reference}{true}."
    return (
        f"{first} Beliefs are the exact ones at each draw of the parameters, averaged over the draws: comparing them checks the parameters, "
        f"not the recursion; compared are {apart}."
    )


def beliefs(engines: Mapping[str, xr.DataTree], look: Mapping[str, Look], *, known: bool, parameters_from: str) -> list[BeliefRow]:
    """A row for each engine, against its reference."""
    exact = _first(engines, "exact")
    nuts = _first(engines, "nuts")
    found = []
    others = [name for name in engines if name != exact]
    for name in others or list(engines):
        other = None if name == exact else exact if known or name == nuts or nuts is None else nuts
        checked = other is not None and text(engines[name].attrs, "question") == text(engines[other].attrs, "question")
        called = "" if other is None else look[other].name
        if other == exact and other is not None and not checked:
            called = f"exact at {parameters_from}" if parameters_from else "exact at single values of the parameters"
        pair = Pair(name, engines[name], look[name], engines[other] if other else None, called, look[other] if other else None, checked)
        pictures = [belief_figure(kind, pair, _points(engines[name])) for kind in KINDS]
        found.append(BeliefRow(look[name].name, *pictures))
    return [row for row in found if row.filtered or row.smoothed]


def where(engines: Mapping[str, xr.DataTree], findings: tuple[Finding, ...], look: Mapping[str, Look]) -> list[Picture]:
    """Distances from the reference over time, filtered and smoothed apart."""
    pictures = [distance_figure(kind, findings, engines, look) for kind in KINDS]
    return [picture for picture in pictures if picture is not None]


def data(engines: Mapping[str, xr.DataTree]) -> DataSection:
    """The data, as the first engine that holds them has them."""
    series: dict[str, list[Picture]] = {}
    for group in ("observed_data", "constant_data"):
        tree = next((tree[group] for tree in engines.values() if group in tree.children), None)
        drawn = [data_figure(tree, str(name)) for name in tree.data_vars] if tree is not None else []
        series[group] = [picture for picture in drawn if picture is not None]
    constant = next((tree["constant_data"] for tree in engines.values() if "constant_data" in tree.children), None)
    return DataSection(series["observed_data"], series["constant_data"], fixed(constant) if constant is not None else [])


def parameter_pictures(engines: Mapping[str, xr.DataTree], look: Mapping[str, Look], truth: Mapping[str, Any]) -> list[tuple[Picture, ...]]:
    """For each learned parameter its forest, and the rank plots of every engine that has several chains."""
    draws = {engine: rows.parameters(tree) for engine, tree in rows.learned(engines).items()}
    names = list(dict.fromkeys(name for found in draws.values() for name in found))
    worst = {(row.engine, row.label): row.rhat.value for row in rows.parameter_rows(engines, {})}
    found = []
    for name in names:
        have = {engine: values[name] for engine, values in draws.items() if name in values}
        pictures = [forest(name, have, look, truth.get(name))]
        for engine, values in have.items():
            if values.shape[0] > 1 and values.std() > 0:
                rhats = [rhat for (who, label), rhat in worst.items() if who == engine and (label == name or label.startswith(f"{name}["))]
                pictures.append(ranks(name, values, look[engine], float(np.nanmax(rhats))))
        found.append(tuple(pictures))
    return found


def _first(engines: Mapping[str, xr.DataTree], engine: str) -> str | None:
    return next((name for name, tree in engines.items() if text(tree.attrs, "engine", name) == engine), None)


def _points(tree: xr.DataTree) -> tuple[str, np.ndarray] | None:
    """A single observed series, if the state is a single number on about the same scale."""
    group = tree["beliefs"] if "beliefs" in tree.children else None
    if group is None or group.sizes.get("dim") != 1 or "observed_data" not in tree.children:
        return None
    series = [values for values in tree["observed_data"].data_vars.values() if values.dims == ("time",)]
    if len(series) != 1 or len(tree["observed_data"].data_vars) != 1 or series[0].dtype.kind not in "iuf":
        return None
    values = series[0].values.astype(float)
    means = next((group[kind].values[:, 0] for kind in ("smoothed", "filtered") if kind in group.data_vars), None)
    if means is None or not np.isfinite(values).any() or not np.isfinite(means).any():
        return None
    near = abs(np.nanmedian(values) - np.nanmedian(means)) <= 2.0 * (np.nanstd(values) + np.nanstd(means))
    return (str(series[0].name), values) if near else None


