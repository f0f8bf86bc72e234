"""Particle filter engine: a bootstrap particle filter on the program as it is written, at given parameters.

It answers for every program with a scan whose sites can be drawn: switching systems, nonlinear moves, any density of what is
seen; and where `read` has the exact answer, too, it is a referee of it. Independent replicates of the filter (infer/particles.py)
give the Monte Carlo errors: each belief is the plain average over the replicates, and its error comes from their spread; where
that is smaller than at the steps around, theirs is taken (`steadied`). A replicate's belief has a bias of order
1 / num_particles, far below that error while there are many more particles than replicates. The average of the replicates'
evidences (not of their logarithms) is unbiased.

Source: Gordon, Salmond & Smith (1993), IEE Proc. F 140; Del Moral (2004), Feynman-Kac Formulae, Proposition 7.4.1.
"""

import time
from contextlib import nullcontext
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from ppl_worldmodel.errors import DataError, WorldModelError
from ppl_worldmodel.infer import result_tree
from ppl_worldmodel.infer.beliefs import borrowed, share_error
from ppl_worldmodel.infer.engine_spec import Budget, EngineSpec, without_draws
from ppl_worldmodel.infer.particles import Pass, Summary, bootstrap
from ppl_worldmodel.infer.result_tree import Engine
from ppl_worldmodel.program.arguments import random_key
from ppl_worldmodel.program.intercept import Beginning
from ppl_worldmodel.program.reading import Reading, system_of_step
from ppl_worldmodel.program.sites import Scan
from ppl_worldmodel.program.step import take_apart

FROM_PARTICLES = "weighted particles"
REACH = 5  # steps before and after one whose errors steady its own


def smc(*, num_particles: int = 2000, num_replicates: int = 32, progress: bool = False) -> Engine:
    """An engine that filters with particles, at the parameters that the reading was given (all, if it has none): predicted and
    filtered beliefs, and the evidence.

    num_particles   of each replicate. With few of them beliefs are biased and the evidence is all spread: look at the attribute
                    `smallest_ess` of the result, the fewest effective particles at any step, and at `log_evidence_mcse`.
    num_replicates  independent filters side by side; with one there are no Monte Carlo errors

    The state is that of `read` where the program reads: probabilities of finite states, else mean and covariance. Of any other
    program it is what the carry holds after the step: the leaves that depend on a latent site, stacked in the carry's order.
    Sequences that `read` finds to be independent are each weighed and resampled on their own. A program that does not read is
    one joint state: more than a few sequences at once degenerate, which `smallest_ess` shows.

    The tree has `log_predictive` with one chain for each replicate, and the attributes `log_evidence` (log of the average of the
    replicates' evidences) and `log_evidence_mcse`. Its `posterior` has the parameters and `last_state`, one draw from each
    replicate of the state at the end of the series.
    Raises DataError where no particle of any replicate is possible, naming the time step; NotExactlySolvable where the program
    has no scan that could be run; WorldModelError for a first state that cannot be drawn.
    """
    if num_particles < 1 or num_replicates < 1:
        raise WorldModelError(
            f"smc was given num_particles={num_particles} and num_replicates={num_replicates}: both must be at least 1"
        )

    def engine(reading: Reading, key: int | jax.Array) -> xr.DataTree:
        started = time.perf_counter()
        key = random_key(key)
        system, parameters = reading.system, reading.values or {}
        unknown = [name for name in reading.parameters if name not in parameters]
        if unknown:
            raise DataError(
                f"smc filters at given parameters, and '{unknown[0]}' is not: read(model, data, parameters) with values of all"
            )
        if system is not None and not system.proper:
            raise WorldModelError(
                f"smc cannot draw the first state from {', '.join(map(repr, reading.plan.start.sites))}: its density is flat "
                "or its variance infinite; give it a proper distribution, or ask the exact engine"
            )

        @jax.jit
        def run(key: jax.Array) -> Pass:
            def replicates(scan: Scan, beginning: Beginning) -> Pass:
                step = take_apart(scan, beginning)
                old = system is not None and system.structure.order == "emission first"
                _, batch, table = system_of_step(reading, step, beginning)
                one = bootstrap(step, beginning, batch, table, old, num_particles)
                return jax.vmap(one)(jax.random.split(key, num_replicates))

            return reading.visit(replicates, parameters)

        with _shown(progress, f"smc: {num_replicates} x {num_particles} particles"):
            # Compiled with less effort: it takes a third less time, and the filter is as fast.
            once = run.lower(key).compile({"xla_backend_optimization_level": 1})
            done = jax.tree.map(np.asarray, once(key))
        alive = _alive(done.log_predictive, num_particles)
        several = system is not None and system.structure.sequences > 0
        beliefs = of_replicates("predicted", done.predicted, alive[:, :-1], several)
        beliefs |= of_replicates("filtered", done.filtered, alive[:, 1:], several)
        log_predictive = np.where(alive[:, 1:], done.log_predictive, -np.inf)
        log_evidence, error = evidence_of(log_predictive.sum(axis=1))
        fewest = done.ess.min(axis=(0, 2), where=alive[:, 1:], initial=num_particles)
        by_sequence = np.moveaxis(log_predictive, 1, -1) if several else log_predictive[:, :, 0]
        last = np.where(alive[:, -1, :, None], done.drawn[:, -1], np.nan)
        posterior = {name: np.asarray(value)[None].repeat(num_replicates, 0) for name, value in parameters.items()}
        posterior["last_state"] = last if several else last[:, 0]
        return result_tree.build(
            reading=reading, key=key, started=started, engine="smc",
            algorithm="bootstrap particle filter, systematic resampling", question=result_tree.STATES,
            law="particles", beliefs_from=FROM_PARTICLES, beliefs=beliefs,
            posterior={name: values[:, None] for name, values in posterior.items()},
            log_predictive=by_sequence[:, None], log_evidence=log_evidence,
            log_evidence_mcse=error, num_particles=num_particles, num_replicates=num_replicates,
            replicates_lost=int((~alive[:, -1].all(axis=-1)).sum()), smallest_ess=float(fewest.min()),
            smallest_ess_time=int(fewest.argmin()),
        )  # fmt: skip

    return engine


