"""What several sequences share, before the scan or in the step but outside of their plate, against the log density alone."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.contrib.control_flow import scan
from numpyro.infer.util import log_density

from ppl_worldmodel import marginalize, read

from ..agreement import assert_logs_close

Y = np.array([[0.3, -1.0], [2.0, 0.5], [0.1, 1.1]])  # (time, sequence)
T = jnp.array([[0.9, 0.1], [0.2, 0.8]])
PLATE = 2


def plated(name: str, fn: Any) -> Any:
    with numpyro.plate(f"{name}_plate", PLATE):
        return numpyro.sample(name, fn)


def first_state_shared(state: Any, new: Any) -> tuple[Any, Any]:
    return jnp.broadcast_to(numpyro.sample("x0", state(0.3)), (PLATE,)), lambda x: None


def seen_of_all_before(state: Any, new: Any) -> tuple[Any, Any]:
    x0 = plated("x0", state(0.3))
    numpyro.sample("z", dist.Normal(1.0 * x0.sum(), 1.0), obs=0.7)
    return x0, lambda x: None


def seen_beside_before(state: Any, new: Any) -> tuple[Any, Any]:
    numpyro.sample("z", dist.Normal(0.1, 1.0), obs=0.7)
    return plated("x0", state(0.3)), lambda x: None


def seen_of_all_in_the_step(state: Any, new: Any) -> tuple[Any, Any]:
    return plated("x0", state(0.3)), lambda x: numpyro.sample("z", dist.Normal(1.0 * x.sum(), 1.0), obs=0.7)


def seen_of_one_in_the_step(state: Any, new: Any) -> tuple[Any, Any]:
    return plated("x0", state(0.3)), lambda x: numpyro.sample("z", dist.Normal(1.0 * x[1], 1.0), obs=0.7)


def seen_beside_in_the_step(state: Any, new: Any) -> tuple[Any, Any]:
    return plated("x0", state(0.3)), lambda x: numpyro.sample("z", dist.Normal(0.1, 1.0), obs=0.7)


def scaled_in_the_step(state: Any, new: Any) -> tuple[Any, Any]:
    def seen(x: Any) -> None:
        with numpyro.handlers.scale(scale=0.4):
            numpyro.sample("z", dist.Normal(0.1, 1.0), obs=0.7)

    return plated("x0", state(0.3)), seen


def pulled_together(state: Any, new: Any) -> tuple[Any, Any]:
    """A step in which each sequence moves with the mean of all."""
    return plated("x0", state(0.3)), None


WAYS = {
    "first state shared": (first_state_shared, 0),
    "all seen before": (seen_of_all_before, 0),
    "seen beside, before": (seen_beside_before, PLATE),
    "all seen in the step": (seen_of_all_in_the_step, 0),
    "one seen in the step": (seen_of_one_in_the_step, 0),
    "seen beside, in the step": (seen_beside_in_the_step, PLATE),
    "seen beside, scaled": (scaled_in_the_step, PLATE),
    "moving together": (pulled_together, 0),
}


def program(way: Any, state: Any, new: Any) -> Any:
    def model(y: Any) -> None:
        start, seen = way(state, new)

        def step(x: Any, y: Any) -> Any:
            at = x if seen else jnp.broadcast_to(x.sum(), (PLATE,)) // 2
            with numpyro.plate("plate", PLATE):
                x = numpyro.sample("x", new(at))
                numpyro.sample("y", dist.Normal(x, 0.7), obs=y)
            if seen:
                seen(x)
            return x, None

        scan(step, start, y)

    return model


def latent_values(model: Any) -> Any:
    """Flat values of all latent sites -> the log density."""
    trace = numpyro.handlers.trace(numpyro.handlers.seed(model, 0)).get_trace(Y)
    shapes = {name: np.shape(trace[name]["value"]) for name in ("x0", "x")}
    size = int(sum(np.prod(shape) for shape in shapes.values()))

    def at(flat: Any) -> Any:
        values = {"x0": flat[: size - Y.size].reshape(shapes["x0"]), "x": flat[size - Y.size :].reshape(shapes["x"])}
        return log_density(model, (), {"y": Y}, values)[0]

    return at, size


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_finite(way: str) -> None:
    model = program(WAYS[way][0], lambda p: dist.Bernoulli(p), lambda x: dist.Categorical(T[x]))
    at, size = latent_values(model)
    paths = jnp.array(list(itertools.product((0, 1), repeat=size)))
    expected = jax.scipy.special.logsumexp(jax.vmap(at)(paths))
    assert read(model, {"y": Y}).system.structure.sequences == WAYS[way][1]
    assert_logs_close(log_density(marginalize(model), (), {"y": Y}, {})[0], expected, "log evidence")


GAUSSIAN = [way for way in WAYS if way != "moving together"]


@pytest.mark.slow
@pytest.mark.parametrize("way", [GAUSSIAN[0], *(pytest.param(way, marks=pytest.mark.nightly) for way in GAUSSIAN[1:])])
def test_gaussian(way: str) -> None:
    model = program(WAYS[way][0], lambda mean: dist.Normal(mean, 1.5), lambda x: dist.Normal(0.8 * x, 0.6))
    at, size = latent_values(model)
    zero = jnp.zeros(size)
    value, slope, precision = at(zero), jax.grad(at)(zero), -jax.hessian(at)(zero)
    expected = value + 0.5 * slope @ jnp.linalg.solve(precision, slope)
    expected += 0.5 * (size * jnp.log(2 * jnp.pi) - jnp.linalg.slogdet(precision)[1])
    assert read(model, {"y": Y}).system.structure.sequences == WAYS[way][1]
    assert_logs_close(log_density(marginalize(model), (), {"y": Y}, {})[0], expected, "log evidence")
