"""Is a simulated run data again?  What stands for which argument, which names are parameters, and what cannot be run."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.program.simulate import as_data, parameter_names, simulate, simulate_series

from . import written_finite, written_gaussian

KEY = jax.random.key(0)


def semi_markov(seen=None, lengths=None, num_steps=6) -> None:
    """The latent site of the step is not carried on, so that being carried does not tell what is observed."""
    stay = numpyro.sample("stay", dist.Beta(5.0, 2.0))

    def step(s: Any, y: Any) -> Any:
        change = numpyro.sample("change", dist.Bernoulli(1.0 - stay))
        s = jnp.where(change == 1, 1 - s, s)
        numpyro.sample("tone", dist.Normal(s, 1.0).expand([3]).to_event(1), obs=y)
        numpyro.deterministic("twice", 2 * s)
        return s, None

    scan(step, 0, seen, length=num_steps if seen is None else len(seen))


def test_an_argument_stands_for_the_site_that_is_observed_through_it() -> None:
    sites = simulate(semi_markov, {"stay": 0.8}, KEY)
    data = as_data(semi_markov, sites, {})
    assert list(data) == ["seen"]  # no site is observed through `lengths`
    np.testing.assert_array_equal(data["seen"], sites["tone"])


def test_what_stands_for_nothing_is_refused() -> None:
    def deaf(price=None, num_steps=4) -> None:
        def step(s: Any, _: Any) -> Any:
            s = numpyro.sample("s", dist.Bernoulli(0.5))
            numpyro.sample("y", dist.Normal(s, 1.0))
            return s, None

        scan(step, 0, None, length=num_steps)

    sites = simulate(deaf, {}, KEY)
    with pytest.raises(DataError, match=r"no simulated site stands for an argument of the program \(price\)"):
        as_data(deaf, sites, {})


def test_series_are_the_sites_of_the_step() -> None:
    found = simulate_series(semi_markov, {"stay": 0.8}, KEY, num_steps=3)
    assert {name: np.shape(value) for name, value in found.items()} == {"change": (3,), "tone": (3, 3), "twice": (3,)}


@pytest.mark.parametrize(
    ("written", "name", "expected"),
    [
        (written_finite, "plate", ("T", "mean")),
        (written_finite, "emission first", ("T",)),
        (written_gaussian, "plate", ("scale",)),
        (written_gaussian, "diffuse trend", ("scale",)),
        (written_gaussian, "old and new state", ()),
    ],
)
def test_parameters_are_the_sites_before_the_scan_but_the_first_state(written: Any, name: str, expected: tuple) -> None:
    example = written.WRITTEN[name]
    assert parameter_names(example.model, example.data) == expected


def test_a_program_without_a_length_says_what_it_needs() -> None:
    with pytest.raises(DataError, match="no length without data: give the program an argument num_steps"):
        simulate(written_finite.first_emits, {}, KEY, y=None)


def test_a_flat_first_state_has_nothing_to_be_drawn_from() -> None:
    def flat(y=None, num_steps=4) -> None:
        def step(x: Any, y: Any) -> Any:
            x = numpyro.sample("x", dist.Normal(x, 1.0))
            numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
            return x, None

        start = numpyro.sample("x0", dist.ImproperUniform(dist.constraints.real, (), ()))
        scan(step, start, y, length=num_steps if y is None else len(y))

    with pytest.raises(DataError, match=r"cannot be run forward.*the first state comes from 'x0'"):
        simulate(flat, {}, KEY)
