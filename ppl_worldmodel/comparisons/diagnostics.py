"""Diagnostics of a comparison: convergence of draws, invariants, and the length of series that tells models apart."""

from collections.abc import Mapping

import jax
import numpy as np
import xarray as xr

from ppl_worldmodel.checks.check import as_dataset, check, from_dataset
from ppl_worldmodel.checks.convergence import RHAT, RHAT_APART
from ppl_worldmodel.checks.verdict import DRAWS, FAILED
from ppl_worldmodel.comparisons.fit import Fit
from ppl_worldmodel.comparisons.sample_size import StepsToTell, steps_to_tell
from ppl_worldmodel.comparisons.stateless_baselines import SIMULATED
from ppl_worldmodel.errors import WorldModelError
from ppl_worldmodel.identifiability.invariants import invariants, summary
from ppl_worldmodel.labels.aligned_results import posterior_mean
from ppl_worldmodel.program.arguments import check_arguments
from ppl_worldmodel.program.reading import observed_arguments

SIMULATED_STEPS = 5000  # in series as long as the data, two of them at least
FEW = 250  # draws of a chain: enough for R-hat and quantiles of the invariants


def trust(fits: Mapping[str, Fit]) -> xr.Dataset:
    """The findings of every model's own draws: convergence and, where states have no names, labels. `candidate` is the model."""
    found = [
        finding._replace(candidate=name)
        for name, fit in fits.items()
        if fit.space.size
        for finding in check(fit.result)
    ]
    return as_dataset(tuple(found))


def doubts(checks: xr.Dataset) -> list[str]:
    """Reasons to doubt the scores, a sentence each: draws that have not converged, models or parts that failed.

    checks  the findings as a Dataset
    """
    if "row" not in checks.sizes:
        return []
    return [
        f"{finding.candidate}: {'' if finding.about in FAILED else 'the draws have not converged: '}{finding.why}"
        for finding in from_dataset(checks)
        if finding.about in (*DRAWS, *FAILED) and finding.verdict != "agrees"
    ]


def without_names(fit: Fit) -> xr.Dataset:
    """The summary of `invariants`, which do not depend on the names of the states.

    The attribute `modes` says whether the chains agree in them: if they do not, they found modes of the posterior that are not
    relabellings of each other.
    """
    posterior = fit.result["posterior"].to_dataset()
    draws = {name: posterior[name].values for name in fit.space.names}
    every = max(1, next(iter(draws.values())).shape[1] // FEW)
    table = summary(invariants(fit.reading, {name: values[:, ::every] for name, values in draws.items()}))
    rhats = {
        str(name): float(values.sel(statistic="rhat").max()) for name, values in table.data_vars.items() if values.size
    }
    known = {name: value for name, value in rhats.items() if np.isfinite(value)}
    if not known:
        return table.assign_attrs(modes="one chain says nothing about other modes")
    worst = max(known, key=lambda name: known[name])
    which = f"R-hat {known[worst]:.3f}, of {worst}"
    if known[worst] <= RHAT:
        said = f"the chains agree in the invariants (largest {which})"
    elif known[worst] <= RHAT_APART:
        said = f"the chains are too short to say whether they agree in the invariants (largest {which})"
    else:
        said = (
            f"the chains differ in the invariants (largest {which}): there are modes of the posterior that are not "
            "relabellings of each other, or the chains are far too short"
        )
    return table.assign_attrs(modes=said)


def apart(one: Fit, other: Fit, key: jax.Array) -> StepsToTell | str:
    """The length of series that tells two models apart, each at its posterior mean, if the first is true; or why it is unknown."""
    try:
        for fit in (one, other):
            check_arguments(fit.reading.model, _given(fit), remedy=SIMULATED)
        return steps_to_tell(
            one.reading.model,
            posterior_mean(one.reading, one.result),
            other.reading.model,
            posterior_mean(other.reading, other.result),
            key,
            num_steps=(steps := one.result["log_likelihood"]["log_predictive"].sizes["time"]),
            num_series=max(2, -(-SIMULATED_STEPS // steps)),
            arguments=_given(one),
            arguments_b=_given(other),
        )
    except WorldModelError as error:
        return str(error)
    except Exception as error:  # this is no part of the scores: its failure must not stop the comparison
        return f"it could not be computed ({type(error).__name__}: {error})"


def _given(fit: Fit) -> dict:
    """The arguments of the program other than its observations."""
    observed = observed_arguments(fit.reading)
    return {name: value for name, value in fit.reading.data.items() if name not in observed}
