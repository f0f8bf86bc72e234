"""What a system that was read off a program owes to that program, whose log density alone is asked here."""

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.infer.util import compute_log_probs, log_density
from numpyro.primitives import Messenger
from scipy.stats import multivariate_normal

from ppl_worldmodel.exact import finite, gaussian
from ppl_worldmodel.exact.system import FiniteState, LinearGaussian
from ppl_worldmodel.program.reading import System

from ..agreement import assert_covariances_close, assert_logs_close, assert_means_close, assert_probabilities_close
from ..references import dense, paths


class _AtTheScan(Exception):
    """The parameters have all been drawn."""


class _StopAtTheScan(Messenger):
    def process_message(self, msg: dict[str, Any]) -> None:
        if msg["type"] == "control_flow":
            raise _AtTheScan


def _any_value_of_a_flat_site(site: dict[str, Any]) -> Any:
    """An improper site cannot be drawn, and need not be: it is a state."""
    return jnp.zeros(site["fn"].shape()) if isinstance(site.get("fn"), dist.ImproperUniform) else None


def draw_parameters(
    model: Callable, data: dict[str, Any], initial_sites: tuple[str, ...], seed: int
) -> dict[str, np.ndarray]:
    """A draw from the prior of every site before the scan but those of the initial state."""
    flat = handlers.substitute(_StopAtTheScan(model), substitute_fn=_any_value_of_a_flat_site)
    trace = handlers.trace(flat)
    with handlers.seed(rng_seed=seed), contextlib.suppress(_AtTheScan):
        trace.get_trace(**data)
    samples = {name: site for name, site in trace.trace.items() if site["type"] == "sample"}
    return {name: np.asarray(site["value"]) for name, site in samples.items() if name not in initial_sites}


def assert_finite_beliefs(
    system: FiniteState,
    model: Callable,
    data: dict[str, Any],
    parameters: dict[str, Any],
    observed: dict[str, Any],
    integer_data: tuple[str, ...] = (),
    **start: Any,
) -> None:
    """Evidence, filter, smoother and pairwise marginals are the sums over all paths."""
    structure, first = system.structure, system.structure.order == "emission first"
    listed = paths.enumerate_paths(
        model,
        data,
        parameters,
        observed=observed,
        state_site=structure.states[0],
        initial_site=structure.initials[0] if structure.initials else None,
        num_states=len(system.initial),
        num_steps=len(system.log_likelihood),
        emission_first=first,
        integer_data=integer_data,
        **start,
    )
    found = finite.smooth(system)
    assert_logs_close(found.log_evidence, listed.log_evidence, "log evidence")
    assert_logs_close(found.log_predictive, listed.log_predictive, "log predictive")
    for kind in ("predicted", "filtered", "smoothed"):
        assert_probabilities_close(getattr(found, kind), getattr(listed, kind), kind)
    pairs = paths.marginals(listed.path, listed.log_joint, num_states=len(system.initial), emission_first=first)
    assert_probabilities_close(finite.pairwise(system), pairs.pairwise, "pairwise")


def assert_gaussian_beliefs(system: LinearGaussian, expected: dense.GaussianPosterior) -> None:
    """Evidence, filter, smoother and pairwise covariances are those of the conditioned joint."""
    found = gaussian.smooth(system)
    assert_logs_close(found.log_evidence, expected.log_evidence, "log evidence")
    assert_logs_close(found.log_predictive, expected.log_predictive, "log predictive")
    for kind in ("predicted", "filtered", "smoothed"):
        mean, covariance = getattr(expected, f"{kind}_mean"), getattr(expected, f"{kind}_covariance")
        assert_means_close(getattr(found, kind), mean, covariance, f"{kind} mean")
        found_covariance = getattr(found, f"{kind}_covariance")
        assert_covariances_close(found_covariance, covariance, covariance, covariance, f"{kind} covariance")
    smoothed = expected.smoothed_covariance
    pairs = gaussian.pairwise(system)
    assert_covariances_close(pairs, expected.pairwise_covariance, smoothed[:-1], smoothed[1:], "pairwise")


