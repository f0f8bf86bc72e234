"""Are filtered and predicted beliefs of every prefix the exact ones, and never those of the whole series?"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.contrib.control_flow import scan

from ppl_worldmodel import exact_engine, gibbs, nuts, read
from ppl_worldmodel.checks import beliefs as belief_check
from ppl_worldmodel.infer import prefixes
from ppl_worldmodel.infer.prefixes import prefix_lengths

KEY = jax.random.key(2)
T = jnp.array([[0.8, 0.2], [0.4, 0.6]])
Y = np.array([0.1, 1.4, np.nan, 0.9, -0.8, 1.2])


def chain(y: Any) -> None:
    def step(s: Any, y: Any) -> Any:
        s = numpyro.sample("s", dist.Categorical(T[s]))
        numpyro.sample("y", dist.Normal(s, 0.7), obs=y)
        return s, None

    scan(step, numpyro.sample("s0", dist.Categorical(jnp.array([0.3, 0.7]))), y)


def walk(y: Any) -> None:
    def step(x: Any, y: Any) -> Any:
        numpyro.sample("y", dist.Normal(x, 0.7), obs=y)
        return numpyro.sample("x", dist.Normal(0.8 * x, 0.5)), None

    scan(step, numpyro.sample("x0", dist.Normal(0.0, 1.0)), y)


@pytest.fixture(scope="module")
def finite() -> tuple[xr.DataTree, xr.DataTree]:
    sampled = gibbs(num_samples=4000, num_warmup=100, prefixes=True)(read(chain, {"y": Y}, {}), KEY)
    return sampled, exact_engine()(read(chain, {"y": Y}, {}), KEY)


def verdicts(candidate: xr.DataTree, reference: xr.DataTree) -> dict[str, str]:
    return {row.quantity.split()[0]: row.verdict for row in belief_check.findings(candidate, reference)}


@pytest.mark.slow
def test_every_step_is_answered_and_right(finite: tuple[xr.DataTree, xr.DataTree]) -> None:
    sampled, exact = finite
    assert np.isfinite(sampled["beliefs"].to_dataset()[["predicted", "filtered"]].to_array()).all()
    assert verdicts(sampled, exact) == dict.fromkeys(("predicted", "filtered", "smoothed"), "agrees")
    assert sampled.attrs["num_prefixes"] == len(Y) + 1


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "by"), [("filtered", "smoothed"), ("predicted", "filtered")])
def test_one_belief_passed_off_as_another_is_noticed(
    finite: tuple[xr.DataTree, xr.DataTree], kind: str, by: str
) -> None:
    sampled, exact = finite
    wrong = sampled.copy()
    beliefs = wrong["beliefs"].to_dataset()
    wrong["beliefs"] = xr.DataTree(
        beliefs.assign({f"{kind}{end}": beliefs[f"{by}{end}"] for end in ("", "_ess", "_mcse")})
    )
    assert verdicts(wrong, exact)[kind] == "disagrees"


@pytest.mark.nightly
def test_batches_of_prefixes_are_the_same_draws(
    finite: tuple[xr.DataTree, xr.DataTree], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefixes, "MOST_BYTES", 1)
    again = gibbs(num_samples=4000, num_warmup=100, prefixes=True)(read(chain, {"y": Y}, {}), KEY)
    for kind in ("predicted", "filtered"):
        np.testing.assert_array_equal(again["beliefs"][kind], finite[0]["beliefs"][kind])


@pytest.mark.slow
def test_nuts_on_the_states_of_every_prefix() -> None:
    sampled = nuts(num_samples=1500, num_warmup=300, prefixes=True)(read(walk, {"y": Y}, {}), KEY)
    found = verdicts(sampled, exact_engine()(read(walk, {"y": Y}, {}), KEY))
    assert found == dict.fromkeys(("predicted", "filtered", "smoothed"), "agrees")


def test_which_prefixes() -> None:
    assert prefix_lengths(True, 3) == [0, 1, 2, 3]
    assert prefix_lengths(0, 10) == []
    assert prefix_lengths([4, 2], 10) == [3, 5]
    assert prefix_lengths(2, 10) == [4, 7]
