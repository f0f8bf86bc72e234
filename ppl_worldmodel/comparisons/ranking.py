"""Ranking of models: their scores side by side, with paired differences, stacking weights, and whether one is ahead."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from arviz_stats import compare as stack
from arviz_stats.utils import ELPDDataLFO
from jaxtyping import Float

from ppl_worldmodel.comparisons.leave_future_out import PARETO_K
from ppl_worldmodel.comparisons.paired_difference import TELLS, Difference, difference, error_of_sum
from ppl_worldmodel.comparisons.score import Score

BARELY = float(
    np.log(3.0)
)  # nats of evidence: less is "not worth more than a bare mention" (Kass & Raftery 1995, section 3.2)
STRENGTH = ((np.log(20.0), "positive"), (np.log(150.0), "strong"), (np.inf, "very strong"))


class Row(NamedTuple):
    """One model. `evidence`, `lfo`: totals in nats with standard errors; `behind`: its leave-future-out score less that of the
    best (paired), never positive; `weight`: of stacking; `sufficient`: p-value of the test of its belief, NaN without one.
    """

    model: str
    state: bool
    parameters: int
    evidence: float
    evidence_error: float
    method: str
    lfo: float
    lfo_error: float
    behind: float
    behind_error: float
    weight: float
    sufficient: float
    gain: float
    loo: float
    loo_bad: int
    aic: float
    bic: float
    dic: float

    @classmethod
    def all_of(cls, tree: xr.DataTree) -> "tuple[Row, ...]":
        """The rows of a comparison's tree, the best in leave-future-out score first."""
        table = tree["scores"].to_dataset()
        columns = {name: table[name].values.tolist() for name in cls._fields if name != "model"}
        names = table["model"].values.tolist()
        return tuple(cls(name, *(columns[field][i] for field in cls._fields[1:])) for i, name in enumerate(names))


def rows_of(
    scores: Mapping[str, Score], without: Mapping[str, Float[np.ndarray, " time"]], first: int, horizon: int
) -> xr.DataTree:
    """The groups `scores` (model, the best first) and `pointwise` (model, time).

    without  one-step log predictives of models without a state
    """
    nan = float("nan")
    names, ahead, noise, rows = [], [], [], []
    for name, each in scores.items():
        names.append(name)
        ahead.append(each.lfo.elpd)
        noise.append(each.lfo.total_error)
        classic, tested = each.criteria, each.sufficient
        rows.append(
            {
                "state": True, "parameters": each.parameters, "evidence": each.evidence.log_evidence,
                "evidence_error": each.evidence.error, "method": each.evidence.method,
                "sufficient": tested.p if tested else nan, "gain": tested.gain if tested else nan,
                "worst": tested.worst if tested else each.unsaid,
                "loo": classic.loo if classic else nan, "loo_bad": classic.loo_bad if classic else 0,
                "aic": classic.aic if classic else nan, "bic": classic.bic if classic else nan,
                "dic": classic.dic if classic else nan, "refits": len({n for n in each.lfo.seen if n} - {len(each.lfo.elpd)}),
            }
        )  # fmt: skip
    for name, terms in without.items():
        names.append(name)
        ahead.append(_several_ahead(terms, first, horizon))
        noise.append(0.0)
        rows.append(
            {
                "state": False, "parameters": 0, "evidence": float(terms.sum()), "evidence_error": 0.0, "method": "exact",
                "sufficient": nan, "gain": nan, "worst": "", "loo": nan, "loo_bad": 0, "aic": nan, "bic": nan, "dic": nan,
                "refits": 0,
            }
        )  # fmt: skip
    elpd = np.stack(ahead)
    # If a scored step has no number, the total is unknown: the model ranks last, and its difference from the best is unknown.
    unknown = np.isnan(elpd[:, first : elpd.shape[1] - horizon + 1]).any(axis=1)
    totals = np.where(unknown, np.nan, np.nansum(elpd, axis=1))
    order = np.argsort(-totals, kind="stable")
    best = int(order[0])
    behind = [
        difference(elpd[i], elpd[best], monte_carlo=float(np.hypot(noise[i], noise[best]))) for i in range(len(names))
    ]
    behind = [Difference(np.nan, np.nan, 0) if unknown[i] else each for i, each in enumerate(behind)]
    if not unknown[best]:
        behind[best] = Difference(0.0, 0.0, behind[best].steps)
    table = {key: [row[key] for row in rows] for key in rows[0]} | {
        "lfo": totals.tolist(),
        "lfo_error": [float(np.hypot(error_of_sum(each[np.isfinite(each)]), noise[i])) for i, each in enumerate(elpd)],
        "lfo_noise": noise,
        "behind": [each.total for each in behind],
        "behind_error": [each.error for each in behind],
        "weight": _weights(names, elpd, first, horizon),
    }
    dataset = xr.Dataset({key: ("model", np.array(values)) for key, values in table.items()}, coords={"model": names})
    pointwise = xr.Dataset({"lfo": (("model", "time"), elpd)}, coords={"model": names})
    return xr.DataTree.from_dict({"scores": dataset.isel(model=order), "pointwise": pointwise.isel(model=order)})


