"""Are errors and intervals what they are by hand, and does a posterior that is too narrow, or does not narrow, show?"""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.identifiability.recovery import contraction, coverage, recovery

TRUTH = {"T": np.array([[0.9, 0.1], [0.3, 0.7]]), "level": np.array([10.0, 0.0]), "scale": np.array(2.0)}


def made_up(shift: float = 0.0) -> xr.DataTree:
    rng = np.random.default_rng(0)
    first = np.clip(rng.normal(TRUTH["T"][:, 0] + shift, 0.01, (4, 500, 2)), 0.0, 1.0)
    draws = {
        "T": np.stack([first, 1.0 - first], axis=-1),
        "level": rng.normal(TRUTH["level"] + 5.0 * shift, 0.5, (4, 500, 2)),
        "scale": rng.normal(2.0, 0.1, (4, 500)),
        "state": rng.normal(size=(4, 500, 7)),
    }
    dims = {
        name: ("chain", "draw", *(f"{name}_dim_{i}" for i in range(values.ndim - 2))) for name, values in draws.items()
    }
    return xr.DataTree.from_dict(
        {"posterior": xr.Dataset({name: (dims[name], values) for name, values in draws.items()})}
    )


def test_errors_by_hand() -> None:
    tree = made_up(shift=0.05)
    found = recovery(tree, TRUTH)
    posterior = tree["posterior"].to_dataset()
    assert list(found["row"].values) == ["T[0]", "T[1]", "level[0]", "level[1]", "scale"]
    assert list(found["unit"].values) == ["total variation"] * 2 + ["relative", "absolute", "relative"]
    for i in (0, 1):
        row = f"T[{i}]"
        away = (
            posterior["T"].values[:, :, i, 0] - TRUTH["T"][i, 0]
        )  # of two probabilities, either is off by the total variation
        np.testing.assert_allclose(found["error"].sel(row=row), abs(away.mean()), rtol=1e-12)
        np.testing.assert_allclose(found["spread"].sel(row=row), np.abs(away).mean(), rtol=1e-12)
    level = posterior["level"].values
    np.testing.assert_allclose(found["error"].sel(row="level[0]"), abs(level[..., 0].mean() - 10.0) / 10.0, rtol=1e-12)
    np.testing.assert_allclose(found["error"].sel(row="level[1]"), abs(level[..., 1].mean()), rtol=1e-12)
    assert (found["spread"] >= found["error"]).all()


def test_intervals_and_their_count() -> None:
    right, wrong = recovery(made_up(), TRUTH), recovery(made_up(shift=0.05), TRUTH)
    assert list(right["entry"].values) == [
        "T[0, 0]", "T[0, 1]", "T[1, 0]", "T[1, 1]", "level[0]", "level[1]", "scale",
    ]  # fmt: skip
    assert list(right["free"].values) == [True, False, True, False, True, True, True]
    assert (right.attrs["covered"], right.attrs["of"]) == (5, 5)
    assert (wrong.attrs["covered"], wrong.attrs["of"]) == (3, 5)
    np.testing.assert_array_equal(wrong["covered"].values, [False, False, False, False, True, True, True])
    draws = made_up()["posterior"]["scale"].values
    np.testing.assert_allclose(right["low"].sel(entry="scale"), np.quantile(draws, 0.05), rtol=1e-12)
    np.testing.assert_allclose(right["sd"].sel(entry="scale"), draws.std(ddof=1), rtol=1e-12)


def test_bounds_are_those_of_a_binomial_count() -> None:
    rng = np.random.default_rng(0)
    found = coverage(np.ones((20, 10), bool))
    counts = rng.binomial(200, 0.9, 20_000)
    assert 0.95 <= ((counts >= found.low) & (counts <= found.high)).mean() < 0.98
    assert not found.expected  # all of two hundred is too many
    assert coverage(np.arange(200) >= 20).expected


@pytest.mark.parametrize(("width", "right"), [(1.0, True), (0.6, False), (1.8, False)])
def test_intervals_of_the_wrong_width_do_not_cover(width: float, right: bool) -> None:
    """True values from their own posteriors, N(m, 1), and intervals of draws that are as wide, narrower and wider."""
    rng = np.random.default_rng(0)
    centre = rng.normal(size=300)
    true = centre + rng.normal(size=300)
    tree = xr.DataTree.from_dict(
        {"posterior": xr.Dataset({"m": (("chain", "draw", "k"), centre + width * rng.normal(size=(4, 1000, 300)))})}
    )
    said = recovery(tree, {"m": true}).attrs
    assert (said["low"] <= said["covered"] <= said["high"]) == right


def beta_draws(lengths: np.ndarray, seed: int) -> np.ndarray:
    """Standard deviations of exact posteriors Beta(1 + heads, 1 + tails), estimated from draws, of series of these lengths."""
    rng = np.random.default_rng(seed)
    heads = rng.binomial(lengths, 0.3)
    return np.array([rng.beta(1 + h, 1 + n - h, 4000).std(ddof=1) for h, n in zip(heads, lengths, strict=True)])


def test_exact_posteriors_contract_with_the_square_root_of_the_length() -> None:
    lengths = np.array([200, 400, 800, 1600, 3200, 6400])
    found = [contraction(beta_draws(lengths, seed), lengths.astype(float)) for seed in range(20)]
    z = np.array([(each.slope + 0.5) / each.error for each in found])
    assert (np.abs(z) < stats.t.ppf(1 - 1e-4, df=4)).all()
    assert np.abs(np.mean([each.slope for each in found]) + 0.5) < 4 * np.std([each.slope for each in found]) / np.sqrt(
        20
    )
    assert found[0].expected
    together = contraction(np.stack([beta_draws(lengths, seed) for seed in range(5)], axis=1), lengths.astype(float))
    assert together.error < 0.02
    assert abs(together.slope + 0.5) < 4 * together.error


def test_a_posterior_that_does_not_contract_shows() -> None:
    lengths = np.array([200.0, 400.0, 800.0, 1600.0])
    noise = np.exp(0.01 * np.random.default_rng(0).normal(size=4))
    assert not contraction(noise, lengths).expected
    assert not contraction(noise * lengths**-0.25, lengths).expected
    assert contraction(noise * lengths**-0.5, lengths).expected


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(DataError, match="learned none of the parameters"):
        recovery(made_up(), {"speed": 1.0})
    with pytest.raises(DataError, match=r"truth of 'level' has shape \(3,\)"):
        recovery(made_up(), {"level": np.zeros(3)})
    with pytest.raises(DataError, match="three different lengths at least"):
        contraction(np.ones(2), np.array([10.0, 20.0]))
    with pytest.raises(DataError, match="must be positive"):
        contraction(np.array([1.0, 0.0, 1.0]), np.array([10.0, 20.0, 30.0]))
