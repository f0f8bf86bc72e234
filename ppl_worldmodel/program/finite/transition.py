"""Transition probabilities and likelihoods of a finite state: the step, mapped over states and outcomes."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ppl_worldmodel.exact.system import FiniteState, Order, Structure
from ppl_worldmodel.program.batch import Batch
from ppl_worldmodel.program.finite.state_table import Listed, Table, label, spread, values_of
from ppl_worldmodel.program.finite.support import listed_support
from ppl_worldmodel.program.intercept import Beginning
from ppl_worldmodel.program.jaxprs.dependence import dependence
from ppl_worldmodel.program.likelihood import log_density, probabilities, probability
from ppl_worldmodel.program.sites import Sample, is_delta, kind
from ppl_worldmodel.program.step import Step


def read_finite(step: Step, beginning: Beginning, batch: Batch, table: Table) -> FiniteState:
    """The system of a step whose latent sites are discrete. `batch`: the shape of the axes that are independent sequences."""
    size, index = table.states.size, np.arange(table.states.size)
    chances = _chances(step, batch, table)
    series, first, steps = step.series, step.first(), step.scan.length

    def move(inputs: Any, leads: Leads) -> Array:
        """p(s' | s), (*sequence, state, state)."""
        if plain:
            return chances(inputs, leads)
        found = _gathered(chances(inputs, leads), leads.following, size)
        return found if table.last is None else jnp.where(table.last[:, None], np.eye(size), found)

    plain = table.starts is None
    leads = _leads(table)
    once = Leads(*(part[0] for part in leads)) if table.by_time else leads
    homogeneous = 1 not in dependence(lambda _, inputs: chances(inputs, once), 0, first) and not table.by_time
    if homogeneous:
        transition = move(first, leads)
    elif table.by_time:
        transition = jax.vmap(move, axis_size=steps)(series, leads)
    else:
        transition = jax.vmap(lambda inputs: move(inputs, leads), axis_size=steps)(series)

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
        about=(("state", _described(step, beginning)), *_open(table), *step.about),
    )
    return FiniteState(initial, transition, log_likelihood, structure)


def _gathered(values: Array, at: Any, size: int) -> Array:
    """Sums of the values of all outcomes that lead to the same state, (..., outcome) -> (..., state); `size`: it is impossible."""
    at = jnp.broadcast_to(at, values.shape)
    add = jnp.vectorize(lambda value, at: jnp.zeros(size).at[at].add(value, mode="drop"), signature="(m),(m)->(k)")
    return add(values, at)


def _one_to_one(table: Table) -> bool:
    """Does each possible outcome of a state lead to a state of its own?"""
    ordered = np.sort(table.following, axis=-1)
    return bool(((np.diff(ordered, axis=-1) > 0) | (ordered[..., 1:] == table.states.size)).all())


class Leads(NamedTuple):
    """following: the state that each outcome leads to, (..., state, outcome), the number of states where it is impossible;
    possible: of each state an outcome that is not, (..., state). Of one state, both without that axis.
    """

    following: Any
    possible: Any


OF_STATE = Leads(-2, -1)  # the axis of the state


def _of_states(leads: Leads, states: np.ndarray) -> Leads:
    return Leads(leads.following[..., states, :], leads.possible[..., states])


def _leads(table: Table) -> Leads:
    """By NumPy: XLA would find the possible outcomes when it compiles, by a slow search through a large constant."""
    return Leads(jnp.asarray(table.following), jnp.asarray(np.argmax(table.following < table.states.size, axis=-1)))


def _case(listed: Listed, m: Any, row: Leads, size: int, batch: Batch) -> dict[Any, Array]:
    """The values of outcome m, or, where it is impossible in this state, of one that is not."""
    chosen = jnp.where(row.following[..., m] < size, m, row.possible)
    values = at(listed, chosen)
    if np.ndim(chosen):
        values = {name: value.reshape(*batch.shape, *value.shape[1:]) for name, value in values.items()}
    return values


def _chances(step: Step, batch: Batch, table: Table) -> Callable[[Any, Leads], Array]:
    """(inputs, the states that outcomes lead to) -> p(outcome | state), (*sequence, state, outcome)."""
    latents, size = values_of(step.latents), table.states.size
    index, outcomes = table.moving(), np.arange(table.outcomes.size)
    only = next(iter(latents), "") if len(latents) == 1 else ""

    def sites(k: Any, drawn: dict[Any, Array], inputs: Any) -> dict[str, Sample]:
        return step.run(spread(at(table.states, k), step.before), spread(drawn, latents), inputs)[1]

    if only and np.shape(latents[only]) == batch.shape and only not in table.bounded:

        def row(k: Any, inputs: Any) -> Array:
            return probabilities(sites(k, at(table.outcomes, 0), inputs)[only].fn).reshape(*batch.ends, -1)

        return lambda inputs, leads: jax.vmap(lambda k: row(k, inputs), out_axes=-2)(index)

    def chance(k: Any, m: Any, inputs: Any, row: Any) -> Array:
        drawn = _case(table.outcomes, m, row, size, batch) if table.bounded else at(table.outcomes, m)
        found = sites(k, drawn, inputs)
        total = jnp.ones(batch.ends)
        for name in latents:
            each = _chosen(found[name], name in table.bounded)
            total = total * jnp.prod(each.reshape(*batch.ends, -1), axis=-1)
        return jnp.where(row.following[..., m] < size, total, 0.0) if table.bounded else total

    def all_chances(inputs: Any, leads: Leads) -> Array:
        def of_state(k: Any, row: Leads) -> Array:
            return jax.vmap(lambda m: chance(k, m, inputs, row), out_axes=-1)(outcomes)

        return jax.vmap(of_state, in_axes=(0, OF_STATE), out_axes=-2)(index, _of_states(leads, index))

    return all_chances


