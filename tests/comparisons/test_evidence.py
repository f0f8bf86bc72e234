"""Is the evidence of learned parameters right?  Two independent methods against the sum over all paths, by conjugate counts."""

import jax
import numpy as np
import pytest

from ppl_worldmodel.comparisons.bridge_sampling import bridge
from ppl_worldmodel.comparisons.data_annealing import anneal
from ppl_worldmodel.comparisons.fit import fit
from ppl_worldmodel.models import two_state_pomdp
from ppl_worldmodel.program.reading import read

from ..references import mixtures

OBSERVED = np.array([0, 0, 1, 0, 1, 1, 1, 0, 1, 1])
T_PRIOR, O_PRIOR = np.array([[8.0, 2.0], [2.0, 8.0]]), np.array([[12.0, 4.0], [4.0, 12.0]])


def exact(observed: np.ndarray, T: np.ndarray = T_PRIOR) -> float:
    priors = {"T": mixtures.Dirichlet(T), "O": mixtures.Dirichlet(O_PRIOR)}
    return mixtures.mixture(observed, initial=[0.5, 0.5], **priors).log_evidence


@pytest.mark.nightly
def test_both_methods_agree_with_the_sum_over_paths() -> None:
    reading = read(two_state_pomdp.model, {"observations": OBSERVED})
    found = fit(reading, jax.random.key(0), size=lambda number: number // 2)
    right = exact(OBSERVED)
    wrong = exact(OBSERVED, np.ones((2, 2)))
    bridged = bridge(found.space, found.draws, jax.random.key(1))
    annealed = anneal(found.space, jax.random.key(2), num_particles=400, num_replicates=8, num_moves=10)
    for estimate in (bridged, annealed.estimate):
        assert abs(estimate.log_evidence - right) < 4 * estimate.error
    assert abs(bridged.log_evidence - wrong) > 4 * bridged.error, "another prior would be noticed"
    for n in (1, 5, 10):
        error = annealed.log_evidence[:, n].std(ddof=1) / np.sqrt(8) + 1e-12
        assert abs(annealed.log_evidence[:, n].mean() - exact(OBSERVED[:n])) < 5 * error
    assert found.names is not None
    assert found.names.axes == {"T": (0, 1), "O": (0,)}
    assert not found.names.exchangeable, "its prior names the states"
