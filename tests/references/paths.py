"""What does a finite-state program say, when every path of states is written out?

The only thing asked of a program is its own log density (`numpyro.infer.util.compute_log_probs`, the function
whose sum is `log_density`). Every path s_0, s_1, ..., s_T is substituted into the program; all else is a sum:

    p(y_1:t | theta) = sum over paths of p(path | theta) * product over u <= t of p(y_u | path, theta)

An observation that is removed, because it is missing or because it lies after t, is summed out by leaving its
factor out: given the path, its probabilities sum to one. That needs observations that do not depend on a
missing one, which is checked by filling the gaps with two different values (the least and the greatest that
are present): what is left must not change.

The program is evaluated num_states ** (num_steps + 1) times; tens of thousands take a second.
"""

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from numpyro.infer.util import compute_log_probs
from scipy.special import logsumexp


class PathPosterior(NamedTuple):
    """Every path with its weight, and the densities that are sums of them.

    `predicted`, `filtered` and `smoothed` are those of the state that emits observation t; `path_smoothed`
    and `pairwise` those of the step's own state site, whichever order the step has. After an impossible
    observation the evidence is -inf and the beliefs, which do not exist, are NaN.
    """

    path: Int[np.ndarray, "path time+1"]  # s_0, the initial state, is column 0
    log_joint: Float[np.ndarray, " path"]  # log p(path, y_1:T | theta), nats
    log_evidence: float  # log p(y_1:T | theta), nats
    log_predictive: Float[np.ndarray, " time"]  # log p(y_t | y_1:t-1, theta), nats; 0 where nothing was seen
    predicted: Float[np.ndarray, "time state"]  # p(s | y_1:t-1)
    filtered: Float[np.ndarray, "time state"]  # p(s | y_1:t)
    smoothed: Float[np.ndarray, "time state"]  # p(s | y_1:T)
    smoothed_initial: Float[np.ndarray, " state"]  # p(s_0 | y_1:T)
    path_smoothed: Float[np.ndarray, "time state"]  # p(s_t | y_1:T), t = 1..T
    pairwise: Float[np.ndarray, "time-1 state state"]  # p(s_t, s_t+1 | y_1:T), t = 1..T-1


class Marginals(NamedTuple):
    """One and two consecutive states under weighted paths."""

    single: Float[np.ndarray, "time state"]
    pairwise: Float[np.ndarray, "time-1 state state"]


def marginals(
    path: Int[np.ndarray, "path time+1"],
    log_joint: Float[np.ndarray, " path"],
    *,
    num_states: int,
    emission_first: bool,
) -> Marginals:
    """Marginals of the states that emit: s_0..s_T-1 if the step emits first, s_1..s_T if it moves first.

    `log_joint` need not be normalised. Weights that are all zero give NaN.
    """
    emitting = path[:, :-1] if emission_first else path[:, 1:]
    total = logsumexp(log_joint)
    possible = bool(np.isfinite(total))
    weights = np.exp(log_joint - total) if possible else np.full(log_joint.shape, np.nan)
    single = [np.bincount(column, weights, minlength=num_states) for column in emitting.T]
    pairs = [
        np.bincount(before * num_states + after, weights, minlength=num_states**2).reshape(num_states, num_states)
        for before, after in zip(emitting.T[:-1], emitting.T[1:], strict=True)
    ]
    return Marginals(np.array(single), np.array(pairs).reshape(-1, num_states, num_states))


