"""Are wrong arguments of a verb refused with what would do, before anything is computed?"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ppl_worldmodel import read
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.exact import FiniteState, finite, gaussian
from ppl_worldmodel.models import nile, two_state_pomdp

SEEN = jnp.log(jnp.array([[0.9, 0.2], [0.1, 0.8]]))
HALF = jnp.array([0.5, 0.5])
STAY = jnp.array([[0.9, 0.1], [0.2, 0.8]])


def test_a_system_of_the_other_family() -> None:
    system = read(nile.model, nile.data()).system
    with pytest.raises(
        DataError, match=r"finite\.filter takes a FiniteState, given was a LinearGaussian: use gaussian"
    ):
        finite.filter(system)
    with pytest.raises(
        DataError, match=r"gaussian\.smooth takes a LinearGaussian, given was a FiniteState: use finite"
    ):
        gaussian.smooth(FiniteState(HALF, STAY, SEEN))


def test_a_reading_or_something_else() -> None:
    reading = read(two_state_pomdp.model, {"observations": np.array([0, 1])}, two_state_pomdp.truth)
    with pytest.raises(DataError, match=r"given was a Reading: give its system, finite\.smooth\(reading\.system\)"):
        finite.smooth(reading)
    with pytest.raises(DataError, match=r"given was a dict: read\(model, data\)\.system is one"):
        gaussian.evidence({"A": 1.0})


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (
            FiniteState(HALF, STAY.T, SEEN),
            r"transition\[0\] is no distribution: .* sum to 1\.1; .*rows .* are old states",
        ),
        (FiniteState(jnp.array([0.5, 0.4]), STAY, SEEN), r"initial is no distribution: .* sum to 0\.9"),
        (FiniteState(HALF, jnp.array([[0.9, 0.1], [1.2, -0.2]]), SEEN), r"transition\[1\] is no distribution"),
        (FiniteState(HALF, jnp.array([[0.9, 0.1], [jnp.nan, 0.2]]), SEEN), r"transition\[1\] is no distribution"),
    ],
)
def test_rows_that_are_no_distribution(system: FiniteState, expected: str) -> None:
    for verb in (finite.filter, finite.smooth, finite.evidence, finite.pairwise, finite.most_likely_path):
        with pytest.raises(DataError, match=expected):
            verb(system)


def test_digits_of_single_precision_and_values_inside_a_trace_pass() -> None:
    rounded = FiniteState(HALF, jnp.float32(STAY) + 1e-7, SEEN)
    assert np.isfinite(finite.filter(rounded).log_evidence)
    wrong = FiniteState(HALF, 2.0 * STAY, SEEN)
    jax.jit(lambda system: finite.filter(system).log_evidence)(wrong)


def test_results_print_short() -> None:
    found = finite.smooth(FiniteState(HALF, STAY, SEEN))
    expected = (
        r"SmoothedBeliefs: smoothed (2, 2), predicted (2, 2), filtered (2, 2), log_predictive (2,), log_evidence -"
    )
    assert repr(found).startswith(expected)
    system = read(nile.model, nile.data(), {"level_scale": 38.3, "observation_scale": 122.9}).system
    assert "filtered_covariance (100, 1, 1)" in repr(gaussian.filter(system))
    assert "digits 1" in repr(gaussian.filter(system))
