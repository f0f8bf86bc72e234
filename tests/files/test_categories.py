"""Is a category of 1.7 refused with its cell, with and without gaps, and is everything else let through?"""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.files.categories import check_categories
from ppl_worldmodel.program.whole_numbers import first_fraction

from .own import read

T = jnp.array([[0.9, 0.1], [0.2, 0.8]])
O = jnp.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])


def chain(y: Any = None, x: Any = None) -> None:
    """Categories, and a measurement beside them."""

    def step(state: Any, inputs: Any) -> tuple:
        category, measured = inputs
        state = numpyro.sample("state", dist.Categorical(T[state]))
        numpyro.sample("category", dist.Categorical(O[state]), obs=category)
        numpyro.sample("measured", dist.Normal(state, 1.0), obs=measured)
        return state, None

    scan(step, numpyro.sample("first", dist.Categorical(jnp.ones(2) / 2)), (y, x))


def plates(y: Any = None) -> None:
    """Counts of two series."""

    def step(state: Any, y: Any) -> tuple:
        with numpyro.plate("city", 2):
            state = numpyro.sample("state", dist.Categorical(T[state]))
            numpyro.sample("count", dist.Poisson(1.0 + 4.0 * state), obs=y)
        return state, None

    scan(step, jnp.zeros(2, int), y)


def rounded(y: Any = None) -> None:
    """A category that the program makes of a measurement: whole numbers where they matter."""

    def step(state: Any, y: Any) -> tuple:
        state = numpyro.sample("state", dist.Categorical(T[state]))
        numpyro.sample("high", dist.Categorical(O[state]), obs=jnp.where(y > 0.5, 1, 0))
        return state, None

    scan(step, 0, y)


def check(tmp_path: Path, text: str, model: Any, **more: Any) -> None:
    found = read(tmp_path, text, model=model, **more)
    check_categories(model, found.values, found)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("y,x\n0,0.3\n1.7,0.5\n2,0.1\n", "column 'y' of .* holds 1.7 in row 3 .* since site 'category' has a discrete"),
        ("y,x\n0,0.3\n,0.5\n0.9,0.1\n", "column 'y' of .* holds 0.9 in row 4"),
        ("y,x\n0,0.5\n0.5,0.5\n", "column 'y' of .* holds 0.5 in row 3"),
    ],
)
def test_a_fraction_of_a_category_is_refused_with_its_cell(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        check(tmp_path, text, chain)


def test_the_cell_of_a_series_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column 'y_1' of .* holds 2.5 in row 3"):
        check(tmp_path, "y_0,y_1\n1,2\n,2.5\n", plates)
    with pytest.raises(DataError, match=r"column 'y' of .* holds 2.5 in row 5"):
        check(tmp_path, "city,time,y\na,0,1\na,1,3\nb,0,3\nb,1,2.5\n", plates, series="city")


def test_what_is_whole_where_it_is_observed_is_let_through(tmp_path: Path) -> None:
    check(tmp_path, "y,x\n0,0.3\n1,0.5\n2.0,0.1\n,0.4\n", chain)
    check(tmp_path, "y\n0.3\n0.8\n", rounded)


def test_where_the_first_fraction_is() -> None:
    data = {"y": np.array([0.0, 1.7, np.nan, 0.5]), "x": np.array([0.1, 0.2, 0.3, 0.4])}
    assert first_fraction(chain, data) == ("category", 1, (), 1.7)
    assert first_fraction(chain, data | {"y": np.array([0.0, 1.0, np.nan, 2.0])}) is None
    assert first_fraction(plates, {"y": np.array([[0.0, 2.0], [1.0, 0.5]])}) == ("count", 1, (1,), 0.5)
