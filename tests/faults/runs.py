"""How does an engine answer about a hundred data sets, and compile once?  The package's own samplers, as functions.

An engine of the package closes over its data, so that every data set compiles anew. Here the same samplers (`path_sampler`,
`chain`, NUTS on the same programs, `bootstrap`) take the parameters and the data as arguments, and their draws become a result
with just what `check` looks at.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from numpyro.infer import MCMC, NUTS, init_to_sample

from ppl_worldmodel.exact.families import verbs
from ppl_worldmodel.exact.system import System
from ppl_worldmodel.infer import beliefs as belief
from ppl_worldmodel.infer import smc as particles
from ppl_worldmodel.infer.blocked_gibbs import chain, conjugate_families
from ppl_worldmodel.infer.prefixes import prefix_lengths, with_prefixes
from ppl_worldmodel.infer.result_tree import PARAMETERS, STATES
from ppl_worldmodel.infer.single_site import path_sampler
from ppl_worldmodel.program.finite.latent_values import layout
from ppl_worldmodel.program.marginalize import marginal
from ppl_worldmodel.program.reading import Reading, read
from ppl_worldmodel.program.step import take_apart
from ppl_worldmodel.program.system import log_predictive, system_of

from ..agreement import law_of

CHAINS = 4


class Case(NamedTuple):
    """A question to an engine: values of the parameters (those that it learns are not looked at) and the program's arguments.

    The observations are floats, NaN where one is missing.
    """

    parameters: dict[str, Any]
    data: dict[str, Any]


class Engine(NamedTuple):
    """ask   cases and keys, with a first axis each -> arrays with that axis; compiled once
    tell  the arrays of one case -> a result as the package's engines return it, as far as `check` looks at it
    """

    ask: Callable[[Case, Array], Any]
    tell: Callable[[Any], xr.DataTree]


def answers(engine: Engine, cases: Sequence[Case], key: Array, *, at_once: int = 10) -> Iterator[xr.DataTree]:
    """The result for every case, each with a key of its own; so many side by side."""
    keys = jax.random.split(key, len(cases))
    for first in range(0, len(cases), at_once):
        some = jax.tree.map(lambda *each: np.stack(each), *cases[first : first + at_once])
        found = jax.tree.map(np.asarray, engine.ask(some, keys[first : first + at_once]))
        for i in range(len(keys[first : first + at_once])):
            yield engine.tell(jax.tree.map(lambda values, i=i: values[i], found))


def answer(engine: Engine, case: Case, seed: int = 0) -> xr.DataTree:
    """The result for one case."""
    return next(answers(engine, [case], jax.random.key(seed)))


def exact(model: Callable, example: Case) -> Engine:
    """Filter and smoother at the parameters of the case."""
    reading = read(model, example.data, example.parameters)

    def one(case: Case, key: Array) -> tuple[dict[str, Any], dict[str, Array], Array]:
        found = reading.on(case.data).at(case.parameters)
        known = {name: jnp.asarray(value)[None, None] for name, value in case.parameters.items()}
        return known, _smooth(found), log_predictive(found).sum()

    def tell(found: tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]) -> xr.DataTree:
        known, beliefs, evidence = found
        last = "state" if reading.exact.num_states is not None else "dim"
        arrays = {kind: xr.DataArray(beliefs[kind], dims=("time", last)) for kind in belief.KINDS}
        for name in beliefs:
            arrays[name] = xr.DataArray(beliefs[name], dims=("time", last, "dim_bis")[: beliefs[name].ndim])
        return _tree("exact", reading, STATES, belief.FROM_RECURSION, known, arrays, log_evidence=float(evidence))

    return Engine(jax.jit(jax.vmap(one)), tell)


def gibbs_states(
    model: Callable, example: Case, *, num_warmup: int = 500, num_samples: int = 10_000, prefixes: int = 5
) -> Engine:
    """The single-site Gibbs sampler at given parameters."""
    reading = read(model, example.data, example.parameters)
    steps, num_states = reading.exact.steps, reading.exact.num_states
    sample = path_sampler(
        reading, layout(reading), steps, num_warmup=num_warmup, num_samples=num_samples, num_chains=CHAINS
    )
    lengths = prefix_lengths(prefixes, steps)
    keep = jnp.arange(steps) < jnp.array([steps, *lengths])[:, None]

    def one(case: Case, key: Array) -> Array:
        keys = jax.random.split(key, len(keep))
        paths = jax.vmap(lambda keep, key: sample(case.parameters, case.data, keep, key))(keep, keys)
        return paths[..., 1:].astype(jnp.int8)

    def tell(states: np.ndarray) -> xr.DataTree:
        states = states.astype(int)
        beliefs = belief.of_state_draws("smoothed", states[0], num_states)
        beliefs |= (
            with_prefixes(lambda *_: states[1:], lengths, steps, jax.random.key(0), num_states, bytes_each=1)
            if lengths
            else {}
        )
        return _tree("gibbs", reading, STATES, belief.FROM_STATES, {"state": states[0]}, beliefs)

    return Engine(jax.jit(jax.vmap(one)), tell)


def nuts_states(model: Callable, example: Case, *, num_warmup: int = 500, num_samples: int = 1000) -> Engine:
    """NUTS on the states of the program as written, at given parameters; `state` is the site that emits."""
    reading = read(model, example.data, example.parameters)

    def one(case: Case, key: Array) -> tuple[dict[str, Array], Array]:
        mcmc = _mcmc(reading.on(case.data).program(case.parameters), num_warmup, num_samples)
        mcmc.run(key, extra_fields=("diverging",))
        return mcmc.get_samples(group_by_chain=True), mcmc.get_extra_fields(group_by_chain=True)["diverging"]

    def tell(found: tuple[dict[str, np.ndarray], np.ndarray]) -> xr.DataTree:
        draws, diverging = found
        path = draws["state"][..., None] if draws["state"].ndim == 3 else draws["state"]
        beliefs = belief.of_state_draws("smoothed", path, None)
        return _tree("nuts", reading, STATES, belief.FROM_STATES, draws, beliefs, diverging)

    return Engine(jax.jit(jax.vmap(one)), tell)


def blocked_draw(model: Callable, example: Case, *, num_warmup: int = 500, num_samples: int = 5000) -> Callable:
    """The blocked Gibbs sampler of states and parameters: (case, key) -> (parameters, no divergences)."""
    reading = read(model, example.data)
    run = chain(reading, conjugate_families(reading), num_warmup=num_warmup, num_samples=num_samples)

    def draw(case: Case, key: Array) -> tuple[dict[str, Array], Array | None]:
        return jax.vmap(run, (None, 0))(case.data, jax.random.split(key, CHAINS))[0], None

    return draw


def gibbs_learned(model: Callable, example: Case, *, num_warmup: int = 500, num_samples: int = 5000) -> Engine:
    """The blocked Gibbs sampler of states and parameters."""
    draw = blocked_draw(model, example, num_warmup=num_warmup, num_samples=num_samples)
    return learned("gibbs", model, example, draw)


def nuts_learned(model: Callable, example: Case, *, num_warmup: int = 500, num_samples: int = 1000) -> Engine:
    """NUTS on the program with the states integrated out."""
    reading = read(model, example.data)

    def draw(case: Case, key: Array) -> tuple[dict[str, Array], Array]:
        mcmc = _mcmc(marginal(reading.on(case.data)), num_warmup, num_samples)
        mcmc.run(key, extra_fields=("diverging",))
        return mcmc.get_samples(group_by_chain=True), mcmc.get_extra_fields(group_by_chain=True)["diverging"]

    return learned("nuts", model, example, draw)


def learned(name: str, model: Callable, example: Case, draw: Callable, *, most: int = 4000) -> Engine:
    """An engine from draws (case, key) -> (parameters (chain, draw, ...), divergences), its beliefs averaged over at most `most`.

    Draws that are arguments of the question (`case.parameters`, with these axes) make an engine of any source of draws.
    """
    reading = read(model, example.data)

    def one(case: Case, key: Array) -> tuple[Any, Array | None, dict[str, Array]]:
        draws, diverging = draw(case, key)
        length = next(iter(draws.values())).shape[1]
        thinned = {name: values[:, :: max(1, -(-CHAINS * length // most))] for name, values in draws.items()}
        of = jax.vmap(jax.vmap(lambda values: _smooth(reading.on(case.data).at(values))))
        return draws, diverging, of(thinned)

    def tell(found: tuple[dict[str, np.ndarray], np.ndarray | None, dict[str, np.ndarray]]) -> xr.DataTree:
        draws, diverging, past = found
        beliefs: dict[str, xr.DataArray] = {}
        for kind in belief.KINDS[1:]:
            beliefs |= belief._estimated(kind, xr.DataArray(past[kind], dims=("chain", "draw", "time", "state")))
        return _tree(name, reading, PARAMETERS, belief.FROM_PARAMETERS, draws, beliefs, diverging)

    return Engine(jax.jit(jax.vmap(one)), tell)


def smc(model: Callable, example: Case, *, num_particles: int = 2000, num_replicates: int = 32) -> Engine:
    """The bootstrap particle filter at given parameters."""
    reading = read(model, example.data, example.parameters)
    old = reading.exact.structure.order == "emission first"

    def one(case: Case, key: Array) -> Any:
        def replicates(scan: Any, beginning: Any) -> Any:
            step = take_apart(scan, beginning)
            batch, table = system_of(step, beginning, reading.plan)[1:]
            run = particles.bootstrap(step, beginning, batch, table, old, num_particles)
            return jax.vmap(run)(jax.random.split(key, num_replicates))

        return reading.on(case.data).visit(replicates, case.parameters)

    def tell(done: Any) -> xr.DataTree:
        alive = particles._alive(done.log_predictive, num_particles)
        beliefs = particles.of_replicates("predicted", done.predicted, alive[:, :-1], False)
        beliefs |= particles.of_replicates("filtered", done.filtered, alive[:, 1:], False)
        log_evidence, error = particles.evidence_of(done.log_predictive.sum(axis=1))
        fewest = done.ess.min(axis=(0, 2))
        tree = _tree(
            "smc", reading, STATES, particles.FROM_PARTICLES, {"last_state": done.drawn[:, -1:, 0]}, beliefs,
            log_evidence=log_evidence, log_evidence_mcse=error, num_particles=num_particles, num_replicates=num_replicates,
            replicates_lost=0, smallest_ess=float(fewest.min()), smallest_ess_time=int(fewest.argmin()),
        )  # fmt: skip
        terms = xr.DataArray(done.log_predictive[:, None, :, 0], dims=("chain", "draw", "time"))
        tree["log_likelihood"] = xr.DataTree(xr.Dataset({"log_predictive": terms}))
        return tree

    return Engine(jax.jit(jax.vmap(one)), tell)


def _smooth(system: System) -> dict[str, Array]:
    """The beliefs of a system by name, without what `structure.extra` added to its state."""
    size, past = system.dim_x, verbs(system).smooth(system)._asdict()
    if size is None:
        return {kind: past[kind] for kind in belief.KINDS}
    means = {kind: past[kind][..., :size] for kind in belief.KINDS}
    return means | {f"{kind}_covariance": past[f"{kind}_covariance"][..., :size, :size] for kind in belief.KINDS}


def _mcmc(program: Callable, num_warmup: int, num_samples: int) -> MCMC:
    return MCMC(
        NUTS(program, init_strategy=init_to_sample), num_warmup=num_warmup, num_samples=num_samples, num_chains=CHAINS,
        chain_method="vectorized", progress_bar=False,
    )  # fmt: skip


def _tree(
    engine: str,
    reading: Reading,
    question: str,
    beliefs_from: str,
    posterior: dict,
    beliefs: dict,
    diverging: Any = None,
    **said: Any,
) -> xr.DataTree:
    groups = {"posterior": xr.Dataset({name: _draws(name, values) for name, values in posterior.items()})}
    groups["beliefs"] = xr.Dataset(beliefs)
    if diverging is not None:
        groups["sample_stats"] = xr.Dataset({"diverging": (("chain", "draw"), diverging)})
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {
        "engine": engine,
        "law": law_of(engine),
        "question": question,
        "family": reading.family,
        "beliefs_from": beliefs_from,
        **said,
    }
    return tree


def _draws(name: str, values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims=("chain", "draw", *(f"{name}_dim_{i}" for i in range(values.ndim - 2))))
