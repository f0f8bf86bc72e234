"""What does a program with discrete latent sites say, when every combination of their values is written out?

The program is an ordinary NumPyro program with one `scan` over time, which returns the stacked outputs of that
scan: the states to judge, any pytree of arrays, time first. Nothing else is known about it. Its latent sites
(several, of any shape, inside plates, before the scan) run through all their values, and every belief is a sum:

    p(y_1:t) = sum over combinations w of p(w) * product over u <= t of p(y_u | w)

The likelihood of step u is whatever the program observes in it, factors included. Latent sites of later steps
need no care, their probabilities sum to one. A latent site that is masked has no probabilities: it counts as
uniform on its support, so the evidence here is NumPyro's own less log(number of values) for every masked entry.

Missing (NaN) entries of the data are left out of the likelihood, which is right where nothing else depends on
them. That is checked by filling the gaps with two different values. Latent sites that are not listed (those of
`obs_mask`, named `<name>_unobserved`, and `Delta`) are drawn, and it is checked with a second draw that nothing
depends on them either.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from numpyro import handlers
from numpyro.distributions import MaskedDistribution
from numpyro.infer.util import compute_log_probs
from scipy.special import logsumexp

CHUNK = 4096  # combinations evaluated at once
LIMIT = 2**20  # combinations at most
Belief = dict[tuple[Any, ...], float]  # state (leaves flattened in the order of jax.tree): probability


class ProgramBeliefs(NamedTuple):
    """Beliefs about the state that the program returns for each step; NaN after an impossible observation."""

    log_evidence: float  # log p(y_1:T), nats
    log_predictive: Float[np.ndarray, " time"]  # log p(y_t | y_1:t-1), nats; 0 where nothing was seen
    predicted: list[Belief]  # p(state_t | y_1:t-1); a state that is listed may have probability zero
    filtered: list[Belief]  # p(state_t | y_1:t)
    smoothed: list[Belief]  # p(state_t | y_1:T)
    sequences: tuple["ProgramBeliefs", ...] = ()  # the same for every sequence of a plate alone


class Run(NamedTuple):
    """One run of a program at given values of its sites."""

    log_prior: dict[str, jax.Array]  # of each listed latent site: (time, *batch), or (*batch) before the scan, nats
    log_likelihood: dict[str, jax.Array]  # of each observed site and factor of the step: (time, *batch), nats
    states: Any  # what the program returned
    trace: dict[str, Any]


def run(
    model: Callable[..., Any], data: dict[str, Any], parameters: dict[str, Any], latents: dict[str, Any], key: jax.Array
) -> Run:
    """Run the program with its parameters and latent sites given; sites that are left over are drawn.

    Raises ValueError for a latent site that is not there and for an observed site outside of the scan.
    """
    returned: list[Any] = []
    seeded = handlers.seed(lambda **given: returned.append(model(**given)), key)
    log_probs, trace = compute_log_probs(seeded, (), data, {**parameters, **latents}, sum_log_prob=False)
    if unknown := sorted({*latents, *parameters} - set(trace)):
        raise ValueError(f"the program has no sites {unknown}")
    seen = [name for name in log_probs if trace[name]["is_observed"]]
    if outside := [name for name in seen if not trace[name].get("_control_flow_done", False)]:
        raise ValueError(f"observed outside of the scan: {outside}")
    log_prior, log_likelihood = ({name: log_probs[name] for name in names} for names in (latents, seen))
    return Run(log_prior, log_likelihood, returned[-1], trace)


def enumerate_program(
    model: Callable[..., Any],
    data: dict[str, Any],
    parameters: dict[str, Any],
    latents: dict[str, Any],
    *,
    sequence_axis: int | None = None,
    integer_data: Collection[str] = (),
    fill_missing: bool = True,
) -> ProgramBeliefs:
    """Sum the program's density over all values of its latent sites, given its parameters.

    `data` holds the program's keyword arguments, `parameters` a value for every parameter site, `latents` the
    support (a 1-d array) of every latent site, whose every entry runs through it. `sequence_axis`, negative,
    is the axis of a plate of independent sequences in the log densities of the observed sites and in the
    leaves of the state. `integer_data` names entries of `data` that are floats for their NaN only: the program
    gets integers. `fill_missing=False`: the program masks NaN itself, and is given the data as they are.

    Raises RuntimeError without float64, and ValueError for a support that does not cover its site, too many
    combinations, an observation missing in part although its parts have one joint density, results that
    depend on a missing value or on a site that is not listed, and sequences that are not independent.
    """
    if not jax.config.jax_enable_x64:
        raise RuntimeError("the oracle needs float64: call numpyro.enable_x64() first")
    parameters = {name: jnp.asarray(value) for name, value in parameters.items()}
    fills = [_filled(data, other, integer_data) if fill_missing else data for other in (False, True)]
    given = handlers.substitute(model, data=parameters)
    trace = abstract_trace(given, fills[0], latents)
    gaps = fill_missing and any(has_gap(leaf) for leaf in jax.tree.leaves(data))
    missing = _missing(given, data) if gaps else {}

    def evaluate(attempt: int) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """Log prior (w,), log likelihood (w, time, sequence) and leaves of the state (w, time, ...)."""

        @jax.jit
        @jax.vmap
        def one(values: dict[str, jax.Array]) -> tuple[Any, ...]:
            found = run(model, fills[attempt], parameters, values, jax.random.key(attempt))
            log_prior = sum(jnp.sum(log_prob) for log_prob in found.log_prior.values())
            return log_prior, found.log_likelihood, jax.tree.leaves(found.states)

        parts = [
            jax.tree.map(lambda leaf, size=size: np.asarray(leaf)[:size], one(values))
            for values, size in _combinations(trace, latents)
        ]
        log_prior, sites, states = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        num_steps = {leaf.shape[1] if leaf.ndim > 1 else None for leaf in [*states, *sites.values()]}
        if len(num_steps) != 1 or None in num_steps or not states:
            raise ValueError("the program must return the stacked outputs of its scan")
        kept = [_per_step(name, log_prob, missing.get(name), sequence_axis) for name, log_prob in sites.items()]
        zeros = np.zeros((len(log_prior), num_steps.pop(), 1))
        return log_prior, sum(kept, start=zeros), states

    log_prior, log_likelihood, states = evaluate(0)
    drawn = {name for name, site in trace.items() if site["type"] == "sample" and not site["is_observed"]}
    if gaps or drawn - set(latents) - set(parameters):
        first, second = (jax.tree.leaves(found) for found in ((log_prior, log_likelihood, states), evaluate(1)))
        if not all(np.allclose(one, other, rtol=1e-10, atol=1e-10) for one, other in zip(first, second, strict=True)):
            raise ValueError("the result depends on a missing value or on a latent site that is not listed")
    if np.isnan(log_likelihood).any():
        raise ValueError("the log likelihood is NaN")
    mass = np.exp(logsumexp(log_prior))
    masked = any(isinstance(trace[name]["fn"], MaskedDistribution) for name in latents)
    if abs(mass - (np.round(mass) if masked else 1)) > 1e-6 * mass or mass < 0.5:
        raise ValueError(f"the supports do not cover the latent sites: the prior sums to {mass}")

    log_prior = log_prior - logsumexp(log_prior)
    whole = _beliefs(log_prior, log_likelihood.sum(axis=-1), log_likelihood.sum(axis=-1), states)
    if sequence_axis is None:
        return whole
    alone = [
        _beliefs(
            log_prior,
            log_likelihood.sum(axis=-1),
            log_likelihood[..., n],
            [np.take(leaf, n, axis=sequence_axis) for leaf in states],
        )
        for n in range(log_likelihood.shape[-1])
    ]
    together = np.sum([found.log_predictive for found in alone], axis=0)
    if not np.allclose(together, whole.log_predictive, rtol=1e-9, atol=1e-9, equal_nan=True):
        raise ValueError("the sequences are not independent")
    return whole._replace(sequences=tuple(alone))


def _beliefs(
    log_prior: Float[np.ndarray, " w"],
    log_likelihood: Float[np.ndarray, "w time"],
    own: Float[np.ndarray, "w time"],
    states: list[np.ndarray],
) -> ProgramBeliefs:
    """Beliefs given everything that is seen; the evidence is that of the `own` observations."""
    until = np.column_stack([log_prior, log_likelihood]).cumsum(axis=1)  # column t: log p(w, y_1:t)
    evidence = logsumexp(np.column_stack([log_prior, own]).cumsum(axis=1), axis=0)
    with np.errstate(invalid="ignore"):  # -inf - -inf, after an impossible observation
        weights = np.exp(until - logsumexp(until, axis=0))
        log_predictive = np.diff(evidence)
    beliefs = []
    for t in range(log_likelihood.shape[1]):
        rows = [_rounded(leaf[:, t]).reshape(len(log_prior), -1) for leaf in states]
        distinct, which = np.unique(np.column_stack(rows).astype(float), axis=0, return_inverse=True)
        first = np.unique(which.ravel(), return_index=True)[1]
        names = [tuple(number for row in rows for number in row[i].tolist()) for i in first]
        sums = [np.bincount(which.ravel(), weights[:, s], len(distinct)).tolist() for s in (t, t + 1, -1)]
        beliefs.append([dict(zip(names, column, strict=True)) for column in sums])
    predicted, filtered, smoothed = (list(belief) for belief in zip(*beliefs, strict=True))
    return ProgramBeliefs(float(evidence[-1]), log_predictive, predicted, filtered, smoothed)


def _combinations(trace: dict[str, Any], latents: dict[str, Any]) -> Iterator[tuple[dict[str, np.ndarray], int]]:
    """Values of all latent sites in chunks of one length, and how many of a chunk count (the last is filled up)."""
    supports = {name: np.asarray(support) for name, support in latents.items()}
    shapes = {name: jnp.shape(trace[name]["value"]) for name in latents}
    radices = [len(supports[name]) for name in latents for _ in range(int(np.prod(shapes[name])))]
    total = int(np.prod(radices, dtype=object))
    if total > LIMIT:
        raise ValueError(f"{total} combinations are too many")
    size = min(CHUNK, total)
    for start in range(0, total, size):
        digits = np.column_stack(np.unravel_index(np.arange(start, start + size) % total, radices))
        values, column = {}, 0
        for name, shape in shapes.items():
            block = digits[:, column : column + int(np.prod(shape))]
            column += block.shape[1]
            values[name] = supports[name][block].reshape(size, *shape).astype(trace[name]["value"].dtype)
        yield values, min(size, total - start)


def _per_step(
    name: str, log_prob: np.ndarray, missing: Bool[np.ndarray, "time ..."] | None, sequence_axis: int | None
) -> Float[np.ndarray, "w time sequence"]:
    """Log likelihood of what is present at one site, by step and by sequence (one where there is no axis of them)."""
    if missing is not None:
        log_prob = np.where(missing, 0.0, log_prob)
    if sequence_axis is None:
        return log_prob.reshape(*log_prob.shape[:2], -1).sum(axis=-1, keepdims=True)
    if log_prob.ndim - 2 < -sequence_axis:
        raise ValueError(f"site '{name}' has no axis {sequence_axis} of sequences")
    last = np.moveaxis(log_prob, sequence_axis, -1)
    return last.reshape(*last.shape[:2], -1, last.shape[-1]).sum(axis=2)


def abstract_trace(model: Callable[..., Any], data: dict[str, Any], latents: Collection[str]) -> dict[str, Any]:
    """The program's sites with the shapes and dtypes of their values, which are not computed."""
    traces: list[dict[str, Any]] = []
    jax.eval_shape(lambda: traces.append(handlers.trace(handlers.seed(model, 0)).get_trace(**data)))
    if unknown := sorted(set(latents) - set(traces[0])):
        raise ValueError(f"the program has no sites {unknown}")
    return traces[0]