def verdicts(tree: xr.DataTree) -> dict[str, str]:
    """`by_evidence` and `by_prediction`: a sentence each on which model is ahead, or that one cannot tell; `ahead_by_evidence` and
    `ahead_by_prediction`: its name, empty where one cannot tell.
    """
    table = tree["scores"].to_dataset()
    (first, evidence), (other, prediction) = _by_evidence(table), _by_prediction(table)
    return {
        "by_evidence": evidence,
        "by_prediction": prediction,
        "ahead_by_evidence": first,
        "ahead_by_prediction": other,
    }


def ahead(said: Mapping[Any, Any]) -> str:
    """The model that one criterion puts ahead and the other does not contradict; empty if there is none.

    said  what `verdicts` returned
    """
    names = {said["ahead_by_evidence"], said["ahead_by_prediction"]} - {""}
    return names.pop() if len(names) == 1 else ""


def _by_evidence(table: xr.Dataset) -> tuple[str, str]:
    known = table.isel(model=np.flatnonzero(np.isfinite(table["evidence"].values)))
    if known.sizes["model"] < 2:
        return "", "cannot tell: fewer than two models have an evidence"
    order = np.argsort(-known["evidence"].values, kind="stable")
    (best, second), names = order[:2], known["model"].values
    gap = float(known["evidence"].values[best] - known["evidence"].values[second])
    error = float(np.hypot(*known["evidence_error"].values[[best, second]]))
    said = f"{gap:.1f} +- {error:.1g} nats"
    if not (gap > TELLS * error and gap > BARELY):  # an error of NaN decides nothing
        return "", f"cannot tell: {names[best]} and {names[second]} are {said} apart"
    word = next(word for limit, word in STRENGTH if gap < limit)
    return str(names[best]), f"{names[best]}: {said} ahead of {names[second]} ({word} evidence)"


def _by_prediction(table: xr.Dataset) -> tuple[str, str]:
    names = table["model"].values
    if names.size < 2:
        return "", "cannot tell: there is one model"
    lost = [str(name) for name, total in zip(names, table["lfo"].values, strict=True) if np.isnan(total)]
    if lost:
        return "", f"cannot tell: some scores of {', '.join(lost)} are not numbers"
    lacks, errors = -table["behind"].values, table["behind_error"].values
    rivals = [i for i in range(1, names.size) if not lacks[i] > TELLS * errors[i]]
    if rivals:
        listed = ", ".join(f"{names[i]} ({lacks[i]:.1f} +- {errors[i]:.1f} nats behind)" for i in rivals)
        return "", f"cannot tell {names[0]} from {listed}"
    return str(names[0]), f"{names[0]}: {lacks[1]:.1f} +- {errors[1]:.1f} nats ahead of {names[1]}"


def _several_ahead(terms: Float[np.ndarray, " time"], first: int, horizon: int) -> Float[np.ndarray, " time"]:
    """Sums of the next `horizon` one-step terms, NaN where they are not scored."""
    found = np.full(terms.size, np.nan)
    for t in range(first, terms.size - horizon + 1):
        found[t] = terms[t : t + horizon].sum()
    return found


def _weights(names: list[str], elpd: Float[np.ndarray, "model time"], first: int, horizon: int) -> list[float]:
    """Stacking weights (Yao et al. 2018), by ArviZ."""
    both = np.isfinite(elpd).all(axis=0)
    if len(names) == 1:
        return [1.0]
    said = {
        name: ELPDDataLFO(
            elpd=float(each[both].sum()), se=0.0, p=0.0, n_samples=1, n_data_points=int(both.sum()), scale="log", warning=False,
            good_k=PARETO_K, elpd_i=xr.DataArray(each[both], dims="time"), forecast_horizon=horizon, min_observations=first,
            refits=np.array([], int), n_refits=0,
        )
        for name, each in zip(names, elpd, strict=True)
    }  # fmt: skip
    table = stack(said, method="stacking", round_to="none")
    return [float(table.loc[name, "weight"]) for name in names]
