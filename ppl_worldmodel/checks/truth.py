"""Check of learned parameters against the truth of a simulation.

How often the central 90 % intervals cover it, and a joint test that the truth is a plausible draw.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from ppl_worldmodel.checks.parameters import constant, left_out
from ppl_worldmodel.checks.verdict import ALPHA, Finding, Verdict, joint_p
from ppl_worldmodel.infer.result_tree import PARAMETERS
from ppl_worldmodel.program.coordinates import entry_names


def findings(candidate: xr.DataTree, *, truth: Mapping[str, Any], converged: Verdict = "agrees") -> list[Finding]:
    """Test that the truth could be a draw from the posterior: its quantile in each marginal, and the coverage of 90 % intervals.

    Entries that are constant and equal to their true value are left out and named. A constant that differs from it disagrees.
    There is no finding about a result that learned nothing.
    """
    if candidate.attrs["question"] != PARAMETERS:
        return []
    posterior = candidate["posterior"].to_dataset()
    names = [name for name in truth if name in posterior.data_vars]
    if not names:
        return []
    quantiles, labels, shifts, constants = [], [], [], []
    with np.errstate(invalid="ignore", divide="ignore"):
        for name in names:
            true = np.asarray(truth[name], float)
            draws = posterior[name].values.reshape(-1, *true.shape).astype(float)
            below = np.where(np.isnan(draws).any(axis=0) | np.isnan(true), np.nan, (draws < true).mean(axis=0))
            mean, still = draws.mean(axis=0), constant(posterior[name])
            kept = ~(still & (np.abs(mean - true) <= 1e-9 * (1.0 + np.abs(true))))
            quantiles.append(np.where(still & kept, 0.0, below)[kept])
            shifts.append(((mean - true) / np.where(still, 0.0, draws.std(axis=0)))[kept])
            every = entry_names({name: true})
            labels += [label for label, keep in zip(every, kept.ravel(), strict=True) if keep]
            constants += [label for label, keep in zip(every, kept.ravel(), strict=True) if not keep]
    if not labels:
        return []
    quantile, shift = np.concatenate(quantiles), np.concatenate(shifts)
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    p_each = np.maximum(
        2.0 * np.minimum(quantile, 1.0 - quantile), 1.0 / total
    )  # a quantile is known to one draw at best
    p = joint_p(p_each)
    covered = int(((quantile >= 0.05) & (quantile <= 0.95)).sum())
    verdict, why = "agrees", f"90 % intervals cover {covered} of {len(labels)} true values (joint p = {p:.2g})"
    unknown = np.isnan(shift) | np.isnan(p_each)
    if unknown.any():
        verdict, why = "undecided", f"the draws or the truth of {labels[int(unknown.argmax())]} are not numbers"
    elif np.isinf(shift).any():
        verdict, why = "disagrees", f"{labels[int(np.isinf(shift).argmax())]} never varied, and is not the truth; {why}"
    elif p < ALPHA:
        verdict, why = "disagrees", f"the truth is implausible under the posterior: {why}"
    if converged != "agrees":
        verdict, why = "undecided", f"the draws have not converged; {why}"
    return [
        Finding(
            candidate=candidate.attrs["engine"], reference="truth", quantity=f"parameters {', '.join(names)}", about="truth",
            n=len(labels), worst=labels[int(p_each.argmin())], z=float(np.abs(shift).max()), p=p,
            distance=float(np.abs(shift).max()), unit="posterior standard deviations",
            verdict=verdict, why=why + left_out(constants),  # type: ignore[arg-type]
        )
    ]  # fmt: skip
