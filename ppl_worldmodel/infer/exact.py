"""The exact engine: filter, smoother and evidence at given parameters, read off the program."""

import time

import jax
import numpy as np
import xarray as xr

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.exact import finite
from ppl_worldmodel.exact.families import verbs
from ppl_worldmodel.infer import beliefs as belief
from ppl_worldmodel.infer import result_tree
from ppl_worldmodel.infer.engine_spec import EngineSpec
from ppl_worldmodel.infer.proper import check_proper
from ppl_worldmodel.infer.result_tree import Engine
from ppl_worldmodel.program.arguments import random_key
from ppl_worldmodel.program.reading import Reading

REMEDY = (
    "give the prior and the noise more similar scales, or the series in units of its own spread (a variance of 1e16 beside a "
    "noise of 1e-8 leaves no digits)"
)


def exact_engine() -> Engine:
    """An engine that answers exactly, at the parameters that the reading was given.

    Raises DataError where an observation is impossible under the model, and where a belief or a log predictive is none (not
    finite, a covariance that is not positive semi-definite: `infer.proper`), naming the time step.
    """

    def engine(reading: Reading, key: int | jax.Array) -> xr.DataTree:
        started = time.perf_counter()
        key = random_key(key)
        if reading.values is None:
            raise DataError(
                "the exact engine answers at given parameters: read(model, data, parameters); to learn them, use nuts or svi"
            )
        system = reading.exact
        terms = np.asarray(verbs(system).evidence(system))
        impossible = finite.first_impossible(terms.reshape(-1, terms.shape[-1]).sum(axis=0))
        if impossible is not None:
            raise DataError(
                f"the observation at time step {impossible} (counted from 0) is impossible under the model: its log predictive is "
                f"-inf, "
                "and so is the evidence; check the data there, and the zeros of T and of the emissions"
            )
        beliefs = belief.of_system(system)
        check_proper(beliefs, REMEDY)
        _check_terms(terms)
        return result_tree.build(
            reading=reading,
            key=key,
            started=started,
            engine="exact",
            algorithm=verbs(system).ALGORITHM,
            question=result_tree.STATES,
            law="exact",
            beliefs_from=belief.FROM_RECURSION,
            beliefs=beliefs,
            posterior={name: np.asarray(value)[None, None] for name, value in reading.values.items()},
            log_predictive=terms[None, None],
            log_evidence=float(terms.sum()),
            **beliefs["smoothed"].attrs,
        )

    return engine


def _check_terms(terms: np.ndarray) -> None:
    """Raise DataError at the first log predictive that is no number, (*sequence, time)."""
    wrong = np.isnan(terms).any(axis=tuple(range(terms.ndim - 1)))
    if wrong.any():
        raise DataError(
            f"the log predictive density at time step {int(wrong.argmax())} (counted from 0) is not a number: the data do not "
            f"determine the first state, or digits were lost in the recursion; {REMEDY}"
        )


ENGINES = (EngineSpec("exact", lambda budget: exact_engine(), states=("finite", "continuous"), order=0),)