def enumerate_paths(
    model: Callable[..., Any],
    data: dict[str, Any],
    parameters: dict[str, Any],
    *,
    observed: dict[str, Any],
    state_site: str,
    initial_site: str | None,
    num_states: int,
    num_steps: int,
    emission_first: bool,
    initial_value: int = 0,
    integer_data: Collection[str] = (),
) -> PathPosterior:
    """Sum the program's density over all paths of states, given its parameters.

    `data` holds the program's keyword arguments, `parameters` a value for every parameter site, `observed`
    the values of EVERY observed site by name, time first, NaN where missing. `integer_data` names entries of
    `data` that are floats for their NaN only: the program gets integers. Where no site samples the initial
    state (`initial_site=None`), the program starts from `initial_value`.

    Raises RuntimeError without float64, and ValueError for an observed site that is not listed or not there,
    an observation missing in part although the program gives its parts one joint density, observations
    that depend on a missing one, and states that `num_states` does not cover.
    """
    if not jax.config.jax_enable_x64:
        raise RuntimeError("the oracle needs float64: call numpyro.enable_x64() first")
    given = {name: jnp.asarray(value) for name, value in parameters.items()}  # NumPy's T refuses T[traced]
    if initial_site is None:
        free = np.indices((num_states,) * num_steps).reshape(num_steps, -1).T
        path = np.column_stack([np.full(len(free), initial_value), free])
    else:
        path = np.indices((num_states,) * (num_steps + 1)).reshape(num_steps + 1, -1).T

    def evaluate(fill: Callable[[np.ndarray], Any]) -> tuple[np.ndarray, np.ndarray]:
        """log p(path | theta) (path,) and log p(y_t | path, theta) (path, time) of what is present in y_t."""
        filled = {name: _filled(value, fill, name in integer_data) for name, value in data.items()}

        def one_path(states: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
            latent = {**given, state_site: states[1:]}
            if initial_site is not None:
                latent[initial_site] = states[0]
            log_probs, trace = compute_log_probs(model, (), filled, latent, sum_log_prob=False)
            seen = {name for name in log_probs if trace[name]["is_observed"]}
            if seen != set(observed):
                raise ValueError(f"the program observes {sorted(seen)}, but `observed` lists {sorted(observed)}")
            prior = sum(log_probs[name].sum() for name in (state_site, initial_site) if name is not None)
            return prior, {name: log_probs[name] for name in observed}

        log_prior, log_emissions = jax.jit(jax.vmap(one_path))(path)
        log_emission = np.zeros((len(path), num_steps))
        for name, log_prob in log_emissions.items():
            log_emission += _sum_present(name, observed[name], np.asarray(log_prob))
        return np.asarray(log_prior), log_emission

    log_prior, log_emission = evaluate(np.min)
    if any(_has_gap(value) for value in data.values()):
        for one, other in zip((log_prior, log_emission), evaluate(np.max), strict=True):
            if not np.allclose(one, other, rtol=1e-10, atol=1e-10):
                raise ValueError("what is present depends on a missing value, which then cannot be left out")
    total = np.exp(logsumexp(log_prior))
    if abs(total - 1) > 1e-6:
        raise ValueError(f"{num_states} states do not cover the program's: p(path) sums to {total}")

    # Column t: log p(path, y_1:t). All later states are still summed over, and sum out by themselves.
    log_joint_until = np.column_stack([log_prior, log_emission]).cumsum(axis=1)
    log_evidence_until = logsumexp(log_joint_until, axis=0)
    with np.errstate(invalid="ignore"):  # after an impossible observation the next prediction is -inf - -inf
        log_predictive = np.diff(log_evidence_until)

    def beliefs(log_joint: np.ndarray, first: bool) -> Marginals:
        return marginals(path, log_joint, num_states=num_states, emission_first=first)

    log_joint = log_joint_until[:, -1]
    by_prefix = [beliefs(column, emission_first).single for column in log_joint_until.T]
    return PathPosterior(
        path=path,
        log_joint=log_joint,
        log_evidence=float(log_evidence_until[-1]),
        log_predictive=log_predictive,
        predicted=np.array([by_prefix[t][t] for t in range(num_steps)]),
        filtered=np.array([by_prefix[t + 1][t] for t in range(num_steps)]),
        smoothed=by_prefix[-1],
        smoothed_initial=beliefs(log_joint, True).single[0],
        path_smoothed=beliefs(log_joint, False).single,
        pairwise=beliefs(log_joint, False).pairwise,
    )


def _has_gap(value: Any) -> bool:
    array = np.asarray(value)
    return bool(np.issubdtype(array.dtype, np.floating) and np.isnan(array).any())


def _filled(value: Any, fill: Callable[[np.ndarray], Any], integer: bool) -> Any:
    """The same array with `fill` of its present values, certainly a valid value, in place of each NaN."""
    if _has_gap(value):
        missing = np.isnan(value)
        value = np.where(missing, 0.0 if missing.all() else fill(np.asarray(value)[~missing]), value)
    if integer:
        return jnp.asarray(value).astype(int)
    return jnp.asarray(value) if isinstance(value, np.ndarray) else value


def _sum_present(
    name: str, values: Any, log_prob: Float[np.ndarray, "path time ..."]
) -> Float[np.ndarray, "path time"]:
    """Log probability of the present entries of one site at each step (an entry has a density of its own)."""
    present = ~np.isnan(np.asarray(values, dtype=float))
    entries = log_prob.shape[1:]
    if present.shape[: len(entries)] != entries:
        raise ValueError(f"site '{name}' has log densities of shape {entries}, values of shape {present.shape}")
    parts = present.reshape(*entries, -1)
    if not np.array_equal(parts.any(axis=-1), parts.all(axis=-1)):
        raise ValueError(f"'{name}' is missing in part, but the program gives its parts one joint density")
    kept = np.where(parts.all(axis=-1), log_prob, 0.0)
    return kept.reshape(*kept.shape[:2], -1).sum(axis=-1)
