"""Convergence diagnostics, the gate before every other check: R-hat, effective sample sizes, divergences, Pareto k-hat.

Thresholds: R-hat 1.01 and 100 effective draws a chain in bulk and tails (Vehtari et al. 2021, Bayesian Analysis 16); k-hat 0.7
(Yao et al. 2018, "Yes, but did it work?"). A NaN R-hat counts as failed. Between 1.01 and 1.05, or what short chains reach by
chance if that is more (`chance_of_rhat`), the verdict is `undecided`. It is also `undecided` if a state never varied, unless an
exact answer says that the state is as good as certain: a sampler that cannot move looks the same as one that need not.
"""

import arviz_stats  # noqa: F401  (registers the accessor `.azstats`)
import numpy as np
import xarray as xr

from ppl_worldmodel.checks.chance_of_rhat import largest_by_chance
from ppl_worldmodel.checks.verdict import Finding, Verdict
from ppl_worldmodel.infer.result_tree import STATES
from ppl_worldmodel.program.coordinates import entry_names

RHAT, RHAT_APART, ESS_PER_CHAIN, PARETO_K = 1.01, 1.05, 100, 0.7
ROUNDING = 1e-13  # relative: a probability that is always 1 may be computed as a little less
SUSPECTS = 100  # entries of the largest R-hat that are looked at
SPREAD = 1.0  # nats: particles whose evidence varies more are too few (Pitt et al. 2012, J. Econometrics 171)


def findings(candidate: xr.DataTree, reference: xr.DataTree | None = None) -> list[Finding]:
    """One finding about the draws of an engine; none for the exact engine, which draws nothing.

    reference  an answer to the same question, which tells whether states that never varied are certain
    """
    match candidate.attrs["law"]:
        case "exact":
            return []
        case "particles":
            return [_particles(candidate)]
        case "approximation":
            return [_variational(candidate)]
    return [_markov_chain(candidate, reference)]


def converged(candidate: xr.DataTree, reference: xr.DataTree | None = None) -> Verdict:
    """The verdict on the draws. An approximation passes when its ELBO is finite: its bias is judged by other checks.

    It is `disagrees` if standard errors of the draws mean nothing: chains are apart, be it by chance, or particles too few to
    estimate their error.
    """
    if candidate.attrs["law"] == "approximation":
        return "agrees" if np.isfinite(candidate.attrs["elbo"]) else "disagrees"
    found = findings(candidate, reference)
    if not found:
        return "agrees"
    (finding,) = found
    unknown = finding.verdict != "agrees" if finding.about == "particles" else not finding.distance <= RHAT_APART
    return "disagrees" if unknown else finding.verdict


def settled(rows: list[Finding]) -> list[Finding]:
    """The findings; the large k-hat of a guide becomes a mere warning if the guide was compared and all other findings agree.

    k-hat says whether the guide's draws could be reweighted to the posterior. Nothing here reweights them. Above 0.7 it is about
    tails that hardly affect the compared quantities, so the comparisons decide.
    """
    others = [row for row in rows if row.about != "reweighting"]
    compared = [row for row in others if row.reference not in ("itself", "truth")]
    if not compared or any(row.verdict != "agrees" for row in others):
        return rows
    return [
        row._replace(verdict="agrees", why=f"a warning: {row.why}, though all that was compared agrees")
        if row.about == "reweighting" and row.verdict != "agrees" and np.isfinite(row.distance)
        else row
        for row in rows
    ]


def doubt(reference: xr.DataTree) -> str:
    """Why nothing can be decided against this reference: its own draws have not converged; empty if they have."""
    if converged(reference) == "agrees":
        return ""
    engine = reference.attrs["engine"]
    return f"the reference, {engine}, has not converged itself: see the row on its convergence"


def diagnostics(candidate: xr.DataTree) -> xr.Dataset:
    """R-hat, bulk and tail ESS of every entry of the posterior, stacked: dims (entry,), coordinate `entry` names them.

    R-hat is NaN where a draw is not finite. Tail ESS is NaN for whole numbers, which have no tails to speak of.
    """
    columns: dict[str, list[np.ndarray]] = {"rhat": [], "ess_bulk": [], "ess_tail": [], "varies": []}
    labels: list[str] = []
    for name, draws in candidate["posterior"].to_dataset().data_vars.items():
        values = draws.astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):  # constants and infinities are handled below
            size = abs(values).max(("chain", "draw")).values
            # Infinite and NaN draws have no standard deviation, and count as varying.
            columns["varies"].append(np.ravel(~(values.std(("chain", "draw")).values <= ROUNDING * size)))
            # R-hat is computed from ranks, and would not notice a few NaN draws.
            finite = np.isfinite(values.values).all(axis=(0, 1))
            columns["rhat"].append(np.ravel(np.where(finite, values.azstats.rhat().values, np.nan)))
            columns["ess_bulk"].append(np.ravel(values.azstats.ess(method="bulk").values))
            tail = values[0, 0] * np.nan if _discrete(draws) else values.azstats.ess(method="tail")
            columns["ess_tail"].append(np.ravel(tail.values))
        labels.extend(entry_names({str(name): draws.values[0, 0]}))
    return xr.Dataset(
        {name: ("entry", np.concatenate(parts)) for name, parts in columns.items()}, coords={"entry": labels}
    )