def _chosen(site: Sample, bounded: bool) -> Array:
    """p(value) of a latent site, entry by entry."""
    if bounded:
        return probability(site.fn, site.value)
    each = probabilities(site.fn)
    return (each * (jnp.asarray(site.value)[..., None] == listed_support(site))).sum(axis=-1)


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

    all_chances, outcomes = _chances(step, batch, table), np.arange(table.outcomes.size)

    def by_both(inputs: Any, leads: Leads, move: Array) -> Array:
        """log sum over outcomes of p(outcome | s) p(o | s, outcome) / p(s' | s); zero where s' cannot follow."""

        def of_state(k: Any, row: Leads) -> Array:
            def one(m: Any) -> Array:
                drawn = (
                    _case(table.outcomes, m, row, table.states.size, batch) if table.bounded else at(table.outcomes, m)
                )
                return log_seen(at(table.states, k), drawn, inputs)

            return jax.vmap(one, out_axes=-1)(outcomes)

        following, moving = leads.following, table.moving()
        each = jax.vmap(of_state, in_axes=(0, OF_STATE), out_axes=-2)(moving, _of_states(leads, moving))
        if _one_to_one(table):
            return _gathered(each, following, table.states.size)
        chances = all_chances(inputs, leads)
        top = jax.lax.stop_gradient(jnp.where(chances > 0, each, -jnp.inf).max(axis=-1, keepdims=True))
        top = jnp.where(jnp.isfinite(top), top, 0.0)
        weights = _gathered(jnp.exp(jnp.minimum(each - top, 600.0)) * chances, following, table.states.size)
        possible, seen_at_all = move > 0, (move > 0) & (weights > 0)
        ratio = jnp.where(seen_at_all, weights, 1.0) / jnp.where(seen_at_all, move, 1.0)
        return jnp.where(seen_at_all, jnp.log(ratio) + top, jnp.where(possible, -jnp.inf, 0.0))

    axes = (0, 0 if table.by_time else None, None if homogeneous else 0)
    log_likelihood = jax.vmap(by_both, axes, axis_size=steps)(series, _leads(table), transition)
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
    start = np.moveaxis(start, 0, -1) if batch else start
    like = values_of(beginning.sites)
    first = Leads(jnp.asarray(start), jnp.asarray(np.argmax(start < table.states.size, axis=-1)))

    def chance(m: Any) -> tuple[Array, Array]:
        bounded = bool(table.bounded & set(listed.values))
        case = _case(listed, m, first, table.states.size, batch) if bounded else at(listed, m)
        _, sites = beginning.at(spread(case, like))
        found = jnp.ones(ends)
        for name in case:
            each = _chosen(sites[name], name in table.bounded)
            found = found * jnp.prod(each.reshape(*batch.ends, -1), axis=-1)
        if bounded:
            found = jnp.where(jnp.asarray(start)[..., m] < table.states.size, found, 0.0)
        return found, sum((log_density(sites[name], batch) for name in beginning.seen), jnp.zeros(ends))

    chances, log_seen = jax.vmap(chance, out_axes=-1)(np.arange(listed.size))
    if not beginning.seen:
        return _gathered(chances, start, table.states.size), jnp.zeros(ends)
    top = jax.lax.stop_gradient(jnp.where(chances > 0, log_seen, -jnp.inf).max(axis=-1, keepdims=True))
    top = jnp.where(jnp.isfinite(top), top, 0.0)
    weights = _gathered(chances * jnp.exp(jnp.minimum(log_seen - top, 600.0)), start, table.states.size)
    total = weights.sum(axis=-1)
    return weights / jnp.where(total > 0, total, 1.0)[..., None], jnp.log(total) + top[..., 0]


def _open(table: Table) -> tuple[tuple[str, str], ...]:
    """A line for the repr where not all states are listed that a longer series would reach."""
    if table.last is None or not table.last.any():
        return ()
    return (
        (
            "listed",
            f"as far as this series reaches: {int(table.last.sum())} states of its last step have no way on here",
        ),
    )


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
