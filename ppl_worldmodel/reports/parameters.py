"""Tables of parameters, given and learned: entry by entry (`T[0, 1]`), named as in the findings."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ppl_worldmodel.checks.convergence import diagnostics
from ppl_worldmodel.infer.result_tree import PARAMETERS
from ppl_worldmodel.reports.names import group, text
from ppl_worldmodel.reports.numbers import Number, shown


class ParameterRow(NamedTuple):
    """One entry of a parameter under one engine; `covered`: its central 90 % interval holds the truth, or no truth is known."""

    label: str
    engine: str
    mean: Number
    sd: Number
    low: Number
    high: Number
    rhat: Number
    ess_bulk: Number
    ess_tail: Number
    truth: Number
    covered: bool


def entries(name: str, draws: np.ndarray) -> dict[str, np.ndarray]:
    """Each entry of a parameter, by its label; `draws` has the leading axes (chain, draw)."""
    return {f"{name}{list(index) if index else ''}": draws[(..., *index)] for index in np.ndindex(*draws.shape[2:])}


def at(name: str, value: Any) -> dict[str, float]:
    """Each entry of a single value of a parameter, by its label."""
    return {label: float(entry.item()) for label, entry in entries(name, np.asarray(value, float)[None, None]).items()}


def draws_of(tree: xr.DataTree) -> dict[str, np.ndarray]:
    """The draws (chain, draw, ...) of the parameters; the states, which have a time, are left out."""
    posterior = group(tree, "posterior")
    if posterior is None:
        return {}
    return {str(name): values.values for name, values in posterior.data_vars.items() if "time" not in values.dims}


def learned(engines: Mapping[str, xr.DataTree]) -> dict[str, dict[str, np.ndarray]]:
    """The draws of every engine that learned parameters."""
    return {name: draws_of(tree) for name, tree in engines.items() if text(tree.attrs, "question") == PARAMETERS}


def parameter_rows(engines: Mapping[str, xr.DataTree], truth: Mapping[str, Any]) -> list[ParameterRow]:
    """Every entry of every learned parameter under every engine, entry by entry."""
    rows: dict[str, list[ParameterRow]] = {}
    for engine, parameters in learned(engines).items():
        quality = diagnostics(engines[engine]).to_dataframe() if parameters else None
        for name, draws in parameters.items():
            true = at(name, truth[name]) if name in truth else {}
            for label, values in entries(name, draws).items():
                measured = quality.loc[label].to_dict() if quality is not None and len(draws) > 1 else {}
                chains = {str(key): float(value) for key, value in measured.items()}
                row = _row(label, engine, values, chains, true.get(label, float("nan")))
                rows.setdefault(label, []).append(row)
    return [row for same in rows.values() for row in same]


def given_rows(engines: Mapping[str, xr.DataTree]) -> list[tuple[str, Number]]:
    """The values at which the exact engine answered."""
    exact = next((tree for tree in engines.values() if text(tree.attrs, "law") == "exact"), None)
    values = draws_of(exact) if exact is not None else {}
    return [
        (label, shown(entry.item(), ".6g"))
        for name, value in values.items()
        for label, entry in entries(name, value).items()
    ]


def _row(label: str, engine: str, values: np.ndarray, chains: Mapping[str, float], truth: float) -> ParameterRow:
    """`chains`: rhat, ess_bulk and ess_tail; empty for independent draws, of which they say nothing."""
    low, high = np.quantile(values, [0.05, 0.95])
    nothing = float("nan")
    return ParameterRow(
        label, engine, shown(values.mean()), shown(values.std(ddof=1)), shown(low), shown(high),
        shown(chains.get("rhat", nothing), ".3f"), shown(chains.get("ess_bulk", nothing), ",.0f"),
        shown(chains.get("ess_tail", nothing), ",.0f"), shown(truth), bool(np.isnan(truth) or low <= truth <= high),
    )  # fmt: skip
