"""What are T and the likelihood of a program whose state has finitely many values?  Its step, mapped over states and outcomes."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ppl_worldmodel.exact.system import FiniteState, Order, Structure
from ppl_worldmodel.program.batch import Batch
from ppl_worldmodel.program.dependence import dependence
from ppl_worldmodel.program.intercept import Beginning
from ppl_worldmodel.program.likelihood import log_density, probabilities
from ppl_worldmodel.program.sites import Sample, is_delta
from ppl_worldmodel.program.step import Step, kind
from ppl_worldmodel.program.table import Listed, Table, label, spread


def read_finite(step: Step, beginning: Beginning, batch: Batch, table: Table) -> FiniteState:
    """The system of a step whose latent sites are discrete. `batch`: the shape of the axes that are independent sequences."""
    size, index = table.states.size, np.arange(table.states.size)
    outcome = _outcome(step, batch, table)
    series, first, steps = step.series, step.first(), step.scan.length

    def move(inputs: Any, following: Any) -> Array:
        """p(s' | s), (*sequence, state, state)."""
        chances = jax.vmap(lambda k: outcome(k, inputs), out_axes=-2)(index)
        if following is None:
            return chances
        return _gathered(chances, following, size)

    plain = table.starts is None
    following = None if plain else jnp.asarray(table.following)
    homogeneous = 2 not in dependence(lambda k, _, inputs: outcome(k, inputs), 0, 0, first) and not table.by_time
    if homogeneous:
        transition = move(first, following)
    elif table.by_time:
        transition = jax.vmap(move, axis_size=steps)(series, following)
    else:
        transition = jax.vmap(lambda inputs: move(inputs, following), axis_size=steps)(series)

    order, log_likelihood = _likelihood(step, batch, table, transition, homogeneous)
    initial, log_seen = _initial(step, beginning, batch, table)
    if beginning.seen:  # what was seen before the first step belongs to that step's log predictive
        first_step = (Ellipsis, 0, *[slice(None)] * (2 if order == "both states" else 1))
        shift = jnp.expand_dims(log_seen, tuple(range(log_seen.ndim, log_likelihood.ndim - 1)))
        log_likelihood = log_likelihood.at[first_step].add(shift)
    if batch and not homogeneous:
        transition = jnp.swapaxes(transition, 0, 1)
    structure = Structure(
        order=order,
        varying=frozenset() if homogeneous else frozenset({"transition"}),
        states=step.drawn(),
        initials=tuple(beginning.sites),
        observed=step.observed,
        sequences=batch.count if batch else 0,
        factors=tuple(step.names.values()),
        labels=tuple(label([value[k] for value in table.states.values.values()]) for k in index),
        about=(("state", _described(step, beginning)), *step.about),
    )
    return FiniteState(initial, transition, log_likelihood, structure)


def _gathered(values: Array, at: Any, size: int) -> Array:
    """Sums of the values of all outcomes that lead to the same state, (..., outcome) -> (..., state)."""
    at = jnp.broadcast_to(at, values.shape)
    return jnp.vectorize(lambda value, at: jnp.zeros(size).at[at].add(value), signature="(m),(m)->(k)")(values, at)


def _one_to_one(table: Table) -> bool:
    """Does each outcome of a state lead to a state of its own?"""
    ordered = np.sort(table.following, axis=-1)
    return bool((np.diff(ordered, axis=-1) > 0).all())


def _outcome(step: Step, batch: Batch, table: Table):
    """(state, inputs) -> p(outcome | state), (*sequence, outcome)."""
    latents = {name: site.value for name, site in step.latents.items()}

    def sites(k: Any, m: Any, inputs: Any) -> dict[str, Sample]:
        state = spread(at(table.states, k), step.before)
        return step.run(state, spread(at(table.outcomes, m), latents), inputs)[1]

    only = next(iter(latents), "") if len(latents) == 1 else ""
    if only and np.shape(latents[only]) == batch.shape:
        return lambda k, inputs: probabilities(sites(k, 0, inputs)[only].fn).reshape(*batch.ends, -1)

    def chance(k: Any, m: Any, inputs: Any) -> Array:
        found = sites(k, m, inputs)
        total = jnp.ones(batch.ends)
        for name in latents:
            total = total * jnp.prod(_chosen(found[name]).reshape(*batch.ends, -1), axis=-1)
        return total

    return lambda k, inputs: jax.vmap(lambda m: chance(k, m, inputs), out_axes=-1)(np.arange(table.outcomes.size))


def _chosen(site: Sample) -> Array:
    """p(value) of a latent site, entry by entry."""
    each = probabilities(site.fn)
    with jax.ensure_compile_time_eval():
        support = site.fn.enumerate_support(expand=False).reshape(-1)
    return (each * (jnp.asarray(site.value)[..., None] == support)).sum(axis=-1)


def at(listed: Listed, case: Any) -> dict[Any, Array]:
    """The values of one case, whose number may be traced."""
    return {name: jnp.asarray(values)[case] for name, values in listed.values.items()}


def seen(found: dict[str, Sample], step: Step, batch: Batch) -> Array:
    """log p of all that is observed in one step, and its factors, (*sequence,)."""
    total = jnp.zeros(batch.ends)
    for name in (*step.observed, *step.factors):
        total = total + log_density(found[name], batch)
    return total


def _likelihood(step: Step, batch: Batch, table: Table, transition: Array, homogeneous: bool) -> tuple[Order, Array]:
    """log p(o_t | state), (*sequence, time, state) or (*sequence, time, state, state), and on which state it depends."""
    latents = {name: site.value for name, site in step.latents.items()}
    old, new = step.seen_from
    carried = {origin: i for i, origin in step.origin.items() if origin is not None}
    series, steps, index = step.series, step.scan.length, np.arange(table.states.size)

    def log_seen(state: dict, drawn: dict, inputs: Any) -> Array:
        return seen(step.run(spread(state, step.before), spread(drawn, latents), inputs)[1], step, batch)

    def by_old(inputs: Any) -> Array:
        return jax.vmap(lambda k: log_seen(at(table.states, k), at(table.outcomes, 0), inputs), out_axes=-1)(index)

    def by_new(inputs: Any) -> Array:
        def one(k: Any) -> Array:
            after, state = at(table.states, k), at(table.states, 0)
            state |= {i: after[carried[i]] for i in old}
            return log_seen(state, at(table.outcomes, 0) | {name: after[carried[name]] for name in new}, inputs)

        return jax.vmap(one, out_axes=-1)(index)

    if not new and old:
        return "emission first", jax.vmap(by_old, axis_size=steps, out_axes=-2)(series)
    if set(old) | set(new) <= set(carried):
        return "transition first", jax.vmap(by_new, axis_size=steps, out_axes=-2)(series)

    outcome = _outcome(step, batch, table)

    def by_both(inputs: Any, following: Any, move: Array) -> Array:
        """log sum over outcomes of p(outcome | s) p(o | s, outcome) / p(s' | s); zero where s' cannot follow."""
        each = jax.vmap(
            lambda k: jax.vmap(lambda m: log_seen(at(table.states, k), at(table.outcomes, m), inputs), out_axes=-1)(
                np.arange(table.outcomes.size)
            ),
            out_axes=-2,
        )(index)
        if _one_to_one(table):
            return _gathered(each, following, table.states.size)
        chances = jax.vmap(lambda k: outcome(k, inputs), out_axes=-2)(index)
        top = jax.lax.stop_gradient(jnp.where(chances > 0, each, -jnp.inf).max(axis=-1, keepdims=True))
        top = jnp.where(jnp.isfinite(top), top, 0.0)
        weights = _gathered(jnp.exp(jnp.minimum(each - top, 600.0)) * chances, following, table.states.size)
        possible, seen_at_all = move > 0, (move > 0) & (weights > 0)
        ratio = jnp.where(seen_at_all, weights, 1.0) / jnp.where(seen_at_all, move, 1.0)
        return jnp.where(seen_at_all, jnp.log(ratio) + top, jnp.where(possible, -jnp.inf, 0.0))

    moves = transition if not homogeneous else jnp.broadcast_to(transition, (steps, *transition.shape))
    following = jnp.asarray(table.following)
    following = following if table.by_time else jnp.broadcast_to(following, (steps, *following.shape))
    log_likelihood = jax.vmap(by_both, axis_size=steps)(series, following, moves)
    return "both states", jnp.swapaxes(log_likelihood, 0, 1) if batch else log_likelihood


def _initial(step: Step, beginning: Beginning, batch: Batch, table: Table) -> tuple[Array, Array]:
    """p(s) of the state that is carried into the first step, (*sequence, state), given what was seen of it before the scan.

    And the log density of that, (*sequence,).
    """
    ends = batch.ends
    total = jnp.ones((*ends, 1))
    if table.starts is None:
        leaves = jax.tree.leaves(step.scan.init)
        for i, values in table.states.values.items():
            shape = np.shape(step.before[i])
            count = math.prod(shape[batch.rank :])
            support = np.unique(values)
            if i in beginning.direct and not is_delta(beginning.sites[beginning.direct[i]].fn):
                each = jnp.broadcast_to(probabilities(beginning.sites[beginning.direct[i]].fn), (*shape, support.size))
            else:
                value = leaves[i] if i not in beginning.direct else beginning.sites[beginning.direct[i]].fn.mean
                each = (jnp.broadcast_to(value, shape)[..., None] == support).astype(jnp.float_)
            each = each.reshape(*ends, count, support.size)
            for entry in range(count):
                total = (total[..., :, None] * each[..., entry, None, :]).reshape(*ends, -1)
        return total, jnp.zeros(ends)
    listed, start = table.starts
    like = {name: site.value for name, site in beginning.sites.items()}

    def chance(case: dict[str, Any]) -> tuple[Array, Array]:
        _, sites = beginning.at(spread(case, like))
        found = jnp.ones(ends)
        for name in case:
            found = found * jnp.prod(_chosen(sites[name]).reshape(*batch.ends, -1), axis=-1)
        return found, sum((log_density(sites[name], batch) for name in beginning.seen), jnp.zeros(ends))

    cases = {name: jnp.asarray(value) for name, value in listed.values.items()}
    chances, log_seen = jax.vmap(chance, axis_size=listed.size, out_axes=-1)(cases)
    start = np.moveaxis(start, 0, -1) if batch else start
    if not beginning.seen:
        return _gathered(chances, start, table.states.size), jnp.zeros(ends)
    top = jax.lax.stop_gradient(jnp.where(chances > 0, log_seen, -jnp.inf).max(axis=-1, keepdims=True))
    top = jnp.where(jnp.isfinite(top), top, 0.0)
    weights = _gathered(chances * jnp.exp(jnp.minimum(log_seen - top, 600.0)), start, table.states.size)
    total = weights.sum(axis=-1)
    return weights / jnp.where(total > 0, total, 1.0)[..., None], jnp.log(total) + top[..., 0]


def _described(step: Step, beginning: Beginning) -> str:
    parts = []
    for i, name in step.names.items():
        origin = step.origin[i]
        if isinstance(origin, str):
            parts.append(f"site '{name}', {kind(step.latents[origin].fn)}")
        elif origin is None:
            parts.append(f"'{name}', computed")
        else:
            parts.append(f"'{name}', the old '{step.names[origin]}'")
    names = ", ".join(f"'{name}'" for name in beginning.sites)
    return f"{'; '.join(parts)}; first state {f'from {names}' if names else 'known'}"