def _discrete(draws: xr.DataArray) -> bool:
    return bool(np.issubdtype(draws.dtype, np.integer))


def _markov_chain(candidate: xr.DataTree, reference: xr.DataTree | None) -> Finding:
    table = diagnostics(candidate)
    varying = table.isel(entry=np.flatnonzero(table["varies"].values))
    constant = table.sizes["entry"] - varying.sizes["entry"]
    sizes = candidate["posterior"].sizes
    chains, draws = sizes["chain"], sizes["chain"] * sizes["draw"]
    rhat = np.where(np.isnan(varying["rhat"].values), np.inf, varying["rhat"].values)
    ess = np.nan_to_num(np.fmin(varying["ess_bulk"].values, varying["ess_tail"].values), nan=0.0)
    if rhat.size == 0:
        rhat, ess = np.array([1.0]), np.array([float(draws)])
    stats = candidate["sample_stats"] if "sample_stats" in candidate.children else None
    divergences = int(stats["diverging"].sum()) if stats is not None and "diverging" in stats.data_vars else 0
    worst = str(varying["entry"].values[int(np.argmax(rhat))]) if varying.sizes["entry"] else "-"
    verdict: Verdict = "agrees"
    why = f"R-hat at most {rhat.max():.3f}, at least {ess.min():.0f} effective draws of {draws}"
    given = candidate.attrs["question"] == STATES
    stuck = _stuck(candidate, reference, varying.sizes["entry"] > 0) if constant and given else ""
    apart = _apart(candidate, varying["entry"].values, rhat)
    if apart is not None:
        verdict, worst = "disagrees", str(varying["entry"].values[apart])
        why = f"the chains disagree: R-hat {rhat[apart]:.3f} at {worst} (at most {RHAT})"
    elif stuck:
        verdict, why = "undecided", stuck
    elif rhat.max() > RHAT:
        verdict, why = (
            "undecided",
            f"R-hat {rhat.max():.3f} at {worst} (at most {RHAT}): the chains need more draws to tell",
        )
    elif divergences:
        verdict, why = "undecided", f"{divergences} divergent transitions: parts of the posterior may not be reached"
    elif ess.min() < ESS_PER_CHAIN * chains:
        needed = int(np.ceil(draws * ESS_PER_CHAIN * chains / max(ess.min(), 1.0)))
        verdict, why = "undecided", f"only {ess.min():.0f} effective draws of {draws}; about {needed:,} draws would do"
    if constant and not stuck:
        why += f"; {_numbered(constant)} never varied"
    if "moves" in candidate.attrs:
        why += f"; {candidate.attrs['moves']}"
    return Finding(
        candidate=candidate.attrs["engine"], reference="itself", quantity="convergence", about="chains",
        n=int(table.sizes["entry"]), worst=worst, distance=float(rhat.max()), ess=float(ess.min()), tolerance=RHAT, unit="R-hat",
        verdict=verdict, why=why,
    )  # fmt: skip


def _apart(candidate: xr.DataTree, entries: np.ndarray, rhat: np.ndarray) -> int | None:
    """The entry with the largest R-hat that is neither small nor due to chance; None if there is none."""
    order = np.argsort(-rhat, kind="stable")[:SUSPECTS]
    suspects = [int(at) for at in order if rhat[at] > RHAT_APART]
    if not suspects or not np.isfinite(rhat[suspects[0]]):
        return suspects[0] if suspects else None
    wanted = {str(entries[at]) for at in suspects}
    draws = {}
    for name, values in candidate["posterior"].to_dataset().data_vars.items():
        flat = values.values.reshape(*values.shape[:2], -1)
        for column, label in enumerate(entry_names({str(name): values.values[0, 0]})):
            if label in wanted:
                draws[label] = flat[..., column].astype(float)
    chance = (largest_by_chance(draws[str(entries[at])], len(rhat)) for at in suspects)
    return next((at for at, most in zip(suspects, chance, strict=True) if rhat[at] > most), None)


