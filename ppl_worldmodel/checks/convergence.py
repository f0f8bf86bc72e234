"""Can the draws be trusted at all?  The gate before every other check: R-hat, effective sample sizes, divergences, Pareto k.

Thresholds: R-hat 1.01 and 100 effective draws a chain in bulk and tails (Vehtari et al. 2021, Bayesian Analysis 16); k-hat 0.7
(Yao et al. 2018, "Yes, but did it work?"). An R-hat that is not a number counts as failed, except where a quantity never varied
in any chain (a state that is certain). Between 1.01 and 1.05, where chains that are merely short also come, it is `undecided`.
"""

import arviz_stats  # noqa: F401  (registers the accessor `.azstats`)
import numpy as np
import xarray as xr

from ppl_worldmodel.checks.verdict import Finding, Verdict

RHAT, RHAT_APART, ESS_PER_CHAIN, PARETO_K = 1.01, 1.05, 100, 0.7
ROUNDING = 1e-13  # relative: a probability that is always 1 may be computed as a little less
SPREAD = 1.0  # nats: particles whose evidence varies more are too few (Pitt et al. 2012, J. Econometrics 171)


def findings(candidate: xr.DataTree) -> list[Finding]:
    """One finding about the draws of an engine; none for the exact engine, which draws nothing."""
    if candidate.attrs["engine"] == "exact":
        return []
    if candidate.attrs["engine"] == "smc":
        return [_particles(candidate)]
    if "pareto_k" in candidate.attrs:
        return [_variational(candidate)]
    return [_markov_chain(candidate)]


def converged(candidate: xr.DataTree) -> Verdict:
    """The verdict on the draws. An approximation passes when its ELBO is finite: its bias is another check's question."""
    if candidate.attrs["engine"].startswith("svi"):
        return "agrees" if np.isfinite(candidate.attrs["elbo"]) else "disagrees"
    (verdict,) = {finding.verdict for finding in findings(candidate)} or {"agrees"}
    return verdict


def diagnostics(candidate: xr.DataTree) -> xr.Dataset:
    """R-hat, bulk and tail ESS of every entry of the posterior, stacked: dims (entry,), coordinate `entry` says which."""
    columns: dict[str, list[np.ndarray]] = {"rhat": [], "ess_bulk": [], "ess_tail": [], "varies": []}
    labels: list[str] = []
    for name, draws in candidate["posterior"].to_dataset().data_vars.items():
        values = draws.astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):  # constants and infinities are told apart below
            size = abs(values).max(("chain", "draw")).values
            # What is infinite or no number has no standard deviation, and counts as varying.
            columns["varies"].append(np.ravel(~(values.std(("chain", "draw")).values <= ROUNDING * size)))
            columns["rhat"].append(np.ravel(values.azstats.rhat().values))
            columns["ess_bulk"].append(np.ravel(values.azstats.ess(method="bulk").values))
            columns["ess_tail"].append(np.ravel(values.azstats.ess(method="tail").values))
        labels.extend(f"{name}{list(index) if index else ''}" for index in np.ndindex(*draws.shape[2:]))
    return xr.Dataset(
        {name: ("entry", np.concatenate(parts)) for name, parts in columns.items()}, coords={"entry": labels}
    )


def _discrete(draws: xr.DataArray) -> bool:
    return bool(np.issubdtype(draws.dtype, np.integer))


def _markov_chain(candidate: xr.DataTree) -> Finding:
    table = diagnostics(candidate)
    varying = table.isel(entry=np.flatnonzero(table["varies"].values))
    constant = table.sizes["entry"] - varying.sizes["entry"]
    sizes = candidate["posterior"].sizes
    chains, draws = sizes["chain"], sizes["chain"] * sizes["draw"]
    rhat = np.where(np.isnan(varying["rhat"].values), np.inf, varying["rhat"].values)
    discrete = all(_discrete(values) for values in candidate["posterior"].to_dataset().data_vars.values())
    ess = varying["ess_bulk"].values if discrete else np.minimum(varying["ess_bulk"].values, varying["ess_tail"].values)
    ess = np.nan_to_num(ess, nan=0.0)
    if rhat.size == 0:
        rhat, ess = np.array([1.0]), np.array([float(draws)])
    stats = candidate["sample_stats"] if "sample_stats" in candidate.children else None
    divergences = int(stats["diverging"].sum()) if stats is not None and "diverging" in stats.data_vars else 0
    worst = str(varying["entry"].values[int(np.argmax(rhat))]) if varying.sizes["entry"] else "-"
    verdict: Verdict = "agrees"
    why = f"R-hat at most {rhat.max():.3f}, at least {ess.min():.0f} effective draws of {draws}"
    if not varying.sizes["entry"] and constant:
        verdict, why = (
            "undecided",
            "no draw ever moved: the states are certain, or the sampler cannot leave where it started",
        )
    elif rhat.max() > RHAT_APART:
        verdict, why = "disagrees", f"the chains disagree: R-hat {rhat.max():.3f} at {worst} (at most {RHAT})"
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
    if constant and varying.sizes["entry"]:
        why += f"; {constant} entries never varied"
    return Finding(
        candidate.attrs["engine"], "itself", "convergence", int(table.sizes["entry"]), worst, float("nan"), float("nan"),
        float(rhat.max()), float(ess.min()), RHAT, "R-hat", verdict, why,
    )  # fmt: skip


def _particles(candidate: xr.DataTree) -> Finding:
    """The fewest effective particles at any step, and how much the log evidence varies between replicates."""
    said, terms = candidate.attrs, candidate["log_likelihood"].to_dataset()["log_predictive"]
    each = terms.sum([dim for dim in terms.dims if dim != "chain"]).values
    spread = float(each.std(ddof=1)) if each.size > 1 and np.isfinite(each).all() else np.inf
    fewest, number, at = float(said["smallest_ess"]), int(said["num_particles"]), f"t = {said['smallest_ess_time']}"
    why = f"at least {fewest:.0f} effective particles of {number} ({at}); log evidence of a replicate +- {spread:.2g} nats"
    verdict: Verdict = "agrees"
    if said["replicates_lost"] or fewest < ESS_PER_CHAIN or spread > SPREAD:
        factor = max(ESS_PER_CHAIN / max(fewest, 1.0), spread**2 / SPREAD**2 if np.isfinite(spread) else 10.0, 2.0)
        verdict, why = "undecided", f"{why}; about {int(np.ceil(number * factor)):,} particles would do"
    return Finding(
        said["engine"], "itself", "convergence", int(terms.sizes["time"]), at, float("nan"), float("nan"), fewest,
        float("nan"), float(ESS_PER_CHAIN), "effective particles", verdict, why,
    )  # fmt: skip


def _variational(candidate: xr.DataTree) -> Finding:
    k, change = candidate.attrs["pareto_k"], candidate.attrs["loss_change"]
    verdict: Verdict = "agrees"
    why = f"Pareto k-hat {k:.2f}: reweighting the guide's draws is reliable"
    if not np.isfinite(k) or k > PARETO_K:
        verdict, why = "disagrees", f"Pareto k-hat {k:.2f} (at most {PARETO_K}): the guide's tails miss the posterior's"
    if change > 5.0:
        why += f"; the ELBO still rose at the end ({change:.0f} standard errors): more steps may help"
    return Finding(
        candidate.attrs["engine"], "itself", "convergence", 1, "-", float("nan"), float("nan"), float(k), float("nan"), PARETO_K,
        "Pareto k-hat", verdict, why,
    )  # fmt: skip
