"""Do the baselines say who needs a hidden state?  And are data that do not fit refused?"""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from ppl_worldmodel import read, simulate
from ppl_worldmodel.comparisons.baselines import baselines, kind_of
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.exact import finite
from ppl_worldmodel.models import earthquakes, two_state_pomdp

NAN = np.nan
NAMES = ["independent draws", "window of 1", "window of 2"]


@pytest.mark.parametrize(
    ("distribution", "kind"),
    [
        (dist.Categorical(jnp.array([0.2, 0.8])), "categorical"),
        (dist.Categorical(logits=jnp.zeros((3, 4))), "categorical"),
        (dist.Bernoulli(0.3), "categorical"),
        (dist.Bernoulli(jnp.full(3, 0.3)).to_event(1), "categorical"),
        (dist.Binomial(4, 0.3), "categorical"),
        (dist.Poisson(3.0), "count"),
        (dist.NegativeBinomial2(3.0, 1.0).mask(jnp.array(True)), "count"),
        (dist.Normal(0.0, 1.0), "real"),
        (dist.Normal(jnp.zeros(2), 1.0).to_event(1), "real"),
        (dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2)), "real"),
        (dist.Gamma(1.0, 1.0), None),
        (dist.Dirichlet(jnp.ones(3)), None),
        (dist.VonMises(0.0, 1.0), None),
        (dist.Multinomial(3, jnp.array([0.5, 0.5])), None),
    ],
)
def test_the_kind_is_that_of_the_support(distribution: dist.Distribution, kind: str | None) -> None:
    assert kind_of(distribution) == kind


def test_a_belief_beats_every_window_on_the_system_that_it_knows() -> None:
    drawn = simulate(two_state_pomdp.model, two_state_pomdp.truth, jax.random.key(0), num_steps=4000)["observation"]
    belief = finite.evidence(read(two_state_pomdp.model, {"observations": drawn}, two_state_pomdp.truth).system)
    windows = baselines(drawn, kind="categorical", orders=range(6), num_symbols=2)
    gain = {name: np.asarray(belief) - each for name, each in windows.items()}
    assert all(each.mean() > 3 * each.std() / np.sqrt(each.size) for each in gain.values())
    assert sum(windows["window of 1"]) > sum(windows["independent draws"])


def test_no_window_is_needed_where_draws_are_independent() -> None:
    rng = np.random.default_rng(0)
    for kind, values in (("categorical", rng.integers(0, 3, 500)), ("count", rng.poisson(4.0, 500))):
        found = baselines(values, kind=kind, location=5.0, scale=5.0)
        assert list(found) == NAMES
        assert max(found, key=lambda name: found[name].sum()) == "independent draws"


def test_counts_of_a_hidden_regime_are_told_by_the_last_ones() -> None:
    counts = earthquakes.data()["observations"].astype(float)
    counts[10] = NAN
    found = baselines(counts, kind="count", location=20.0, scale=10.0)
    assert found["window of 2"].sum() > found["window of 1"].sum() > found["independent draws"].sum()
    assert all(each[10] == 0.0 and np.isfinite(each).all() for each in found.values())


def test_two_places_tell_the_speed_of_a_track() -> None:
    rng = np.random.default_rng(3)
    speed = np.cumsum(0.5 * rng.normal(size=(200, 2)), axis=0)
    track = np.cumsum(speed, axis=0) + 0.3 * rng.normal(size=(200, 2))
    found = baselines(track, kind="real", location=0.0, scale=np.array([100.0, 100.0]))
    assert found["window of 2"].sum() > found["window of 1"].sum() + 100.0 > found["independent draws"].sum() + 200.0


def test_what_is_heard_depends_on_what_is_done() -> None:
    rng = np.random.default_rng(4)
    actions = rng.integers(0, 2, 400)
    heard = np.where(actions == 1, rng.integers(0, 2, 400), rng.random(400) < 0.9)
    found = baselines(heard, kind="categorical", actions=actions)
    blind = baselines(heard, kind="categorical")
    assert all(found[name].sum() > blind[name].sum() + 20.0 for name in NAMES)


def test_several_columns_of_symbols_and_counts() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, (50, 2)).astype(float)
    y[7, 1] = NAN
    settings = {"location": np.array([1.0, 2.0]), "scale": 1.0}
    for kind in ("categorical", "count"):
        both = baselines(y, kind=kind, num_symbols=3, **settings)
        first = baselines(y[:, 0], kind=kind, num_symbols=3, location=1.0, scale=1.0)
        second = baselines(y[:, 1], kind=kind, num_symbols=3, location=2.0, scale=1.0)
        for name in NAMES:
            np.testing.assert_allclose(both[name], first[name] + second[name], rtol=1e-12)


@pytest.mark.parametrize(
    ("observed", "settings", "said"),
    [
        (np.array([0.0, 0.5]), {"kind": "categorical"}, "an observation is 0.5: .* whole numbers from 0 on"),
        (np.array([0.0, -1.0]), {"kind": "count", "location": 1.0, "scale": 1.0}, "an observation is -1"),
        (np.array([0.0, np.inf]), {"kind": "real", "location": 1.0, "scale": 1.0}, "an observation is inf"),
        (
            np.array([0.0, 3.0]),
            {"kind": "categorical", "num_symbols": 3},
            "num_symbols=3, but the series has a symbol 3",
        ),
        (np.zeros((2, 2, 2)), {"kind": "categorical"}, r"shape \(2, 2, 2\): expected one series"),
        (np.zeros(2), {"kind": None}, "kind=None: expected one of categorical, count, real"),
        (np.zeros(2), {"kind": "real"}, "needs location and scale"),
        (np.zeros(2), {"kind": "count", "location": 1.0}, "needs location and scale"),
        (np.zeros(2), {"kind": "real", "location": 0.0, "scale": 0.0}, "a positive scale"),
        (np.zeros(2), {"kind": "count", "location": 0.0, "scale": 1.0}, "the mean of a Poisson rate is positive"),
        (np.zeros((2, 2)), {"kind": "real", "location": np.zeros(3), "scale": 1.0}, r"shapes \(3,\) and \(\)"),
        (np.zeros(2), {"kind": "categorical", "actions": np.zeros(3)}, r"actions of shape \(3,\) for 2 steps"),
        (np.zeros(2), {"kind": "categorical", "actions": np.full(2, 0.5)}, "one whole number for each step"),
        (np.zeros(2), {"kind": "categorical", "orders": (-1,)}, "a window holds 0, 1, 2"),
    ],
)
def test_what_does_not_fit_is_refused(observed: np.ndarray, settings: dict, said: str) -> None:
    with pytest.raises(DataError, match=said):
        baselines(observed, **settings)
