"""Are particles copied, and replicates averaged, as they should be?"""

import jax
import jax.numpy as jnp
import numpy as np

from ppl_worldmodel.infer.particles import systematic
from ppl_worldmodel.infer.smc import averaged, evidence_of, steadied

KEY = jax.random.key(5)


def test_systematic_resampling_keeps_every_share() -> None:
    weight = np.array([0.0, 0.31, 0.0, 0.27, 0.42, 0.0, 0.0])
    with np.errstate(divide="ignore"):
        log_weight = jnp.asarray(np.log(weight))
    drawn = jax.vmap(lambda key: systematic(log_weight, key))(jax.random.split(KEY, 4000))
    copies = (np.asarray(drawn)[:, :, None] == np.arange(7)).sum(axis=1)
    assert (copies >= np.floor(7 * weight)).all()
    assert (copies <= np.ceil(7 * weight)).all()
    z = (copies.mean(axis=0) - 7 * weight)[weight > 0] / (copies.std(axis=0)[weight > 0] / np.sqrt(4000))
    assert np.abs(z).max() < 4.0


def test_a_lost_replicate_counts_as_no_evidence_and_has_no_belief() -> None:
    log_terms = np.log(np.array([[0.2, 0.5], [0.4, 0.1]]))
    log_terms = np.concatenate([log_terms, [[-np.inf, np.log(0.3)]]])
    log_evidence, error = evidence_of(log_terms)
    np.testing.assert_allclose(log_evidence, np.log(0.2 * 0.3), rtol=1e-12)
    np.testing.assert_allclose(error, np.sqrt(0.2**2 / 0.2**2 / 3 + 0.2**2 / 0.3**2 / 3), rtol=1e-12)
    alive = np.array([True, True, False]).reshape(3, 1, 1)
    mean, spread = averaged(np.array([1.0, 2.0, 70.0]).reshape(3, 1, 1, 1), alive)
    np.testing.assert_allclose([mean.item(), spread.item()], [1.5, np.sqrt(0.5 / 2)], rtol=1e-12)
    alone = averaged(np.ones((3, 1, 1, 1)), alive)
    assert alone[0].item() == 1.0
    assert np.isnan(alone[1].item())


def test_an_error_is_at_least_what_the_steps_around_say() -> None:
    variance = np.linspace(1.0, 4.0, 30).reshape(30, 1, 1)
    error = 0.1 * np.sqrt(variance)
    error[20], error[25] = 0.01 * np.sqrt(variance[20]), np.nan
    found, ess = steadied(error, variance)
    expected = np.where(
        np.arange(30) == 20, (9 * 0.01 + 0.0001) / 10, 0.01
    )  # step 25 is among the eleven and says nothing
    np.testing.assert_allclose(np.delete(found**2 / variance, 25, axis=0).ravel(), np.delete(expected, 25), rtol=1e-12)
    np.testing.assert_allclose(np.delete(ess, 25, axis=0).ravel(), 1.0 / np.delete(expected, 25), rtol=1e-12)
    assert np.isnan(found[25]).all()
    assert np.isnan(ess[25]).all()
