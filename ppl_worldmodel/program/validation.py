"""Validation with concrete numbers: rows that sum to one, supports, masks; computed beside the system, then raised."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ppl_worldmodel.errors import DataError, NotExactlySolvable
from ppl_worldmodel.exact import gaussian
from ppl_worldmodel.exact.system import FiniteState, LinearGaussian
from ppl_worldmodel.program.batch import Batch
from ppl_worldmodel.program.finite.state_table import Table, spread
from ppl_worldmodel.program.finite.transition import at
from ppl_worldmodel.program.intercept import Beginning
from ppl_worldmodel.program.likelihood import normalisation_error, outside_support, unmasked
from ppl_worldmodel.program.sites import Sample
from ppl_worldmodel.program.step import Step

MOST_CASES = 4096


class Faults(NamedTuple):
    """sums     {what must sum to one: the sums}
    outside  {observed site: is the observation outside the support, (time,)}
    misses   {observed site: by how much its probabilities miss one, (time,)}
    masked   {Gaussian latent site: is it masked, (time, *sequence)}; `seen`: is anything observed, (time, *sequence)
    missing  {observed site: how many of its entries are missing or masked}
    """

    sums: dict[str, Array]
    outside: dict[str, Array]
    misses: dict[str, Array]
    masked: dict[str, Array]
    seen: Array
    missing: dict[str, Array]


def faults_of(
    system: FiniteState | LinearGaussian, step: Step, beginning: Beginning, batch: Batch, table: Table | None
) -> Faults:
    """All that can be wrong, measured."""
    latents = {name: site.value for name, site in step.latents.items()}

    def observed(state: dict[int, Array], drawn: dict[str, Array], inputs: Any) -> tuple[dict, dict]:
        found = step.run(spread(state, step.before), spread(drawn, latents), inputs)[1]
        outside = {name: outside_support(found[name].fn, found[name].value) for name in step.observed}
        return outside, {name: normalisation_error(found[name].fn) for name in step.observed}

    def masks(inputs: Any) -> tuple[dict[str, Array], Array, dict[str, Array]]:
        found = step.run(step.before, latents, inputs)[1]
        split = [name for name in latents if name.removesuffix("_unobserved") + "_observed" in step.observed]
        masked = {name: ~_present(found[name], batch).all(axis=-1) for name in latents if name not in split}
        present = {name: _present(found[name], batch) for name in step.observed}
        seen = jnp.stack([jnp.zeros(batch.ends, bool), *(entries.any(axis=-1) for entries in present.values())])
        return masked, seen.any(axis=0), {name: (~entries).sum() for name, entries in present.items()}

    masked, seen, gaps = jax.vmap(masks, axis_size=step.scan.length)(step.series)
    missing = {name: counts.sum() for name, counts in gaps.items()}
    if table is None:
        _, every = jax.vmap(lambda inputs: observed(step.before, latents, inputs), axis_size=step.scan.length)(
            step.series
        )
        for name, site in beginning.sites.items():
            if name.removesuffix("_unobserved") + "_observed" not in beginning.seen:
                ended = ~_present(site, batch).all(axis=-1)
                masked[name] = jnp.broadcast_to(ended, (step.scan.length, *batch.ends))
        return Faults({}, {}, every, masked, seen, missing)
    assert isinstance(system, FiniteState)
    sums = {
        f"the transition of site {', '.join(map(repr, latents)) or 'none'}": system.transition.sum(axis=-1),
        "the distribution of the initial state": system.initial.sum(axis=-1),
    }
    outside: dict[str, Array] = {}
    misses: dict[str, Array] = {}
    possible = table.possible()
    k, m = np.nonzero(possible.reshape(-1, *possible.shape[-2:]).any(axis=0))
    if k.size <= MOST_CASES:

        def in_every_case(inputs: Any) -> tuple[dict, dict]:
            each = jax.vmap(lambda k, m: observed(at(table.states, k), at(table.outcomes, m), inputs))(k, m)
            return jax.tree.map(lambda flags: flags.all(), each[0]), jax.tree.map(lambda values: values.max(), each[1])

        outside, misses = jax.vmap(in_every_case, axis_size=step.scan.length)(step.series)
    return Faults(sums, outside, misses, {}, seen, missing)


def _present(site: Sample, batch: Batch) -> Array:
    """Which entries of a site are neither masked nor NaN, (*sequence, entry)."""
    present = unmasked(site.fn, np.shape(site.value))
    if jnp.issubdtype(jnp.result_type(site.value), jnp.inexact):
        present = present & ~jnp.isnan(site.value)
    return batch.front(present, site.fn.event_dim)


def raise_faults(faults: Faults) -> None:
    for name, masked in faults.masked.items():
        ended = np.logical_or.accumulate(np.asarray(masked), axis=0) & np.asarray(faults.seen)
        if ended.any():
            raise NotExactlySolvable(
                f"the latent site '{name}' is masked at or before time step {int(np.argwhere(ended)[0][0])} (from 0), where "
                "something is observed: a mask on a Gaussian state can only end a sequence: mask what is observed from then on, too"
            )
    for what, sums in faults.sums.items():
        wrong = ~(np.abs(np.asarray(sums)) < np.inf) | (np.abs(np.asarray(sums) - 1.0) > 1e-6)
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(np.atleast_1d(wrong))[0])
            row = f"row {list(at)} sums" if np.ndim(sums) else "it sums"
            raise DataError(
                f"{what} does not sum to one: {row} to {np.atleast_1d(sums)[at]:.6g}; make every row sum to one"
            )
    for name, outside in faults.outside.items():
        if np.any(outside):
            raise DataError(
                f"the observation of site '{name}' at time step {int(np.argmax(outside))} (counted from 0) is outside the "
                "support of its distribution: check the data (categories count from 0; of a vector with dependent "
                "components all or none may be missing)"
            )
    for name, misses in faults.misses.items():
        if np.any(~(np.asarray(misses) <= 1e-6)):
            raise DataError(
                f"the probabilities of site '{name}' miss a sum of one by {float(np.max(misses)):.3g}: make every row sum to one"
            )


def raise_nan(system: FiniteState | LinearGaussian) -> None:
    for name, array in system._asdict().items():
        if name not in ("observations", "structure") and array is not None and np.isnan(np.asarray(array)).any():
            where = np.argwhere(np.isnan(np.asarray(array)))[0].tolist()
            raise DataError(
                f"the program's {name} is NaN at {where}: a NaN is allowed only where an observation is missing (all of it, if its "
                "components depend on each other); look for one in actions, covariates or parameters"
            )
    if isinstance(system, LinearGaussian) and system.diffuse is not None:
        undetermined = np.isnan(np.asarray(gaussian.evidence(system)).sum(axis=-1))
        if undetermined.any():
            raise DataError(
                f"the observations do not determine the diffuse first state ({', '.join(map(repr, system.structure.initials))}): "
                "give it a proper prior, or more observations"
            )
