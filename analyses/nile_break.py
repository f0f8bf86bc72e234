"""The change point of the Nile: a level that wanders, one that breaks in 1899, and a constant one, compared.

The question.  The annual flow of the Nile falls around 1899, when the first dam at Aswan was begun. A local level model follows the
fall without knowing of it; a model with a break in that year says that nothing else ever happened; a constant says that nothing
happened at all. Which do the hundred years prefer?

The finding.  The break in 1899, by evidence: one number, the size of the fall, explains what the wandering level takes a random
step in every year for. Both leave the constant far behind. The year was not learned here: to take it from the data is to use them
twice, and the evidence of this model does not pay for that.

Cobb (1978), Biometrika 65, for the break; Durbin & Koopman (2012), "Time Series Analysis by State Space Methods", chapter 2.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro.contrib.control_flow import scan
from rich.console import Console

from ppl_worldmodel import compare
from ppl_worldmodel.files.coordinate_labels import labelled
from ppl_worldmodel.models import nile
from ppl_worldmodel.reports.comparison_page import comparison_report

FIRST_YEAR, BREAK = 1871, 1899


def level_with_a_break(
    observations: Array | np.ndarray | None = None, num_steps: int = 100, breaks: bool = True
) -> None:
    """A level that changes once, by `shift`, between 1898 and 1899 (or never), and noise of single years."""
    observation_scale = numpyro.sample("observation_scale", dist.HalfNormal(200.0))
    shift = numpyro.sample("shift", dist.Normal(0.0, 300.0)) if breaks else 0.0

    def step(level: Array, inputs: tuple[Array, Array | None]) -> tuple[Array, None]:
        year, volume = inputs
        numpyro.sample("volume", dist.Normal(level, observation_scale), obs=volume)
        level = numpyro.sample("level", dist.Delta(level + jnp.where(year == BREAK - 1, shift, 0.0)))
        return level, None

    initial = numpyro.sample("initial_level", dist.Normal(1000.0, 500.0))
    years = FIRST_YEAR + jnp.arange(num_steps if observations is None else len(observations))
    scan(step, initial, (years, observations))


def constant(observations: Array | np.ndarray | None = None, num_steps: int = 100) -> None:
    level_with_a_break(observations, num_steps, breaks=False)


PROGRAMS: dict[str, Callable] = {
    "wandering level": nile.model,
    "break in 1899": level_with_a_break,
    "constant level": constant,
}


def main(out: str | Path = "out/nile_break", *, fast: bool = False) -> Path:
    """Compare the three programs on the hundred years; returns the path of the page."""
    found = compare(PROGRAMS, nile.data(), jax.random.key(0), fast=fast, say=Console(stderr=True).print)
    print(found)
    evidence = found.tree["scores"].to_dataset()["evidence"]
    values = {name: float(evidence.sel(model=name)) for name in PROGRAMS}
    assert max(values, key=lambda name: values[name]) == "break in 1899"
    assert values["wandering level"] > values["constant level"] + 5.0
    return comparison_report(
        labelled(found.tree, {"time": nile.coords["time"]}, nile.units), Path(out) / "nile_break.html"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fast", action="store_true", help="a tenth of the draws")
    main(fast=parser.parse_args().fast)
