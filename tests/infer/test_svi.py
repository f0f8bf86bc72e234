"""Does SVI optimise the right thing?  A Gaussian posterior is within reach of the full-rank guide: its ELBO is the evidence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer.util import log_density

from ppl_worldmodel import exact_engine, read, svi
from ppl_worldmodel.infer.svi import _standardised
from ppl_worldmodel.models import nile

DATA = {"observations": nile.data()["observations"][:10]}
PARAMETERS = {"level_scale": 60.0, "observation_scale": 120.0}


@pytest.mark.slow
def test_the_standardised_program_has_the_same_density() -> None:
    program = read(nile.model, DATA, PARAMETERS).program(PARAMETERS)
    standard, constrain, start = _standardised(program, jax.random.key(0))
    points = [start, start + 0.3, start - 0.7]
    there = [float(log_density(standard, (), {}, {"u": u})[0]) for u in points]
    here = [float(log_density(program, (), {}, constrain(u))[0]) for u in points]
    # The two differ by the log of the prior scales, a constant.
    np.testing.assert_allclose(np.diff(there), np.diff(here), rtol=1e-9)


@pytest.mark.slow
def test_a_full_rank_guide_reaches_the_evidence_and_a_mean_field_one_does_not() -> None:
    evidence = exact_engine()(read(nile.model, DATA, PARAMETERS), jax.random.key(0)).attrs["log_evidence"]
    full = svi(guide="full_rank", num_steps=4000)(read(nile.model, DATA, PARAMETERS), jax.random.key(1))
    mean_field = svi(num_steps=4000)(read(nile.model, DATA, PARAMETERS), jax.random.key(1))
    gap = evidence - full.attrs["elbo"]
    assert -4 * full.attrs["elbo_mcse"] < gap < 0.05, gap
    assert full.attrs["pareto_k"] < 0.7
    # KL from the best factorised Gaussian to a Gaussian with precision matrix L is half of log prod diag(L) - log det L.
    steps = len(DATA["observations"])
    move, see = PARAMETERS["level_scale"] ** -2, PARAMETERS["observation_scale"] ** -2
    precision = np.diag(np.r_[500.0**-2 + see + move, np.full(steps - 1, 2 * move + see), move])
    precision -= move * (np.eye(steps + 1, k=1) + np.eye(steps + 1, k=-1))
    best = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
    gap = evidence - mean_field.attrs["elbo"]
    assert best - 4 * mean_field.attrs["elbo_mcse"] < gap < best + 0.1 + 4 * mean_field.attrs["elbo_mcse"], (gap, best)


def test_the_step_size_falls() -> None:
    from ppl_worldmodel.infer.svi import _falling

    schedule = _falling(0.02, 100)
    np.testing.assert_allclose([schedule(jnp.array(t)) for t in (0, 50, 100)], [0.02, 0.02, 0.00002])
