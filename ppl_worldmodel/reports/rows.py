"""What stands in the tables of the page?  Findings, parameters, and one column an engine."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from ppl_worldmodel.checks.convergence import diagnostics
from ppl_worldmodel.checks.verdict import Finding
from ppl_worldmodel.infer.tree import PARAMETERS
from ppl_worldmodel.reports.names import called, number, place, text
from ppl_worldmodel.reports.parameter_figures import entries
from ppl_worldmodel.reports.sentence import UNITS


_ORDER = (
    "algorithm", "question", "beliefs from", "draws", "warm-up steps", "optimiser steps", "worst R-hat", "fewest effective draws",
    "effective draws per second", "divergences", "ELBO (nats)", "Pareto k-hat", "log evidence (nats)", "seconds, in all",
    "seconds, sampling or fitting", "random key",
)  # fmt: skip


class Number(NamedTuple):
    """A number as it is shown, and as it is."""

    shown: str
    value: float


class FindingRow(NamedTuple):
    """A finding as the page shows it."""

    candidate: str
    against: str
    quantity: str
    n: int
    worst: str
    z: Number
    p: Number
    distance: Number
    unit: str
    upper: Number
    upper_is: str
    tolerance: Number
    verdict: str
    why: str


class ParameterRow(NamedTuple):
    """One entry of a parameter under one engine."""

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


def shown(value: Any, digits: str = "") -> Number:
    """A number with the text that shows it."""
    value = float(value)
    return Number(f"{value:{digits}}" if digits and np.isfinite(value) else number(value), value)


def finding_rows(findings: tuple[Finding, ...], time: np.ndarray | None) -> list[FindingRow]:
    """All findings, in their order. The rows on convergence of chains hold an effective sample size in `upper`."""
    return [
        FindingRow(
            called(row.candidate), called(row.reference), row.quantity, row.n, place(row.worst, time), shown(row.z), _p(row.p),
            shown(row.distance, ".3f" if row.unit == "R-hat" else ""), UNITS.get(row.unit, row.unit), shown(row.upper),
            "ESS" if row.unit == "R-hat" else "", shown(row.tolerance), row.verdict, row.why,
        )
        for row in findings
    ]  # fmt: skip


def _p(p: float) -> Number:
    return Number("< 1e−16" if p < 1e-16 else shown(p, ".2g").shown, float(p))


def learned(engines: Mapping[str, xr.DataTree]) -> dict[str, xr.DataTree]:
    """The engines that learned parameters."""
    return {name: tree for name, tree in engines.items() if text(tree.attrs, "question") == PARAMETERS and "posterior" in tree.children}


def parameters(tree: xr.DataTree) -> dict[str, np.ndarray]:
    """The draws (chain, draw, ...) of the parameters, without series over time."""
    return {str(name): values.values for name, values in tree["posterior"].data_vars.items() if "time" not in values.dims}


def parameter_rows(engines: Mapping[str, xr.DataTree], truth: Mapping[str, Any]) -> list[ParameterRow]:
    """Every entry of every learned parameter under every engine, entry by entry."""
    rows: dict[str, list[ParameterRow]] = {}
    for engine, tree in learned(engines).items():
        quality = diagnostics(tree).to_dataframe()
        for name, draws in parameters(tree).items():
            true = entries(name, np.asarray(truth[name], float)[None, None]) if name in truth else {}
            for label, values in entries(name, draws).items():
                low, high = np.quantile(values, [0.05, 0.95])
                target = float(true[label].item()) if label in true else float("nan")
                of = quality.loc[label] if draws.shape[0] > 1 else {"rhat": np.nan, "ess_bulk": np.nan, "ess_tail": np.nan}
                rows.setdefault(label, []).append(
                    ParameterRow(
                        label, engine, shown(values.mean()), shown(values.std(ddof=1)), shown(low), shown(high), shown(of["rhat"], ".3f"),
                        shown(of["ess_bulk"], ",.0f"), shown(of["ess_tail"], ",.0f"), shown(target), bool(np.isnan(target) or low <= target <= high),
                    )
                )  # fmt: skip
    return [row for group in rows.values() for row in group]


def given_rows(engines: Mapping[str, xr.DataTree]) -> list[tuple[str, Number]]:
    """The values at which the exact engine answered."""
    exact = [tree for tree in engines.values() if text(tree.attrs, "engine") == "exact" and "posterior" in tree.children]
    if not exact:
        return []
    return [(label, shown(values.item(), ".6g")) for name, draws in parameters(exact[0]).items() for label, values in entries(name, draws).items()]


def engine_rows(engines: Mapping[str, xr.DataTree], findings: tuple[Finding, ...]) -> list[tuple[str, list[str]]]:
    """What each engine did and what it cost: (property, one cell an engine), without properties that none has."""
    cells = [_cells(name, tree, findings) for name, tree in engines.items()]
    names = [name for name in _ORDER if any(name in column for column in cells)]
    return [(name, [column.get(name, "\N{EN DASH}") for column in cells]) for name in names]


def _cells(name: str, tree: xr.DataTree, findings: tuple[Finding, ...]) -> dict[str, str]:
    attributes = tree.attrs
    exact = text(attributes, "engine") == "exact"
    found = {label: text(attributes, key) for label, key in (("algorithm", "algorithm"), ("question", "question"), ("beliefs from", "beliefs_from"))}
    sizes = tree["posterior"].sizes if "posterior" in tree.children else {}
    if "chain" in sizes and "draw" in sizes and not exact:
        chains, draws = sizes["chain"], sizes["draw"]
        found["draws"] = f"{chains} chains × {draws:,}" if chains > 1 else f"{draws:,}, independent"
    if "num_warmup" in attributes:
        found["warm-up steps"] = f"{int(attributes['num_warmup']):,}"
    if "num_steps" in attributes:
        found["optimiser steps"] = f"{int(attributes['num_steps']):,}"
    sampling = float(attributes.get("seconds_sampling", np.nan))
    gate = [row for row in findings if row.candidate == name and row.unit == "R-hat"]
    if gate:
        found["worst R-hat"] = f"{gate[0].distance:.3f}"
        found["fewest effective draws"] = number(gate[0].upper)
        if sampling > 0:
            found["effective draws per second"] = number(gate[0].upper / sampling)
    if "sample_stats" in tree.children and "diverging" in tree["sample_stats"].data_vars:
        found["divergences"] = f"{int(tree['sample_stats']['diverging'].sum()):,}"
    if "elbo" in attributes:
        error = f" ± {number(attributes['elbo_mcse'])}" if "elbo_mcse" in attributes else ""
        found["ELBO (nats)"] = f"{float(attributes['elbo']):.2f}{error}".replace("-", "\N{MINUS SIGN}", 1)
    if "pareto_k" in attributes:
        found["Pareto k-hat"] = f"{float(attributes['pareto_k']):.2f}"
    if "log_evidence" in attributes:
        found["log evidence (nats)"] = f"{float(attributes['log_evidence']):.2f}".replace("-", "\N{MINUS SIGN}", 1)
    if "seconds" in attributes:
        found["seconds, in all"] = f"{float(attributes['seconds']):.1f}"
    if np.isfinite(sampling):
        found["seconds, sampling or fitting"] = f"{sampling:.1f}"
    found["random key"] = text(attributes, "key")
    return {label: cell for label, cell in found.items() if cell}