def of_replicates(
    kind: str, found: Summary, alive: Bool[np.ndarray, "replicate time sequence"], several: bool
) -> dict[str, xr.DataArray]:
    """Beliefs from the summaries of the replicates, (replicate, time, sequence, ...), with their Monte Carlo errors.

    alive  replicates that still had a possible particle; the others are left out. NaN where none is left.
    The effective number of draws of a quantity is its variance under the belief over its squared Monte Carlo error; of a state
    without particles in any replicate it is that of the others, and its error that of none among so many (`share_error`).
    """

    def named(values: np.ndarray, *last: str) -> xr.DataArray:
        lead = ("time", *last) if not several else ("sequence", "time", *last)
        return xr.DataArray(np.moveaxis(values, 1, 0) if several else values[:, 0], dims=lead)

    if "probability" in found:
        share, error = averaged(found["probability"], alive)
        error, ess = steadied(error, share * (1.0 - share))
        ess = borrowed(ess, float(len(alive)))
        error = np.fmax(error, share_error(share, ess))
        return {kind: named(share, "state")} | {
            f"{kind}_ess": named(ess, "state"),
            f"{kind}_mcse": named(error, "state"),
        }
    mean, mean_error = averaged(found["mean"], alive)
    apart = np.where(alive[..., None], found["mean"] - mean, 0.0)
    covariance, _ = averaged(found["covariance"] + apart[..., :, None] * apart[..., None, :], alive)
    variance = np.diagonal(covariance, axis1=-2, axis2=-1)
    own = np.diagonal(found["covariance"], axis1=-2, axis2=-1)
    _, variance_error = averaged(own + apart**2, alive)
    fourth, _ = averaged(found["fourth"], alive)
    error, ess = steadied(mean_error, variance)
    variance_error, variance_ess = steadied(variance_error, np.maximum(fourth - variance**2, 0.0))
    return {
        kind: named(mean, "dim"),
        f"{kind}_covariance": named(covariance, "dim", "dim_bis"),
        f"{kind}_ess": named(ess, "dim"),
        f"{kind}_mcse": named(error, "dim"),
        f"{kind}_variance_ess": named(variance_ess, "dim"),
        f"{kind}_variance_mcse": named(variance_error, "dim"),
    }


