"""Single results as a run: the tree that `run` would have written, as far as the results say."""

from collections.abc import Mapping

import xarray as xr

from ppl_worldmodel.checks.check import as_dataset, check
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.infer.result_tree import PARAMETERS
from ppl_worldmodel.reports.names import text


def as_run(results: xr.DataTree | Mapping[str, xr.DataTree]) -> xr.DataTree:
    """A run as it is; or a run of {engine name: result}, each checked against the exact result, else against that of NUTS.

    Only results of the same question are checked against each other. Raises DataError for a tree that is neither a run nor the
    result of an engine, and for no results at all.
    """
    if isinstance(results, xr.DataTree):
        if "engines" in results.children:
            return results
        if "engine" not in results.attrs:
            raise DataError(
                "this tree is neither a run (it has no group 'engines') nor the result of an engine (it has no attribute 'engine')"
            )
        results = {text(results.attrs, "engine"): results}
    if not results:
        raise DataError("there is nothing to report: give {engine name: result}")
    findings = []
    for name, result in results.items():
        other = None if text(result.attrs, "law") == "exact" else _reference(name, results)
        for finding in check(result, against=results[other] if other else None):
            against = finding.reference if finding.reference == "itself" else str(other)
            findings.append(finding._replace(candidate=name, reference=against))
    tree = xr.DataTree.from_dict({"checks": as_dataset(tuple(findings))} if findings else {})
    for name, result in results.items():
        tree[f"engines/{name}"] = result.copy()
    first = next(iter(results.values())).attrs
    learned = any(text(result.attrs, "question") == PARAMETERS for result in results.values())
    tree.attrs = {"mode": "learned" if learned else "known"} | {
        name: text(first, name) for name in ("created", "versions", "commit", "dtype") if text(first, name)
    }
    return tree


def _reference(name: str, results: Mapping[str, xr.DataTree]) -> str | None:
    """The result that this one is compared with: exact, else nuts, of the same question."""
    for engine in ("exact", "nuts"):
        for other, result in results.items():
            same = text(result.attrs, "question") == text(results[name].attrs, "question")
            if other != name and text(result.attrs, "engine") == engine and same:
                return other
    return None
