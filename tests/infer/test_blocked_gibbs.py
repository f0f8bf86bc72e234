"""Are several chains of three states side by side right?  Against independent draws of the enumerated posterior.

Compilers have got this wrong where a single chain, or two states, came out right. The quantities do not mention the states' names.
"""

import jax
import numpy as np
import pytest
import xarray as xr

from ppl_worldmodel import gibbs, read
from ppl_worldmodel.models import earthquakes, three_state

from ..references import mixtures

SYMBOLS, COUNTS = np.array([0, 0, 0, 1, 1, 2, 2, 2]), np.array([13, 14, 8, 30, 27, 19, 22])
T_PRIOR = 1.0 + 7.0 * np.eye(3)


def quantities(T: np.ndarray, second: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers that stay the same when the states exchange names; second: O (..., 3, 3) or rates (..., 3)."""
    found = {"staying": np.einsum("...ii->...", T), "squares of T": (T**2).sum(axis=(-1, -2))}
    if second.ndim == T.ndim:
        return found | {
            "squares of O": (second**2).sum(axis=(-1, -2)),
            "both": np.einsum("...ij,...jk,...ik->...", T, second, second),
        }
    return found | {"rates": second.sum(axis=-1), "both": np.einsum("...ij,...i,...j->...", T, second, second)}


def rates() -> mixtures.Gamma:
    mean, sd = 40.0 * np.arange(1, 4) / 4.0, 3.0
    return mixtures.Gamma((mean / sd) ** 2, mean / sd**2)


CASES = {
    "symbols": (three_state.model, SYMBOLS, "O", mixtures.Dirichlet(np.ones((3, 3)))),
    "counts": (earthquakes.model, COUNTS, "rate", rates()),
}


@pytest.mark.optimised
@pytest.mark.parametrize("case", CASES)
def test_three_states_in_four_chains(case: str) -> None:
    model, observed, name, prior = CASES[case]
    mixture = mixtures.mixture(observed, initial=np.full(3, 1 / 3), T=mixtures.Dirichlet(T_PRIOR), O=prior)
    drawn = mixtures.draw(mixture, 100_000, np.random.default_rng(0))
    right = quantities(drawn.T, drawn.O)
    posterior = gibbs(num_samples=6000)(read(model, {"observations": observed}), jax.random.key(1))[
        "posterior"
    ].to_dataset()
    for what, values in quantities(posterior["T"].values, posterior[name].values).items():
        array = xr.DataArray(values, dims=("chain", "draw"))
        error = np.hypot(float(array.azstats.mcse(method="mean")), right[what].std() / np.sqrt(100_000))
        assert abs(float(array.mean()) - right[what].mean()) < 5 * error, what