def averaged(values: np.ndarray, alive: Bool[np.ndarray, "replicate time sequence"]) -> tuple[np.ndarray, np.ndarray]:
    """The mean over the replicates that are alive, and its standard error; both NaN where there is nothing to tell them from.

    An error without any spread (up to rounding) is undefined, too: the quantity never varied.
    """
    kept = alive.reshape(*alive.shape, *(1,) * (values.ndim - 3))
    count = kept.sum(axis=0).astype(float)
    mean = np.where(kept, values, 0.0).sum(axis=0) / np.where(count > 0, count, np.nan)
    square = np.where(kept, (values - mean) ** 2, 0.0).sum(axis=0) / np.where(count > 1, count - 1.0, np.nan)
    varies = square > (1e-12 * (1.0 + np.abs(mean))) ** 2
    return mean, np.where(varies, np.sqrt(square / np.where(count > 1, count, np.nan)), np.nan)


def steadied(
    error: Float[np.ndarray, "time sequence entry"], variance: Float[np.ndarray, "time sequence entry"]
) -> tuple[np.ndarray, np.ndarray]:
    """Standard errors (time, sequence, entry) that a lucky spread does not make too small, and effective numbers of draws.

    variance  of the quantity under the belief
    The spread of a few replicates is itself uncertain, by a fifth for 16 of them, and where it comes out small, a right answer
    looks wrong. Relative to `variance` it changes slowly in time: at each step the error is at least what the average over the
    steps up to `REACH` before and after says.
    """
    told = (error > 0) & (variance > 0)
    ratio = np.where(told, error**2 / np.where(told, variance, 1.0), 0.0)
    steps = range(len(error))
    near = [slice(max(t - REACH, 0), t + REACH + 1) for t in steps]
    around = np.stack([ratio[some].sum(axis=0) / np.maximum(told[some].sum(axis=0), 1) for some in near])
    ratio = np.maximum(ratio, around)
    ratio = np.where(told, ratio, np.nan)
    return np.where(told, np.sqrt(ratio * variance), error), 1.0 / ratio


def evidence_of(log_terms: Float[np.ndarray, "replicate sequence"]) -> tuple[float, float]:
    """log of the product over the sequences of the averages over replicates of exp(log_terms), and its standard error.

    The averages are unbiased, and the sequences' filters are independent of each other. The error is by the delta method, the
    relative error of each average; NaN with a single replicate.
    """
    top = log_terms.max(axis=0)
    evidence = np.exp(log_terms - top)
    mean, count = evidence.mean(axis=0), len(evidence)
    relative = evidence.std(axis=0, ddof=1) / (mean * np.sqrt(count)) if count > 1 else np.full(top.shape, np.nan)
    return float((np.log(mean) + top).sum()), float(np.sqrt((relative**2).sum()))


def _alive(
    log_predictive: Float[np.ndarray, "replicate time sequence"], num_particles: int
) -> Bool[np.ndarray, "replicate times sequence"]:
    """Which replicates had a possible particle until before the first step, and after each; DataError where none is left."""
    wrong = np.isnan(log_predictive) | np.isposinf(log_predictive)
    if wrong.any():
        raise DataError(
            f"the log density of the observation at time step {np.argwhere(wrong.any(axis=(0, 2)))[0, 0]} (counted from 0) is "
            f"{log_predictive[wrong][0]} for some particle: check the data, the parameters and the program there"
        )
    start = np.ones_like(log_predictive[:, :1], bool)
    alive = np.concatenate([start, np.logical_and.accumulate(np.isfinite(log_predictive), axis=1)], axis=1)
    lost = ~alive.any(axis=0)
    if lost.any():
        step = int(np.argwhere(lost.any(axis=1))[0, 0]) - 1
        raise DataError(
            f"the observation at time step {step} (counted from 0) is impossible for all {num_particles} particles of each of "
            f"the {len(log_predictive)} replicates: the log evidence is -inf; check the data and the zeros of the program, or give "
            "more particles if it is possible but rare"
        )
    return alive


def _shown(progress: bool, what: str) -> Any:
    """Something that turns on the terminal while the filter runs, if that was asked for."""
    if not progress:
        return nullcontext()
    from ppl_worldmodel.terminal import err

    return err.status(what)


def _of_study(budget: Budget) -> Engine:
    return smc(num_particles=budget.particles("smc", budget.size(2000)).draws, progress=budget.progress)


ENGINES = (
    EngineSpec(
        "smc", _of_study, states=("finite", "continuous"), unread=True, refuses=without_draws, order=30,
    ),
)  # fmt: skip
