"""Are the axes of a result called what they are?  Time, sequences and the parts of the state, for programs of every shape."""

import json
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.contrib.control_flow import scan

from ppl_worldmodel import exact_engine, read
from ppl_worldmodel.infer import result_tree
from ppl_worldmodel.program.reading import Reading
from ppl_worldmodel.program.site_axes import sites

from ..program import written_finite, written_gaussian
from ..program.contract import draw_parameters

KEY = jax.random.key(0)


def built(reading: Reading, posterior: dict | None = None) -> xr.DataTree:
    return result_tree.build(
        reading=reading, key=KEY, started=0.0, engine="imaginary", algorithm="", question=result_tree.STATES,
        law="chains", beliefs_from="", beliefs={}, posterior=posterior or {},
    )  # fmt: skip


def square(y: Any, shift: Any = 0.0, lengths: Any = None) -> None:
    """Four series of four steps, and a parameter of four entries: no length tells which axis is which."""
    with numpyro.plate("series", 4):
        mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
        start = numpyro.sample("start", dist.Bernoulli(0.5))
    T = numpyro.sample("T", dist.Dirichlet(jnp.ones((4, 4))).to_event(1))

    def step(s: Any, y: Any) -> Any:
        with numpyro.plate("series", 4):
            s = numpyro.sample("s", dist.Bernoulli(0.2 + 0.6 * s * T[0, 0]))
            numpyro.sample("y", dist.Normal(mean * s + shift, 1.0), obs=y)
        return s, None

    scan(step, start, y)


SQUARE = {"y": np.arange(16.0).reshape(4, 4)}


def test_equal_lengths_do_not_confuse_the_axes() -> None:
    draws = {name: np.zeros((1, 2, *shape)) for name, shape in {"mean": (4,), "T": (4, 4), "s": (4, 4)}.items()}
    reading = read(square, SQUARE)
    assert reading.structure.sequences == 4
    posterior = built(reading, draws)["posterior"].to_dataset()
    assert posterior["mean"].dims == ("chain", "draw", "sequence")
    assert posterior["T"].dims == ("chain", "draw", "T_dim_0", "T_dim_1")
    assert posterior["s"].dims == ("chain", "draw", "time", "sequence")
    observed = built(reading)["observed_data"]["y"]
    assert observed.dims == ("time", "sequence")
    np.testing.assert_array_equal(observed, SQUARE["y"])


def test_one_series_has_no_axis_of_sequences() -> None:
    parameters = {"mean": np.zeros(4), "T": np.full((4, 4), 0.25)}
    unread = replace(read(square, SQUARE, parameters), system=None)
    assert unread.structure.sequences == 0
    observed = built(unread)["observed_data"]["y"]
    assert observed.dims == ("time", "y_dim_1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("written", "name", "dims"),
    [
        (written_finite, "plate", {"y": ("time", "sequence")}),
        (written_finite, "ragged", {"y": ("time", "sequence", "y_dim_2")}),
        (written_gaussian, "plate of vectors", {"y": ("time", "sequence", "y_dim_2")}),
        (written_gaussian, "coupled plate", {"y": ("time", "y_dim_1")}),
        (written_gaussian, "diffuse level", {"y": ("time",)}),
    ],
)
def test_observed_data_of_written_programs(written: Any, name: str, dims: dict) -> None:
    example = written.WRITTEN[name]
    found = built(read(example.model, example.data))["observed_data"].to_dataset()
    assert {str(name): values.dims for name, values in found.data_vars.items()} == dims


def test_what_a_mask_leaves_out_is_missing() -> None:
    example = written_finite.WRITTEN["ragged"]
    found = built(read(example.model, example.data))
    lengths = example.data["lengths"]
    expected = np.arange(written_finite.SHORT)[:, None] >= lengths
    np.testing.assert_array_equal(
        np.isnan(found["observed_data"]["y"].values), np.repeat(expected[:, :, None], 2, axis=2)
    )
    assert list(found["constant_data"].data_vars) == ["lengths"]  # the observations are not stored twice


def test_a_batch_without_a_plate_is_known_by_its_place() -> None:
    def model(y: Any) -> None:
        def step(s: Any, y: Any) -> Any:
            s = numpyro.sample("s", dist.Categorical(jnp.array([[0.9, 0.1], [0.2, 0.8]])[s]))
            numpyro.sample("y", dist.Normal(s, 1.0), obs=y)
            return s, None

        scan(step, jnp.zeros(3, int), y)

    data = {"y": np.zeros((5, 3))}
    reading = read(model, data)
    assert reading.structure.sequences == 3
    assert sites(reading)["s"].dims == ("time", "sequence")


def test_inputs_are_constant_data_by_name() -> None:
    data = SQUARE | {"shift": np.arange(4.0), "lengths": [1, 2, 3]}
    constant = built(read(square, data))["constant_data"].to_dataset()
    assert {str(name): values.dims for name, values in constant.data_vars.items()} == {
        "shift": ("time",),
        "lengths": ("lengths_dim_0",),
    }
    nested = built(read(lambda inputs: square(inputs["y"], inputs["shift"]), {"inputs": SQUARE | {"shift": 1.0}}))
    assert list(nested["constant_data"].data_vars) == ["inputs.shift"]


def exact(written: Any, name: str) -> xr.DataTree:
    example = written.WRITTEN[name]
    parameters = draw_parameters(example.model, example.data, tuple(example.latents), 1)
    return exact_engine()(read(example.model, example.data, parameters), KEY)


@pytest.mark.slow
def test_the_exact_engine_names_sequences_and_parts() -> None:
    found = exact(written_finite, "factorial")["beliefs"]
    assert json.loads(found.attrs["factors"]) == ["a", "b"]
    assert json.loads(found.attrs["labels"]) == [[a, b] for a in range(3) for b in range(2)]
    several = exact(written_finite, "plate")
    assert several["beliefs"]["smoothed"].dims == ("sequence", "time", "state")
    assert several["log_likelihood"]["log_predictive"].dims == ("chain", "draw", "sequence", "time")
    assert json.loads(exact(written_gaussian, "companion form")["beliefs"].attrs["factors"]) == ["x", "state[1]"]


def test_a_result_of_several_sequences_comes_back_equal(tmp_path: Any) -> None:
    result = exact(written_finite, "ragged")
    result.to_netcdf(tmp_path / "result.nc", engine="h5netcdf")
    xr.testing.assert_identical(xr.open_datatree(tmp_path / "result.nc", engine="h5netcdf").load(), result)
