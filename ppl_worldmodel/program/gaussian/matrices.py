"""Matrices A, b, Q, C, d and R of a Gaussian state: Jacobians and values of one step's means, at zero.

With x the carried state and w the step's latent sites, w = M x + N w + m + noise (N strictly triangular in the order of
sampling), the new state is x' = X x + W w + c, and y is seen through x', through x, or through both and w. Most programs carry
the sites themselves: there x' = w. `linear` proves that all this is so.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.exact import kalman
from ppl_worldmodel.exact.system import LinearGaussian, Order, Structure
from ppl_worldmodel.program.batch import Batch
from ppl_worldmodel.program.gaussian.moments import (
    Moments,
    gaussian,
    joined,
    moments_of,
    observed,
    sizes,
    split,
    stacked,
)
from ppl_worldmodel.program.intercept import Beginning
from ppl_worldmodel.program.jaxprs.dependence import taken_down
from ppl_worldmodel.program.jaxprs.separation import Through
from ppl_worldmodel.program.sites import bare, kind
from ppl_worldmodel.program.step import Step

NAMES = ("A", "b", "Q", "C", "d", "R")


def read_gaussian(step: Step, beginning: Beginning, batch: Batch, diffuse: frozenset[str]) -> LinearGaussian:
    """The system of a step whose latent sites are all Gaussian; the state is stacked in the order of the carry's leaves.

    batch    which axes are independent sequences
    diffuse  the sites of the initial state whose variance is infinite
    """
    latents = {name: site.value for name, site in step.latents.items()}
    moments, first = moments_of(step, batch), step.first()
    leaves, names = list(step.names), list(latents)
    seen_through = _seen_through(step, latents, moments, first)
    extras = [i for i in leaves if i in seen_through], [name for name in names if name in seen_through]
    plain = list(step.origin.values()) == names and not extras[0] and not extras[1]
    order: Order = "emission first" if seen_through and not {-1, *names} & seen_through else "transition first"
    zero_x, zero_w = (jnp.zeros(sum(sizes(like, batch).values())) for like in (step.before, latents))

    def at(x: Array, w: Array, inputs: Any) -> tuple[Array, Moments]:
        after, found = moments(split(x, step.before, batch), split(w, latents, batch), inputs)
        return stacked(after, step.before, batch), found

    def of_new(new: Array, x: Array, w: Array, inputs: Any) -> Array:
        arguments = (*split(x, step.before, batch).values(), *split(w, latents, batch).values(), inputs)
        after = [value.astype(jnp.float_) for value in split(new, step.before, batch).values()]
        return _taken(step, moments, names, arguments).rest(after, *arguments)

    def matrices(inputs: Any) -> dict[str, Array]:
        x_new, found = at(zero_x, zero_w, inputs)
        of_x = jax.jacfwd(at, argnums=0)(zero_x, zero_w, inputs)
        M, X = of_x[1].w_mean, of_x[0]
        b, Q, C, d = found.w_mean, found.w_covariance, of_x[1].y_mean, found.y_mean
        A = M
        through = None
        if len(names) > 1 or not plain or order == "transition first":
            of_w = jax.jacfwd(at, argnums=1)(zero_x, zero_w, inputs)
            if len(names) > 1:
                through = jnp.linalg.inv(jnp.eye(zero_w.size) - of_w[1].w_mean)
                A, b, Q = through @ A, _apply(through, b), through @ Q @ jnp.swapaxes(through, -1, -2)
            C = C if order == "emission first" else of_w[1].y_mean
        if not plain:
            W = of_w[0]
            rows = [W]
            fixed = [X]
            constant = [x_new]
            if order == "transition first":
                new = jnp.zeros_like(zero_x)
                C = jax.jacfwd(of_new, argnums=0)(new, zero_x, zero_w, inputs)
                d = of_new(new, zero_x, zero_w, inputs)
                if extras[0] or extras[1]:
                    parts = [C]
                    for like, of, argument in ((step.before, extras[0], 1), (latents, extras[1], 2)):
                        chosen = _coordinates(like, of, batch)
                        parts.append(jax.jacfwd(of_new, argnums=argument)(new, zero_x, zero_w, inputs)[..., chosen])
                        eye = jnp.eye(sum(sizes(like, batch).values()))[chosen]
                        is_x = argument == 1
                        rows.append(_like(eye if not is_x else jnp.zeros((len(chosen), zero_w.size)), W))
                        fixed.append(_like(eye if is_x else jnp.zeros((len(chosen), zero_x.size)), X))
                        constant.append(jnp.zeros((*x_new.shape[:-1], len(chosen))))
                    C = jnp.concatenate(parts, axis=-1)
            W, X, c = (
                jnp.concatenate(rows, axis=-2),
                jnp.concatenate(fixed, axis=-2),
                jnp.concatenate(constant, axis=-1),
            )
            A, b, Q = X + W @ A, c + _apply(W, b), W @ Q @ jnp.swapaxes(W, -1, -2)
            A = jnp.concatenate([A, jnp.zeros((*A.shape[:-1], A.shape[-2] - A.shape[-1]))], axis=-1)
        return {"A": A, "b": b, "Q": Q, "C": C, "d": d, "R": found.y_covariance, "y": found.y, "f": found.log_factor}

    run, needs = taken_down(matrices, first)
    varying = {name for name, inputs in needs.items() if inputs} - {"y", "f"}
    once = run(first)
    each = jax.vmap(run, axis_size=step.scan.length)(step.series)
    chosen = {name: each[name] if name in varying else once[name] for name in NAMES}
    if batch:
        chosen = {name: jnp.swapaxes(array, 0, 1) if name in varying else array for name, array in chosen.items()}
        each = {name: jnp.swapaxes(array, 0, 1) for name, array in each.items()}
    mean, covariance, reach, log_seen = _initial(step, beginning, batch, diffuse)
    if beginning.seen:  # what was seen before the first step belongs to that step's log predictive
        each["f"] = each["f"].at[..., 0].add(log_seen)
    extra = chosen["A"].shape[-1] - mean.shape[-1]
    structure = Structure(
        order=order,
        varying=frozenset(varying),
        states=step.drawn(),
        initials=tuple(beginning.sites),
        observed=step.observed,
        sequences=batch.count if batch else 0,
        factors=tuple(step.names.values()),
        extra=extra,
        about=(("state", _described(step, beginning, diffuse, batch)), *step.about),
    )
    pad = [(0, 0)] * len(batch.ends)
    return LinearGaussian(
        jnp.pad(mean, [*pad, (0, extra)]),
        jnp.pad(covariance, [*pad, (0, extra), (0, extra)]),
        **chosen,
        observations=each["y"],
        structure=structure,
        diffuse=None if reach is None else jnp.pad(reach, [*pad, (0, extra), (0, 0)]),
        log_factor=each["f"],
    )


def _taken(step: Step, moments: Any, names: list[str], arguments: tuple) -> Through:
    """The mean of y as a function of the leaves, the latent values and the inputs, with the new state as a possible input."""
    count = len(step.names)

    def parts(*arguments: Any) -> tuple[list[Any], Array]:
        state = dict(zip(step.names, arguments[:count], strict=True))
        after, found = moments(state, dict(zip(names, arguments[count:-1], strict=True)), arguments[-1])
        return after, found.y_mean

    return Through(parts, *arguments)


def _seen_through(step: Step, latents: dict[str, Any], moments: Any, first: Any) -> set:
    """What the mean of y depends on: leaves of the old state by index, latent sites by name, -1 for the new state.

    What depends on old leaves alone counts as that; else whatever the new state has in it counts as the new state.
    """
    old = {i: value.astype(jnp.float_) for i, value in step.before.items()}
    arguments = (*old.values(), *latents.values(), first)
    over_all, computed, besides = _taken(step, moments, list(latents), arguments).needs(*arguments)
    what = [*step.names, *latents]
    if -1 not in computed and not any(i >= len(step.names) for i in over_all if i < len(what)):
        return {what[i] for i in over_all if i < len(what)}
    return {-1 if i == -1 else what[i] for i in besides if i < len(what)}


def _apply(matrix: Array, vector: Array) -> Array:
    return (matrix @ vector[..., None])[..., 0]


def _like(matrix: Array, other: Array) -> Array:
    return jnp.broadcast_to(matrix, (*other.shape[:-2], *matrix.shape))


def _coordinates(like: Any, chosen: list, batch: Batch) -> np.ndarray:
    """The coordinates of the stacked vector that belong to some of its parts."""
    found, start = [np.zeros(0, int)], 0
    for name, size in sizes(like, batch).items():
        if name in chosen:
            found.append(np.arange(start, start + size))
        start += size
    return np.concatenate(found)


def _initial(
    step: Step, beginning: Beginning, batch: Batch, diffuse: frozenset[str]
) -> tuple[Array, Array, Array | None, Array]:
    """Mean, covariance and diffuse directions of the first state, an affine function of the initial state's sites.

    Given what was seen of it before the scan, of which the log density comes last.
    """
    sites = {name: site.value for name, site in beginning.sites.items()}
    ends = batch.ends

    def at(vector: Array) -> tuple[Array, ...]:
        leaves, found = beginning.at(split(vector, sites, batch))
        mean, covariance, _ = joined([gaussian(found[name], batch) for name in sites], batch)
        seen, log_rest = observed([found[name] for name in beginning.seen], batch)
        return stacked([leaves[i] for i in step.names], step.before, batch), mean, covariance, *seen, log_rest

    if not sites:
        leaves = jax.tree.leaves(step.scan.init)
        mean = stacked([jnp.asarray(leaves[i], jnp.float_) for i in step.names], step.before, batch)
        return mean, jnp.zeros((*mean.shape, mean.shape[-1])), None, jnp.zeros(ends)
    zero = jnp.zeros(sum(sizes(sites, batch).values()))
    constant, mean, covariance, y_mean, y_covariance, y, log_rest = at(zero)
    U, N, _, H, *_ = jax.jacfwd(at)(zero)
    wide = _coordinates(sites, list(diffuse), batch)
    known = np.ones(zero.size)
    known[wide] = 0.0
    covariance = jnp.where(known[:, None] * known > 0, covariance, 0.0)
    through = jnp.eye(zero.size)
    if len(sites) > 1:
        through = jnp.linalg.inv(jnp.eye(zero.size) - N)
        mean, covariance = _apply(through, mean), through @ covariance @ jnp.swapaxes(through, -1, -2)
    log_seen = jnp.zeros(ends)
    if beginning.seen:
        if wide.size:
            raise NotExactlySolvable(
                f"site {', '.join(map(repr, beginning.seen))} observes a diffuse first state before the scan: observe it in "
                "the step"
            )
        condition = jax.vmap(_seen_before) if batch else _seen_before
        mean, covariance, log_seen = condition(mean, covariance, y, H, y_mean, y_covariance)
    reach = (U @ through)[..., wide] if wide.size else None
    return constant + _apply(U, mean), U @ covariance @ jnp.swapaxes(U, -1, -2), reach, log_seen + log_rest


def _seen_before(mean: Array, covariance: Array, y: Array, H: Array, d: Array, R: Array) -> kalman.Corrected:
    return kalman.correct(kalman.Belief(mean, covariance), y, H, d, R)


def _described(step: Step, beginning: Beginning, diffuse: frozenset[str], batch: Batch) -> str:
    parts = []
    for i, name in step.names.items():
        origin, shape = step.origin[i], np.shape(step.before[i])[batch.rank :]
        if isinstance(origin, str):
            parts.append(f"site '{name}', {kind(step.latents[origin].fn)}{f' {shape}' if shape else ''}")
        elif origin is None:
            drawn = ", ".join(f"'{site}' {kind(found.fn)}" for site, found in step.latents.items())
            parts.append(f"'{name}'{f' {shape}' if shape else ''}, computed{f' from {drawn}' if drawn else ''}")
        else:
            parts.append(f"'{name}', the old '{step.names[origin]}'")
    starts = ", ".join(f"'{name}'{' (diffuse)' if name in diffuse else ''}" for name in beginning.sites)
    return f"{'; '.join(parts)}; first state {'from ' + starts if starts else 'known'}"


def improper(beginning: Beginning) -> frozenset[str]:
    """The sites of the initial state whose density is flat."""
    return frozenset(name for name, site in beginning.sites.items() if isinstance(bare(site.fn), dist.ImproperUniform))


def infinite(beginning: Beginning) -> dict[str, Array]:
    """Which Gaussian sites of the initial state have an infinite variance?"""
    found = {name: gaussian(site, Batch())[1] for name, site in beginning.sites.items()}
    return {name: jnp.isinf(covariance).any() for name, covariance in found.items()}