def assert_density_along_random_paths(
    system: System, model: Callable, data: dict[str, Any], parameters: dict[str, Any], seed: int, count: int = 3
) -> None:
    """log density of the program, less the parameters' prior, is the sum of the structure's terms along the path.

    The data must be complete. Several state sites are stacked, scalars, in the order of the structure.
    """
    rng, steps = np.random.default_rng(seed), _steps(system)
    given = {name: jnp.asarray(value) for name, value in parameters.items()}

    def states() -> list[jax.Array]:
        trace = handlers.trace(handlers.seed(handlers.substitute(model, data=given), 0)).get_trace(**data)
        return [trace[name]["value"] for name in system.structure.states]

    shapes = [site.shape[1:] for site in jax.eval_shape(states)]

    @jax.jit
    def without_prior(values: dict[str, jax.Array]) -> jax.Array:
        log_probs, _ = compute_log_probs(model, (), data, given | values)
        return log_density(model, (), data, given | values)[0] - sum(log_probs[name] for name in parameters)

    for _ in range(count):
        if isinstance(system, FiniteState):
            path = rng.integers(len(system.initial), size=steps + 1)
            if not system.structure.initials:
                path[0] = np.argmax(system.initial)
            terms, values = _finite_terms(system, path), {system.structure.states[0]: jnp.asarray(path[1:])}
            values |= {name: jnp.asarray(path[0]) for name in system.structure.initials}
        else:
            scale = np.nanstd(np.asarray(system.observations)) + 1.0
            path = np.asarray(system.initial_mean) + scale * rng.normal(size=(steps + 1, len(system.initial_mean)))
            if not system.structure.initials:
                path[0] = system.initial_mean
            terms = _gaussian_terms(system, path)
            ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
            parts = list(zip(np.split(path, ends, axis=1), shapes, strict=True))
            values = {
                name: jnp.asarray(part[1:].reshape(steps, *shape))
                for name, (part, shape) in zip(system.structure.states, parts, strict=True)
            }
            values |= {
                name: jnp.asarray(part[0].reshape(shape))
                for name, (part, shape) in zip(system.structure.initials, parts, strict=False)
            }
        whole = float(without_prior(values))
        if np.isneginf(terms):  # NumPyro itself keeps impossible values finite
            assert whole < -80
        else:
            assert_logs_close(terms, whole, "log density along a path")


def _steps(system: System) -> int:
    return len(system.log_likelihood if isinstance(system, FiniteState) else system.observations)


def _finite_terms(system: FiniteState, path: np.ndarray) -> float:
    initial, transition, log_likelihood = (np.asarray(array) for array in system[:3])
    at, old, new = np.arange(len(path) - 1), path[:-1], path[1:]
    moves = transition[at, old, new] if "transition" in system.structure.varying else transition[old, new]
    index = {"transition first": (at, new), "emission first": (at, old), "both states": (at, old, new)}
    with np.errstate(divide="ignore"):
        return float(
            np.log(initial[path[0]]) + np.log(moves).sum() + log_likelihood[index[system.structure.order]].sum()
        )


def _gaussian_terms(system: LinearGaussian, path: np.ndarray) -> float:
    def at(name: str, t: int) -> np.ndarray:
        array = np.asarray(getattr(system, name))
        return array[t] if name in system.structure.varying else array

    first = system.structure.order == "emission first"
    total = 0.0
    if system.structure.initials:
        total += multivariate_normal.logpdf(path[0], system.initial_mean, system.initial_covariance)
    for t, y in enumerate(np.asarray(system.observations)):
        emitting = path[t] if first else path[t + 1]
        total += multivariate_normal.logpdf(path[t + 1], at("A", t) @ path[t] + at("b", t), at("Q", t))
        total += multivariate_normal.logpdf(y, at("C", t) @ emitting + at("d", t), at("R", t))
    return float(total)
