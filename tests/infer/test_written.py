"""Do the samplers answer about every way of writing a program?  Their beliefs against the exact ones, series by series."""

from typing import Any

import jax
import numpy as np
import pytest

from ppl_worldmodel import exact_engine, gibbs, nuts, read
from ppl_worldmodel.program.start import starting_sites

from ..program import written_finite, written_gaussian
from ..program.contract import draw_parameters
from ..program.test_written_finite import some


def beliefs_of(written: Any, engine: Any) -> tuple[Any, Any]:
    """The exact beliefs and the engine's, at one draw of the parameters."""
    sites = starting_sites(written.model, written.data).sites
    parameters = draw_parameters(written.model, written.data, sites, 1)
    reading = read(written.model, written.data, parameters)
    results = [made(reading, jax.random.key(0))["beliefs"].to_dataset() for made in (exact_engine(), engine)]
    return results[0], results[1]


GIBBS = [
    "factorial",
    "coupled",
    "second order",
    "switching autoregression",
    "semi-Markov",
    "mixture",
    "plate",
    "ragged",
]
STATES = ["singular noise", "non-centred", "seasonal", "old and new state", "plate", "diffuse level"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [some(name, {"second order", "plate"}) for name in GIBBS])
def test_gibbs(name: str) -> None:
    written = written_finite.WRITTEN[name]
    exact, found = beliefs_of(written, gibbs(num_samples=2500, num_warmup=200, prefixes=[1]))
    for kind in ("filtered", "smoothed"):
        assert exact[kind].dims == found[kind].dims
        asked = np.isfinite(found[kind].values)
        expected, ess = exact[kind].values[asked], found[f"{kind}_ess"].values[asked]
        effective = np.where(np.isfinite(ess), np.minimum(ess, 10_000), np.nanmin(ess))
        error = np.sqrt(expected * (1 - expected) / effective) + 2e-4
        z = (found[kind].values[asked] - expected) / error
        assert np.abs(z).max() < 5.0, (kind, z)


@pytest.mark.slow
@pytest.mark.parametrize("name", [some(name, {"singular noise"}) for name in STATES])
def test_nuts_on_the_states(name: str) -> None:
    written = written_gaussian.WRITTEN[name]
    exact, found = beliefs_of(written, nuts(num_samples=1000, num_warmup=400, prefixes=[3]))
    for kind in ("filtered", "smoothed"):
        assert exact[kind].dims == found[kind].dims
        asked = np.isfinite(found[kind].values)
        error = found[f"{kind}_mcse"].values[asked]
        gap = np.abs(found[kind].values[asked] - exact[kind].values[asked])
        # A coordinate that the observations fix (a known start) has no Monte Carlo error.
        assert (gap <= 5.0 * np.nan_to_num(error) + 1e-9).all(), (kind, gap / error)
