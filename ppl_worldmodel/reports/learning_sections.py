"""Sections of the page about learning: what the data can tell, and how far the learned values are from the truth."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ppl_worldmodel.identifiability.recovery import recovery
from ppl_worldmodel.reports.figures.embedding import Picture
from ppl_worldmodel.reports.figures.recovery import heat_map, map_labels
from ppl_worldmodel.reports.figures.styles import Look, called
from ppl_worldmodel.reports.finding_rows import Number, shown
from ppl_worldmodel.reports.names import text
from ppl_worldmodel.reports.parameters import learned

EVER = Number("\N{INFINITY}", float("inf"))


class FactRow(NamedTuple):
    """A rank or another number about the system; `fails`: it is smaller than it would have to be."""

    fact: str
    amount: Number
    says: str
    fails: bool


class EntryRow(NamedTuple):
    """What the data say about one entry of the parameters."""

    label: str
    value: Number
    prior_sd: Number
    data_sd: Number
    ratio: Number
    posterior_sd: Number
    overlap: Number
    prior_felt: Number
    data_felt: Number
    verdict: str


class Learnable(NamedTuple):
    """The section 'What can be learned'; `left_out` is the reason where there is nothing to say, `unfelt` the
    reason where the sensitivity could not be computed.
    """

    sentence: str
    least_known: str
    engine: str
    facts: list[FactRow]
    rows: list[EntryRow]
    unfelt: str
    left_out: str


class RecoveryRow(NamedTuple):
    """A distribution, or an entry, of the learned parameters against the truth."""

    label: str
    error: Number
    spread: Number
    unit: str


class Recovered(NamedTuple):
    """The section 'Learned against the truth', of one engine."""

    engine: str
    coverage: str
    pictures: list[Picture]
    rows: list[RecoveryRow]


def learnable(found: xr.Dataset | None) -> Learnable | None:
    """The section of a run's group `identifiability`; None where a run has none."""
    if found is None:
        return None
    if "left_out" in found.attrs:
        return Learnable("", "", "", [], [], "", text(found.attrs, "left_out"))
    said = found.attrs
    facts = [
        FactRow(
            str(found["fact"].values[i]), shown(found["amount"].values[i]), str(found["says"].values[i]),
            bool(found["amount"].values[i] < found["needed"].values[i]),
        )
        for i in range(found.sizes["row"])
    ]  # fmt: skip
    nothing = np.full(found.sizes["entry"], np.nan)  # results of earlier versions have no sensitivity
    columns = {name: found[name].values if name in found else nothing for name in EntryRow._fields[1:-1]}
    entries = [
        EntryRow(label=str(label), verdict=str(verdict), **{name: _number(columns[name][i]) for name in columns})
        for i, (label, verdict) in enumerate(zip(found["entry"].values, found["verdict"].values, strict=True))
    ]
    sentence = f"At {text(said, 'at')} the parameters are {text(said, 'verdict')}: {text(said, 'why')}."
    least = text(said, "least_known")
    return Learnable(sentence, f"{least}.", called(text(said, "engine")), facts, entries, text(said, "unfelt"), "")


def recovered(
    engines: Mapping[str, xr.DataTree], truth: Mapping[str, Any], look: Mapping[str, Look]
) -> Recovered | None:
    """The parameters that NUTS (or else the first engine) learned, against the truth; None where there is no truth."""
    draws = {
        name: {parameter: values for parameter, values in parameters.items() if parameter in truth}
        for name, parameters in learned(engines).items()
    }
    usable = [name for name, parameters in draws.items() if parameters and _finite(parameters)]
    if not usable:
        return None
    name = next((name for name in usable if text(engines[name].attrs, "engine") == "nuts"), usable[0])
    found = recovery(engines[name], {parameter: truth[parameter] for parameter in draws[name]})
    said = found.attrs
    coverage = (
        f"{said['covered']} of {said['of']} true values lie in their central 90 % intervals"
        f" (between {said['low']} and {said['high']} in 95 % of cases, if the intervals are right and the values independent)."
    )
    posterior = engines[name]["posterior"].to_dataset()
    pictures = [
        heat_map(parameter, values, truth[parameter], map_labels(posterior[parameter]))
        for parameter, values in draws[name].items()
        if 1 <= values.ndim - 2 <= 3
    ]
    rows = [
        RecoveryRow(str(label), _number(found["error"].values[i]), _number(found["spread"].values[i]), str(unit))
        for i, (label, unit) in enumerate(zip(found["row"].values, found["unit"].values, strict=True))
    ]
    return Recovered(look[name].name, coverage, pictures, rows)


def _finite(parameters: Mapping[str, np.ndarray]) -> bool:
    return all(np.isfinite(values).all() for values in parameters.values())


def _number(value: Any) -> Number:
    return EVER if np.isposinf(value) else shown(value)
