"""What are T and the likelihood of a program whose state has finitely many values?  Its step, mapped over the state's support."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.exact.system import FiniteState, Order, Structure
from ppl_worldmodel.program.dependence import dependence
from ppl_worldmodel.program.likelihood import log_prob, probabilities
from ppl_worldmodel.program.sites import Sample, Scan, run_step
from ppl_worldmodel.program.step import Step, kind


def read_finite(scan: Scan, initial: dict[int, Sample], step: Step) -> FiniteState:
    """The system of a scan that carries one discrete site; `step` says which leaf of the carry it is."""
    if len(step.states) != 1:
        names = ", ".join(f"'{site.name}'" for site in step.states.values())
        raise NotExactlySolvable(f"the step carries several discrete sites ({names}): combine them into one state")
    ((leaf, site),) = step.states.items()
    if not site.fn.has_enumerate_support:
        raise NotExactlySolvable(
            f"the states of site '{site.name}' ({kind(site.fn)}) cannot be listed: its support is not finite"
        )
    support = site.fn.enumerate_support(expand=False).reshape(-1)

    def run(old: Array, new: Array, inputs: Any) -> list[Sample]:
        carry, inputs = step.carry(inputs, {leaf: support[old]})
        return run_step(scan.step, carry, inputs, {site.name: support[new]})[2]

    def row(old: Array, inputs: Any) -> Array:
        latent = next(found for found in run(old, jnp.asarray(0), inputs) if found.name == site.name)
        return probabilities(latent.fn).reshape(-1)

    def likelihood(old: Array, new: Array, inputs: Any) -> Array:
        return sum((site_log_prob(found) for found in run(old, new, inputs) if found.observed), jnp.zeros(()))

    def site_log_prob(found: Sample) -> Array:
        terms = log_prob(found.fn, found.value).sum()
        return terms if found.scale is None else terms * found.scale

    series, first, index = step.series, step.first(), jnp.arange(support.shape[0])
    old, new = index[0], index[0]
    homogeneous = 1 not in dependence(row, old, first)
    rows = jax.vmap(row, in_axes=(0, None))
    each = jax.vmap(lambda inputs: rows(index, inputs), axis_size=scan.length)
    transition = rows(index, first) if homogeneous else each(series)

    needs = dependence(likelihood, old, new, first)
    order: Order = "transition first"
    if 0 in needs:
        order = "both states" if 1 in needs else "emission first"
    states = {
        "transition first": lambda inputs: jax.vmap(lambda new: likelihood(old, new, inputs))(index),
        "emission first": lambda inputs: jax.vmap(lambda old: likelihood(old, new, inputs))(index),
        "both states": lambda inputs: jax.vmap(lambda old: jax.vmap(lambda new: likelihood(old, new, inputs))(index))(
            index
        ),
    }[order]
    log_likelihood = jax.vmap(states, axis_size=scan.length)(series)

    structure = Structure(
        order=order,
        varying=frozenset() if homogeneous else frozenset({"transition"}),
        states=(site.name,),
        initials=tuple(found.name for found in initial.values()),
        observed=step.observed,
        about=(("state", f"site '{site.name}', {kind(site.fn)}; {_first_state(initial, leaf)}"), *step.about),
    )
    return FiniteState(_initial(scan, initial, leaf, support), transition, log_likelihood, structure)


def _initial(scan: Scan, initial: dict[int, Sample], leaf: int, support: Array) -> Array:
    if leaf in initial:
        return probabilities(initial[leaf].fn).reshape(-1)
    return (support == jax.tree.leaves(scan.init)[leaf]).astype(jnp.float_)


def _first_state(initial: dict[int, Sample], leaf: int) -> str:
    return f"first state from '{initial[leaf].name}'" if leaf in initial else "first state known"
