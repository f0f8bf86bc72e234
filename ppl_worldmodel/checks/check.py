"""All checks of this folder on one candidate against one reference, as a table of findings.

A check is a file of this folder with a function `findings(candidate, ...)` that returns a list of findings. It is called with
those of reference, truth, tolerance, tolerance_sd, converged and doubt that it names, and only if what it needs is there.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr

import ppl_worldmodel.checks as folder
from ppl_worldmodel.checks import convergence
from ppl_worldmodel.checks.table import Findings
from ppl_worldmodel.checks.verdict import Finding


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
    given: dict[str, Any] = {
        "tolerance": tolerance, "tolerance_sd": tolerance_sd, "converged": convergence.converged(candidate, against),
        "doubt": convergence.doubt(against) if against is not None else "",
    }  # fmt: skip
    given |= {"reference": against} if against is not None else {}
    given |= {"truth": truth} if truth is not None else {}
    found: list[Finding] = []
    for function in _checks():
        takes = inspect.signature(function).parameters
        needed = {name for name, parameter in list(takes.items())[1:] if parameter.default is parameter.empty}
        if needed <= given.keys():
            found += function(candidate, **{name: value for name, value in given.items() if name in takes})
    return Findings(map(closed, convergence.settled(found)))


def _checks() -> list[Callable]:
    """The functions `findings` of this folder's files: first those that need nothing but the candidate, then by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(folder.__path__))
    modules = [importlib.import_module(f"{folder.__name__}.{name}") for name in names]
    functions = [module.findings for module in modules if hasattr(module, "findings")]

    def alone(function: Callable) -> bool:
        _, *others = inspect.signature(function).parameters.values()
        return all(parameter.default is not parameter.empty for parameter in others)

    return sorted(functions, key=lambda function: not alone(function))


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
