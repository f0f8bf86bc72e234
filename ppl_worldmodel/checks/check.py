"""All checks of this folder on one candidate against one reference, as a table of findings."""

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

import ppl_worldmodel.checks as folder
from ppl_worldmodel.checks import convergence, label_switching, parameters
from ppl_worldmodel.checks.table import Findings
from ppl_worldmodel.checks.verdict import Finding
from ppl_worldmodel.infer.result_tree import PARAMETERS


def check(
    candidate: xr.DataTree,
    *,
    against: xr.DataTree | None = None,
    truth: Mapping[str, Any] | None = None,
    tolerance: float = 0.05,
    tolerance_sd: float = 0.25,
) -> Findings:
    """Check the result of one engine against that of another, and learned parameters against the truth of a simulation.

    against        the reference; it must answer the same question (the same parameters given, or all of them learned)
    truth          true parameter values, where the data are simulated and the parameters were learned
    tolerance      total variation that still counts as agreement, for beliefs over finite states
    tolerance_sd   the same for continuous quantities, in standard deviations of the reference
    """
    settings = {
        "tolerance": tolerance, "tolerance_sd": tolerance_sd, "converged": convergence.converged(candidate, against),
        "doubt": convergence.doubt(against) if against is not None else "",
    }  # fmt: skip
    found: list[Finding] = [*label_switching.findings(candidate), *convergence.findings(candidate, against)]
    if against is not None:
        for name in sorted(module.name for module in pkgutil.iter_modules(folder.__path__)):
            function = getattr(importlib.import_module(f"ppl_worldmodel.checks.{name}"), "findings", None)
            if function is None or name in (
                "convergence",
                "label_switching",
            ):  # these need no reference: they came first
                continue
            if name == "parameters" and candidate.attrs["question"] != PARAMETERS:
                continue
            takes = inspect.signature(function).parameters
            found += function(candidate, against, **{key: value for key, value in settings.items() if key in takes})
    if truth is not None and candidate.attrs["question"] == PARAMETERS:
        values = {name: np.asarray(value) for name, value in truth.items()}
        found += parameters.against_truth(candidate, values, converged=convergence.converged(candidate))
    return Findings(map(closed, convergence.settled(found)))


def closed(finding: Finding) -> Finding:
    """The finding, undecided if it would agree although its distance is NaN, whatever check it is from."""
    if finding.verdict == "agrees" and np.isnan(finding.distance):
        return finding._replace(verdict="undecided", why=f"not a number: {finding.why}")
    return finding


def as_dataset(findings: tuple[Finding, ...]) -> xr.Dataset:
    """The findings as a Dataset with the dimension `row`."""
    return xr.Dataset(
        {field: ("row", np.array([getattr(finding, field) for finding in findings])) for field in Finding._fields}
    )


def from_dataset(table: xr.Dataset) -> Findings:
    """The findings of a saved table."""
    rows = range(table.sizes["row"])
    return Findings(Finding(**{field: table[field].values[row].item() for field in Finding._fields}) for row in rows)