def _missing(model: Callable[..., Any], data: dict[str, Any]) -> dict[str, np.ndarray]:
    """Which entries of the observed sites are NaN, in the shape of their log densities, from a run on the raw data."""
    event_dim: dict[str, int] = {}

    @jax.jit
    def gaps() -> dict[str, jax.Array]:
        sites = handlers.trace(handlers.seed(model, 0)).get_trace(**data)
        seen = [name for name, site in sites.items() if site["type"] == "sample" and site["is_observed"]]
        event_dim.update({name: sites[name]["fn"].event_dim for name in seen})
        return {name: jnp.isnan(jnp.asarray(sites[name]["value"], float)) for name in seen}

    found = {}
    for name, gap in jax.tree.map(np.asarray, gaps()).items():
        event = tuple(range(gap.ndim - event_dim[name], gap.ndim))
        if gap.size and (gap.any(axis=event) & ~gap.all(axis=event)).any():
            raise ValueError(f"'{name}' is missing in part, but the program gives its parts one joint density")
        if gap.size:  # a factor has an empty value
            found[name] = gap.all(axis=event)
    return found


def has_gap(leaf: Any) -> bool:
    array = np.asarray(leaf)
    return bool(np.issubdtype(array.dtype, np.floating) and np.isnan(array).any())


def _filled(data: dict[str, Any], other: bool, integer_data: Collection[str]) -> dict[str, Any]:
    """The data with the least value that is present in place of NaN, or with another one."""

    def fill(leaf: Any) -> Any:
        if not has_gap(leaf):
            return jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf
        present = np.asarray(leaf)[~np.isnan(leaf)]
        least, most = (present.min(), present.max()) if present.size else (0.0, 0.0)
        value = (most if most > least else least + 1) if other else least
        return jnp.asarray(np.where(np.isnan(leaf), value, leaf))

    filled = {name: jax.tree.map(fill, value) for name, value in data.items()}
    return {name: value.astype(int) if name in integer_data else value for name, value in filled.items()}


def _rounded(leaf: np.ndarray) -> np.ndarray:
    """Equal states have equal numbers, whatever the last bits of the arithmetic say."""
    return np.round(leaf, 12) + 0.0 if np.issubdtype(leaf.dtype, np.floating) else leaf