def _stuck(candidate: xr.DataTree, reference: xr.DataTree | None, moves: bool) -> str:
    """Why states that never varied in any draw may not be certain, in words; empty if they are certain, or none is in a belief.

    If the reference gives a state a probability of at least 1 - 3 / (effective draws), all draws of a chain that mixes are equal
    one time in twenty, or more often. moves: whether some entry of the posterior varied.
    """
    here = candidate["beliefs"].to_dataset() if "beliefs" in candidate.children else xr.Dataset()
    if not {"smoothed", "smoothed_ess"} <= set(here.data_vars):
        return (
            "" if moves else "no draw ever moved: the states are certain, or the sampler cannot leave where it started"
        )
    there = reference["beliefs"].to_dataset() if reference is not None and "beliefs" in reference.children else None
    if "state" not in here["smoothed"].dims:
        return _stuck_vectors(here, there)
    share, ess = here["smoothed"].values, here["smoothed_ess"].values
    never = share.max(axis=-1) >= 1.0
    if not never.any():
        return ""
    count = f"the state never varied at {never.sum()} of {never.size} time steps"
    if there is None or "smoothed" not in there or there["smoothed"].shape != share.shape:
        return f"{count}: it is certain there, or the sampler cannot move it"
    probability = np.take_along_axis(there["smoothed"].values, share.argmax(axis=-1)[..., None], axis=-1)[..., 0]
    doubtful = never & ~(probability >= 1.0 - np.minimum(3.0 / ess.min(axis=-1), 0.5))
    if not doubtful.any():
        return ""
    lowest = np.where(doubtful, probability, np.inf)
    at = np.unravel_index(int(lowest.argmin()), lowest.shape)
    return (
        f"{count}, and at {doubtful.sum()} of these the reference is not that certain (probability {probability[at]:.2g} at "
        f"t = {at[-1]}): the sampler cannot move it there, or does so too seldom"
    )


def _stuck_vectors(here: xr.Dataset, there: xr.Dataset | None) -> str:
    """The same for continuous states: components that never varied, and that are not certain under the reference."""
    never = _known(here)
    if not never.any():
        return ""
    if there is not None and "smoothed_covariance" in there and there["smoothed"].shape == never.shape:
        never &= ~_known(there)
    return f"{never.sum()} components of the states never varied, and are not certain" if never.any() else ""


def _known(beliefs: xr.Dataset) -> np.ndarray:
    """Which components have no variance beyond rounding error, (..., time, dim)."""
    variance = np.diagonal(beliefs["smoothed_covariance"].values, axis1=-2, axis2=-1)
    return np.asarray(variance <= (1e-10 * (1.0 + np.abs(beliefs["smoothed"].values))) ** 2)


def _numbered(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"


def _particles(candidate: xr.DataTree) -> Finding:
    """The fewest effective particles at any step, and how much the log evidence varies between replicates."""
    said, terms = candidate.attrs, candidate["log_likelihood"].to_dataset()["log_predictive"]
    each = terms.sum([dim for dim in terms.dims if dim != "chain"]).values
    spread = float(each.std(ddof=1)) if each.size > 1 and np.isfinite(each).all() else np.inf
    fewest, number, at = float(said["smallest_ess"]), int(said["num_particles"]), f"t = {said['smallest_ess_time']}"
    why = f"at least {fewest:.0f} effective particles of {number} ({at}); log evidence of a replicate +- {spread:.2g} nats"
    verdict: Verdict = "agrees"
    if said["replicates_lost"] or not fewest >= ESS_PER_CHAIN or spread > SPREAD:
        factor = max(
            ESS_PER_CHAIN / max(fewest, 1.0) if np.isfinite(fewest) else 10.0,
            spread**2 / SPREAD**2 if np.isfinite(spread) else 10.0,
            2.0,
        )
        verdict, why = "undecided", f"{why}; about {int(np.ceil(number * factor)):,} particles would do"
    return Finding(
        candidate=said["engine"], reference="itself", quantity="convergence", about="particles", n=int(terms.sizes["time"]),
        worst=at, distance=fewest, tolerance=float(ESS_PER_CHAIN), unit="effective particles", verdict=verdict, why=why,
    )  # fmt: skip


def _variational(candidate: xr.DataTree) -> Finding:
    k, change = candidate.attrs["pareto_k"], candidate.attrs["loss_change"]
    verdict: Verdict = "agrees"
    why = f"Pareto k-hat {k:.2f}: reweighting the guide's draws is reliable"
    if not np.isfinite(k) or k > PARETO_K:
        verdict, why = "undecided", f"Pareto k-hat {k:.2f} (at most {PARETO_K}): the guide's tails miss the posterior's"
    if change > 5.0:
        why += f"; the ELBO still rose at the end ({change:.0f} standard errors): more steps may help"
    return Finding(
        candidate=candidate.attrs["engine"], reference="itself", quantity="convergence", about="reweighting", distance=float(k),
        tolerance=PARETO_K, unit="Pareto k-hat", verdict=verdict, why=why,
    )  # fmt: skip
