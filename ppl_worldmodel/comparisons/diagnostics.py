"""What else is to be known of compared models?  Whether their draws can be trusted, and how long it takes to tell them apart."""

from collections.abc import Mapping

import jax
import numpy as np
import xarray as xr

from ppl_worldmodel.checks.check import as_dataset, check, from_dataset
from ppl_worldmodel.checks.convergence import RHAT, RHAT_APART
from ppl_worldmodel.comparisons.fit import Fit
from ppl_worldmodel.comparisons.sample_size import StepsToTell, steps_to_tell
from ppl_worldmodel.comparisons.stateless_baselines import SIMULATED, observed_arguments
from ppl_worldmodel.errors import WorldModelError
from ppl_worldmodel.files.load import check_arguments
from ppl_worldmodel.identifiability.invariants import invariants, summary
from ppl_worldmodel.labels.aligned_results import posterior_mean

SIMULATED_STEPS = 5000  # in series as long as the data, two of them at least
FEW = 250  # draws of a chain: enough for R-hat and quantiles of what names do not touch


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
    """What speaks against the scores, a sentence each: draws that have not converged, models or parts that failed.

    checks  the findings as a Dataset
    """
    if "row" not in checks.sizes:
        return []
    return [
        f"{finding.candidate}: {'' if finding.quantity == 'run' else 'the draws have not converged: '}{finding.why}"
        for finding in from_dataset(checks)
        if finding.quantity in ("convergence", "run") and finding.verdict != "agrees"
    ]


def without_names(fit: Fit) -> xr.Dataset:
    """What the draws say of the system whatever its states are called: the summary of `invariants`, and `modes`.

    The attribute `modes` says whether the chains agree in these: if they do not, they found modes of the posterior that are no
    relabellings of each other.
    """
    posterior = fit.result["posterior"].to_dataset()
    draws = {name: posterior[name].values for name in fit.space.names}
    every = max(1, next(iter(draws.values())).shape[1] // FEW)
    table = summary(invariants(fit.model, fit.data, {name: values[:, ::every] for name, values in draws.items()}))
    rhats = {
        str(name): float(values.sel(statistic="rhat").max()) for name, values in table.data_vars.items() if values.size
    }
    known = {name: value for name, value in rhats.items() if np.isfinite(value)}
    if not known:
        return table.assign_attrs(modes="one chain says nothing about other modes")
    worst = max(known, key=lambda name: known[name])
    which = f"R-hat {known[worst]:.3f}, of {worst}"
    if known[worst] <= RHAT:
        said = f"the chains agree in what needs no names (largest {which})"
    elif known[worst] <= RHAT_APART:
        said = f"the chains are too short to say whether they agree in what needs no names (largest {which})"
    else:
        said = (
            f"the chains differ in what needs no names (largest {which}): there are modes of the posterior that are no "
            "relabellings of each other, or the chains are far too short"
        )
    return table.assign_attrs(modes=said)


def apart(one: Fit, other: Fit, key: jax.Array) -> StepsToTell | str:
    """How long a series tells two models apart, each at its posterior mean, if the first is true; or why that is not known."""
    try:
        for fit in (one, other):
            check_arguments(fit.model, _given(fit), remedy=SIMULATED)
        return steps_to_tell(
            one.model,
            posterior_mean(one.model, one.data, one.result, one.space.names),
            other.model,
            posterior_mean(other.model, other.data, other.result, other.space.names),
            key,
            num_steps=(steps := one.result["log_likelihood"]["log_predictive"].sizes["time"]),
            num_series=max(2, -(-SIMULATED_STEPS // steps)),
            arguments=_given(one),
            arguments_b=_given(other),
        )
    except WorldModelError as error:
        return str(error)
    except Exception as error:  # a question beside the comparison: it must not cost the comparison
        return f"it could not be computed ({type(error).__name__}: {error})"


def _given(fit: Fit) -> dict:
    """What the program takes beside its observations."""
    observed = observed_arguments(fit.model, fit.data, fit.system.structure)
    return {name: value for name, value in fit.data.items() if name not in observed}
