"""What are A, b, Q, C, d and R of a program whose state is Gaussian?  Jacobians and values of one step's means, at zero.

With x the carried state and z the new one (the step's latent sites), a linear-Gaussian step has means that are affine in x
and z and covariances that depend on neither. `bends` measures that at random states.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.linalg import block_diag
from jaxtyping import Array

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.exact.system import LinearGaussian, Structure
from ppl_worldmodel.program.dependence import dependence
from ppl_worldmodel.program.sites import Sample, Scan, run_step
from ppl_worldmodel.program.step import Step, kind


class _Moments(NamedTuple):
    """Means and covariances of the new state z and of the observation y, given x and z; the observed y with NaN for missing."""

    z_mean: Array
    z_covariance: Array
    y_mean: Array
    y_covariance: Array
    y: Array


def read_gaussian(scan: Scan, initial: dict[int, Sample], step: Step) -> LinearGaussian:
    """The system of a scan whose latent sites are all Gaussian; they are stacked in the order of the carry's leaves."""
    moments = _moments_of(scan, step)
    series, first = step.series, step.first()
    zero = jnp.zeros(sum(site.value.size for site in step.states.values()))

    def matrices(inputs: Any) -> dict[str, Array]:
        at_zero = moments(zero, zero, inputs)
        of_old = jax.jacfwd(moments, argnums=0)(zero, zero, inputs)
        of_new = jax.jacfwd(moments, argnums=1)(zero, zero, inputs)
        found = {"A": of_old.z_mean, "b": at_zero.z_mean, "Q": at_zero.z_covariance}
        if len(step.states) > 1:  # z = A x + N z + noise with N strictly triangular in the order of sampling
            through = jnp.linalg.inv(jnp.eye(zero.size) - of_new.z_mean)
            found = {"A": through @ found["A"], "b": through @ found["b"], "Q": through @ found["Q"] @ through.T}
        C = of_old.y_mean if emission_first else of_new.y_mean
        return found | {"C": C, "d": at_zero.y_mean, "R": at_zero.y_covariance, "y": at_zero.y}

    needs = dependence(lambda old, new: moments(old, new, first).y_mean, zero, zero)
    if needs == {0, 1}:
        raise NotExactlySolvable(
            f"the mean of {_names(step.observed)} depends on the carried and on the new state: put both into the state"
        )
    emission_first = needs == {0}
    varying = {name for name, needs in dependence(matrices, first).items() if needs} - {"y"}
    once = matrices(first)
    each = jax.vmap(matrices, axis_size=scan.length)(series)
    chosen = {name: each[name] if name in varying else once[name] for name in ("A", "b", "Q", "C", "d", "R")}

    mean, covariance = _initial(scan, initial, step)
    sites = ", ".join(f"'{site.name}' {kind(site.fn)}{site.value.shape or ''}" for site in step.states.values())
    start = ", ".join(f"'{site.name}'" for site in initial.values())
    structure = Structure(
        order="emission first" if emission_first else "transition first",
        varying=frozenset(varying),
        states=tuple(site.name for site in step.states.values()),
        initials=tuple(site.name for site in initial.values()),
        observed=step.observed,
        about=(("state", f"site {sites}; first state {'from ' + start if start else 'known'}"), *step.about),
    )
    return LinearGaussian(mean, covariance, **chosen, observations=each["y"], structure=structure)


def bends(scan: Scan, step: Step, key: Array) -> dict[str, Array]:
    """How far from linear-Gaussian is the step, at random states?  {what is wrong: by how much, relative to its size}.

    All values are at rounding error for a linear-Gaussian step; `read` refuses above 1e-9.
    """
    moments, inputs = _moments_of(scan, step), step.first()
    size = sum(site.value.size for site in step.states.values())

    def at(key: Array) -> dict[str, Array]:
        old, new = 10.0 * jax.random.normal(key, (2, size))
        start, middle, end = (moments(scale * old, scale * new, inputs) for scale in (0.0, 0.5, 1.0))
        found = {}
        for name, sites in (("z", tuple(site.name for site in step.states.values())), ("y", step.observed)):
            low, high = getattr(start, f"{name}_mean"), getattr(end, f"{name}_mean")
            bend = jnp.abs(getattr(middle, f"{name}_mean") - 0.5 * (low + high))
            bend = bend / (1.0 + jnp.abs(low) + jnp.abs(high))
            low, high = getattr(start, f"{name}_covariance"), getattr(end, f"{name}_covariance")
            change = jnp.abs(high - low) / (1.0 + jnp.abs(low))
            found[f"the mean of {_names(sites)} is not affine in the state"] = bend.max(initial=0.0)
            found[f"the covariance of {_names(sites)} depends on the state"] = change.max(initial=0.0)
        return found

    return jax.tree.map(lambda values: values.max(), jax.vmap(at)(jax.random.split(key, 3)))


