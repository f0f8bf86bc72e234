"""Label switching undone in an engine's result: the same DataTree, relabelled draw by draw to the names of a reference.

The group `alignment` holds the relabelling: `order` (chain, draw, state), the state of the original draw that got each name, so
that nothing is lost; `margin` (chain, draw), the cost of the next best naming in nats; `reference` (step, state), the occupancies
aligned to. Its attributes count how often the chains switched, and give R-hat before and after.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import arviz_stats  # noqa: F401  (registers the accessor `.azstats`)
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ppl_worldmodel.infer.beliefs import of_parameter_draws
from ppl_worldmodel.infer.result_tree import PARAMETERS
from ppl_worldmodel.labels.alignment import Alignment, align, occupancies, relabelled
from ppl_worldmodel.labels.factor_alignment import align_factors, described, smoothed_means
from ppl_worldmodel.labels.factor_symmetry import FactorSymmetry, factor_symmetry, moved
from ppl_worldmodel.labels.relabelling import Relabelling, relabelling
from ppl_worldmodel.labels.state_axes import with_state_axes
from ppl_worldmodel.program.coordinates import computed_sites
from ppl_worldmodel.program.reading import Reading

LABELLING = "states have one name in all draws"  # attribute of a result that is relabelled, or need not be


def aligned(
    result: xr.DataTree,
    reading: Reading,
    names: Relabelling,
    reference: Mapping[str, Any] | xr.DataTree | None = None,
) -> xr.DataTree:
    """The result of an engine that learned parameters, with its draws and beliefs relabelled.

    reference  parameter values, or another result that was aligned, whose names are taken; None: those the draws settle on
    """
    posterior = result["posterior"].to_dataset()
    draws = {name: posterior[name].values for name in names.axes}
    occupied = occupancies(reading, draws)
    told = align(occupied, _reference(reference, reading), pivot=_pivot(result))
    renamed = {name: relabelled(draws[name], told.order, axes) for name, axes in names.axes.items()}
    return _with_draws(result, reading, renamed, _described(told, draws, renamed))


def aligned_factors(
    result: xr.DataTree,
    reading: Reading,
    free: FactorSymmetry,
    reference: Mapping[str, Any] | xr.DataTree | None = None,
) -> xr.DataTree:
    """The result of an engine that learned parameters, with the factors of every draw turned to those of the reference.

    reference  as for `aligned`
    """
    posterior = result["posterior"].to_dataset()
    draws = {name: posterior[name].values for name in reading.parameters}
    known = None
    if isinstance(reference, xr.DataTree):
        known = reference["alignment"].to_dataset()["reference"].values
    elif reference is not None:
        known = smoothed_means(reading, reference, lead=0)
    told = align_factors(smoothed_means(reading, draws), free.group, known, pivot=_pivot(result))
    turned = {name: moved(values, free.axes[name], told.rotation) for name, values in draws.items()}
    said = described(told, free.group).assign_attrs(rhat_before=worst_rhat(draws), rhat_after=worst_rhat(turned))
    return _with_draws(result, reading, turned, said)


def _with_draws(
    result: xr.DataTree, reading: Reading, draws: dict[str, np.ndarray], alignment: xr.Dataset
) -> xr.DataTree:
    """The result at these draws of its parameters: what is computed from them and the beliefs, too."""
    posterior = result["posterior"].to_dataset()
    changed = draws | _computed(reading, draws, [str(name) for name in posterior.data_vars if name not in draws])
    found = result.copy()
    found["posterior"] = xr.DataTree(
        posterior.assign({name: (posterior[name].dims, values) for name, values in changed.items()})
    )
    found["beliefs"] = xr.DataTree(xr.Dataset(of_parameter_draws(reading, draws)[0], attrs=result["beliefs"].attrs))
    found["alignment"] = xr.DataTree(alignment)
    return found


def in_one_labelling(
    reading: Reading, results: Mapping[str, xr.DataTree], truth: Mapping[str, Any] | None
) -> dict[str, xr.DataTree]:
    """The results of several engines with the same names of the states, or the same factors, if the program leaves these
    open, and with the axes of the states named in their posteriors. Those that are relabelled already stay as they are, and lend
    their names to the others.

    truth  parameter values whose names are taken; None: those of the first engine that learned parameters
    """
    names, free = relabelling(reading), factor_symmetry(reading)
    found: dict[str, xr.DataTree] = {}
    told = [result for result in results.values() if "alignment" in result.children]
    reference: Mapping[str, Any] | xr.DataTree | None = told[0] if told and truth is None else truth
    for name, result in results.items():
        learned = result.attrs["question"] == PARAMETERS and (free or (names is not None and names.exchangeable))
        if learned and "alignment" not in result.children:
            if free is not None:
                result = aligned_factors(result, reading, free, reference)
            elif names is not None:
                result = aligned(result, reading, names, reference)
        reference = result if learned and reference is None else reference
        found[name] = result if "labelling" in result.attrs else with_state_axes(result, names).copy()
        found[name].attrs["labelling"] = LABELLING
    return found


def posterior_mean(reading: Reading, result: xr.DataTree) -> dict[str, np.ndarray]:
    """The posterior mean of each parameter. Draws in which a state has several names are relabelled first.

    A mean over draws that call the same state by different names is near none of them.
    """
    if not reading.parameters:
        return {}
    if "labelling" not in result.attrs:
        result = in_one_labelling(reading, {"it": result}, None)["it"]
    posterior = result["posterior"].to_dataset()
    return {name: posterior[name].mean(("chain", "draw")).values for name in reading.parameters}


def _computed(reading: Reading, draws: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
    """What the program computes from its parameters (`numpyro.deterministic`), anew at every draw (chain, draw, ...)."""
    if not names:
        return {}

    def one(parameters: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        sites = computed_sites(reading, parameters)
        return {name: sites[name] for name in names}

    lead = next(iter(draws.values())).shape[:2]
    flat = {name: jnp.asarray(values.reshape(-1, *values.shape[2:])) for name, values in draws.items()}
    found = jax.jit(lambda flat: jax.lax.map(one, flat, batch_size=100))(flat)
    return {name: np.asarray(values).reshape(*lead, *values.shape[1:]) for name, values in found.items()}


def _reference(reference: Mapping[str, Any] | xr.DataTree | None, reading: Reading) -> np.ndarray | None:
    if reference is None:
        return None
    if isinstance(reference, xr.DataTree):
        return reference["alignment"].to_dataset()["reference"].values
    return occupancies(reading, reference, lead=0)


def _pivot(result: xr.DataTree) -> tuple[int, int]:
    """The draw of the highest likelihood."""
    if "log_likelihood" not in result.children:
        return 0, 0
    terms = result["log_likelihood"].to_dataset()["log_predictive"].values
    total = terms.reshape(*terms.shape[:2], -1).sum(axis=-1)
    chain, draw = np.unravel_index(int(total.argmax()), total.shape)
    return int(chain), int(draw)


def _described(told: Alignment, before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> xr.Dataset:
    rivals, counts = np.unique(
        told.rival.reshape(-1, 2)[told.margin.ravel() <= np.median(told.margin)], axis=0, return_counts=True
    )
    return xr.Dataset(
        {
            "order": (("chain", "draw", "state"), told.order),
            "margin": (("chain", "draw"), told.margin),
            "reference": (("step", "state"), told.reference),
        },
        attrs={
            "labellings": told.labellings,
            "switches": told.switches,
            "unclear": told.unclear,
            "rivals": rivals[counts.argmax()].tolist(),
            "rhat_before": worst_rhat(before),
            "rhat_after": worst_rhat(after),
        },
    )


def worst_rhat(draws: Mapping[str, np.ndarray]) -> float:
    """The largest R-hat of any entry that varies; NaN with a single chain."""
    found = []
    for values in draws.values():
        flat = values.reshape(*values.shape[:2], -1)
        varying = flat[..., np.ptp(flat, axis=(0, 1)) > 0]
        if varying.shape[-1]:
            array = xr.DataArray(varying, dims=("chain", "draw", "entry"))
            found.append(float(array.azstats.rhat().max()))
    return max(found, default=float("nan"))
