"""Are chains that are merely short told from chains that are apart?"""

import numpy as np
import pytest
import xarray as xr

from ppl_worldmodel.checks import convergence
from ppl_worldmodel.checks.chance_of_rhat import largest_by_chance
from ppl_worldmodel.infer.result_tree import PARAMETERS

RANDOM = np.random.default_rng(17)


def slow(chains: int, length: int, entries: int, stay: float) -> np.ndarray:
    """Stationary autoregressions: chains of one law, however slowly they move."""
    x = RANDOM.standard_normal((chains, entries))
    found = [x]
    for _ in range(length - 1):
        x = stay * x + np.sqrt(1.0 - stay**2) * RANDOM.standard_normal((chains, entries))
        found.append(x)
    return np.stack(found, axis=1)


def result(draws: np.ndarray) -> xr.DataTree:
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"theta": (("chain", "draw", "entry"), draws)})})
    tree.attrs = {"engine": "any", "law": "chains", "question": PARAMETERS}
    return tree


@pytest.mark.parametrize(("length", "stay"), [(100, 0.0), (100, 0.8), (140, 0.9)])
def test_short_chains_of_one_law_are_not_called_apart(length: int, stay: float) -> None:
    draws = slow(4, length, 100, stay)
    (row,) = convergence.findings(result(draws))
    assert row.distance > convergence.RHAT  # not converged
    assert row.verdict == "undecided"
    # Their standard errors are no basis for a verdict all the same, if R-hat is large.
    if row.distance > convergence.RHAT_APART:
        assert convergence.converged(result(draws)) == "disagrees"


@pytest.mark.parametrize("length", [100, 1000])
def test_one_entry_whose_chains_are_apart_is_found_among_many_short_ones(length: int) -> None:
    draws = slow(4, length, 100, 0.5)
    draws[0, :, 23] += 2.0
    (row,) = convergence.findings(result(draws))
    assert row.verdict == "disagrees"
    assert row.worst == "theta[23]"


def test_chains_that_never_move_are_apart() -> None:
    stuck = np.repeat(np.arange(4.0)[:, None, None], 100, axis=1)
    (row,) = convergence.findings(result(stuck))
    assert row.verdict == "disagrees"


def test_the_bound_is_seldom_exceeded_by_independent_draws() -> None:
    exceeded = 0
    for _ in range(100):
        draws = RANDOM.standard_normal((4, 100))
        rhat = float(xr.DataArray(draws, dims=("chain", "draw")).azstats.rhat())
        exceeded += rhat > largest_by_chance(draws, 1)
    # Binomial with 100 trials of probability 1e-3: more than 3 happen less than once in ten thousand times.
    assert exceeded <= 3
    # The more entries, and the fewer draws, the larger the bound.
    many = RANDOM.standard_normal((4, 1000))
    assert largest_by_chance(draws, 1000) > largest_by_chance(draws, 1) > largest_by_chance(many, 1) > 1.0