def _moments_of(scan: Scan, step: Step):
    def moments(old: Array, new: Array, inputs: Any) -> _Moments:
        carry, inputs = step.carry(inputs, _split(old, step))
        values = {step.states[i].name: value for i, value in _split(new, step).items()}
        sites = {site.name: site for site in run_step(scan.step, carry, inputs, values)[2]}
        states = [_gaussian(sites[site.name])[:2] for site in step.states.values()]
        observed = [_gaussian(sites[name]) for name in step.observed]
        return _Moments(
            jnp.concatenate([mean for mean, _ in states]),
            block_diag(*(covariance for _, covariance in states)),
            jnp.concatenate([jnp.zeros(0), *(mean for mean, _, _ in observed)]),
            block_diag(*(covariance for _, covariance, _ in observed)) if observed else jnp.zeros((0, 0)),
            jnp.concatenate([jnp.zeros(0), *(value for _, _, value in observed)]),
        )

    return moments


def _gaussian(site: Sample) -> tuple[Array, Array, Array]:
    """Mean, covariance and value (NaN where masked) of a Gaussian site, as flat vectors; refused if it is not Gaussian."""
    fn, shape, missing = site.fn, site.fn.shape(), jnp.zeros((), bool)
    if site.scale is not None:
        raise NotExactlySolvable(
            f"site '{site.name}' has a scaled density (handlers.scale): a Gaussian step cannot have one"
        )
    mean, layers = fn.mean, [fn]
    while isinstance(fn, (dist.MaskedDistribution, dist.Independent, dist.ExpandedDistribution)):
        if isinstance(fn, dist.MaskedDistribution):
            masked = ~jnp.asarray(fn._mask)
            missing = missing | masked.reshape(*masked.shape, *(1,) * fn.event_dim)
        fn = fn.base_dist
        layers.append(fn)
    size = jnp.broadcast_to(mean, shape).size
    if isinstance(fn, dist.Normal):
        covariance = jnp.diag(jnp.broadcast_to(layers[0].variance, shape).reshape(-1))
    elif isinstance(fn, dist.Delta):
        covariance = jnp.zeros((size, size))
    elif isinstance(fn, (dist.MultivariateNormal, dist.LowRankMultivariateNormal)):
        matrix = jnp.broadcast_to(fn.covariance_matrix, (*shape, shape[-1])).reshape(-1, shape[-1], shape[-1])
        covariance = block_diag(*matrix)
    else:
        raise NotExactlySolvable(
            f"site '{site.name}' is {kind(site.fn)}: beside a continuous state only Gaussian sites are read exactly"
        )
    value = jnp.where(jnp.broadcast_to(missing, shape), jnp.nan, site.value).reshape(-1)
    return jnp.broadcast_to(mean, shape).reshape(-1), covariance, value


def _split(vector: Array, step: Step) -> dict[int, Array]:
    """The stacked state as {index of the carry's leaf: value}."""
    parts, start = {}, 0
    for i, site in step.states.items():
        parts[i] = vector[start : start + site.value.size].reshape(site.value.shape)
        start += site.value.size
    return parts


def _initial(scan: Scan, initial: dict[int, Sample], step: Step) -> tuple[Array, Array]:
    means, covariances = [], []
    for i, leaf in enumerate(jax.tree.leaves(scan.init)):
        if i in initial:
            mean, covariance, _ = _gaussian(initial[i])
        elif i in step.states:
            mean = jnp.asarray(leaf, jnp.float_).reshape(-1)
            covariance = jnp.zeros((mean.size, mean.size))
        else:
            continue
        means.append(mean)
        covariances.append(covariance)
    return jnp.concatenate(means), block_diag(*covariances)


def _names(names: tuple[str, ...]) -> str:
    return "site " + ", ".join(f"'{name}'" for name in names)
