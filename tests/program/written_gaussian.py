"""Linear-Gaussian programs as people write them, one for each way of writing.  Each returns the states to judge."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.contrib.control_flow import scan
from numpyro.infer.reparam import LocScaleReparam, TransformReparam

from .written_gaussian_plates import coupled_plate, plate, plate_of_vectors

rng = np.random.default_rng(5)
STEPS = 6
Y = 2.0 + rng.normal(size=STEPS)
GAPS = np.where(np.arange(STEPS) % 3 == 1, np.nan, Y)
PAIRS = rng.normal(size=(STEPS, 2))
PARTLY = np.where([[1, 0], [0, 0], [1, 1], [0, 1], [0, 0], [0, 0]], np.nan, PAIRS)
SEEN = np.array([True, False, True, True, False, True])
A = jnp.array([[1.0, 0.4], [-0.2, 0.9]])
S = jnp.array([[0.6, 0.2], [0.2, 0.5]])


class Written(NamedTuple):
    """A program, its data, its latent sites, the order of its step, and how many sequences it has (0: one, without an axis)."""

    model: Callable
    data: dict[str, Any]
    latents: tuple[str, ...]
    order: str = "transition first"
    sequences: int = 0


def scale(name: str = "scale") -> Any:
    return numpyro.sample(name, dist.LogNormal(0.0, 0.5))


def level(x: Any, y: Any) -> None:
    numpyro.sample("y", dist.Normal(x, 0.7), obs=y)


def singular(y: Any) -> Any:
    """x = A x + G w: one noise moves two coordinates, and the state starts known."""
    size, G = scale(), jnp.array([0.5, 1.0])

    def step(x: Any, y: Any) -> Any:
        w = numpyro.sample("w", dist.Normal(0.0, 1.0))
        x = A @ x + G * size * w
        level(x[0], y)
        return x, x

    return scan(step, jnp.array([1.0, 0.0]), y)[1]


def non_centred(y: Any) -> Any:
    """State and first state are computed from standard normal sites; the initial mean is a parameter used elsewhere, too."""
    mean, size = numpyro.sample("mean", dist.Normal(1.0, 1.0)), scale()
    z0 = numpyro.sample("z0", dist.Normal(0.0, 1.0))

    def step(x: Any, y: Any) -> Any:
        x = mean + 0.8 * (x - mean) + size * numpyro.sample("z", dist.Normal(0.0, 1.0))
        level(x, y)
        return x, x

    return scan(step, mean + 2.0 * size * z0, y)[1]


def companion(y: Any) -> Any:
    """AR(2) seen with noise: the state is the site and its last value."""
    phi = numpyro.sample("phi", dist.Normal(0.0, 0.4).expand([2]).to_event(1))

    def step(carry: Any, y: Any) -> Any:
        x, x1 = carry
        new = numpyro.sample("x", dist.Normal(phi[0] * x + phi[1] * x1, 1.0))
        level(new, y)
        return (new, x), (new, x)

    starts = [numpyro.sample(f"start_{i}", dist.Normal(0.0, 2.0)) for i in range(2)]
    return scan(step, tuple(starts), y)[1]


def arma(y: Any) -> Any:
    """ARMA(1, 1): what is seen depends on the new noise and on the old."""
    theta = numpyro.sample("theta", dist.Normal(0.0, 0.5))

    def step(carry: Any, y: Any) -> Any:
        x, last = carry
        shock = numpyro.sample("shock", dist.Normal(0.0, 1.0))
        x = 0.7 * x + shock + theta * last
        numpyro.sample("y", dist.Normal(x, 0.2), obs=y)
        return (x, shock), x

    return scan(step, (jnp.array(0.3), jnp.array(-0.1)), y)[1]


def seasonal(y: Any) -> Any:
    """A level and four seasons that sum to nearly nothing, in a dict."""
    size = scale()

    def step(carry: Any, y: Any) -> Any:
        up = numpyro.sample("level", dist.Normal(carry["level"], size))
        season = numpyro.sample("season", dist.Normal(-carry["seasons"].sum(), 0.3))
        seasons = jnp.concatenate([season[None], carry["seasons"][:-1]])
        level(up + season, y)
        return {"level": up, "seasons": seasons}, {"level": up, "seasons": seasons}

    start = {
        "level": numpyro.sample("level0", dist.Normal(0.0, 3.0)),
        "seasons": numpyro.sample("seasons0", dist.Normal(0.0, 1.0).expand([3]).to_event(1)),
    }
    return scan(step, start, y)[1]


def differences(y: Any) -> Any:
    """What is seen is the change: it depends on the old and on the new state."""

    def step(x: Any, y: Any) -> Any:
        new = numpyro.sample("x", dist.MultivariateNormal(A @ x, S))
        numpyro.sample("y", dist.Normal(new[0] - x[0] + 0.5 * new[1], 0.5), obs=y)
        return new, new

    return scan(step, numpyro.sample("x0", dist.MultivariateNormal(jnp.ones(2), 2.0 * S)), y)[1]


def shared_noise(y: Any) -> Any:
    """The emission and the move have a noise in common, and the carried state emits."""

    def step(x: Any, y: Any) -> Any:
        w = numpyro.sample("w", dist.Normal(0.0, 0.6))
        numpyro.sample("y", dist.Normal(x + w, 0.5), obs=y)
        x = 0.9 * x + 2.0 * w
        return x, x

    return scan(step, numpyro.sample("x0", dist.Normal(1.0, 1.0)), y)[1]


def precisions(y: Any) -> Any:
    """Each parametrisation of the multivariate normal, and a part of the observation missing."""
    size = scale()
    factor = jnp.linalg.cholesky(S)

    def step(x: Any, y: Any) -> Any:
        x = numpyro.sample("x", dist.MultivariateNormal(A @ x, precision_matrix=jnp.linalg.inv(S) / size**2))
        numpyro.sample("y", dist.MultivariateNormal(x - 1.0, scale_tril=factor), obs=y)
        return x, x

    start = dist.LowRankMultivariateNormal(jnp.zeros(2), jnp.array([[1.0], [0.5]]), jnp.array([0.5, 0.8]))
    return scan(step, numpyro.sample("x0", start), y)[1]


def diffuse_level(y: Any) -> Any:
    """A flat first state, and gaps."""
    size = scale()

    def step(x: Any, y: Any) -> Any:
        level(x, y)
        new = numpyro.sample("x", dist.Normal(x, size))
        return new, x

    return scan(step, numpyro.sample("x0", dist.ImproperUniform(dist.constraints.real, (), ())), y)[1]


def diffuse_trend(y: Any) -> Any:
    """A flat first level and slope, and a third coordinate that has a proper start."""
    size = scale()

    def step(carry: Any, y: Any) -> Any:
        x, slope, cycle = carry
        slope = numpyro.sample("slope", dist.Normal(slope, 0.1))
        x = numpyro.sample("x", dist.Normal(x + slope, size))
        cycle = numpyro.sample("cycle", dist.Normal(-0.5 * cycle, 0.3))
        level(x + cycle, y)
        return (x, slope, cycle), (x, slope, cycle)

    flat = dist.ImproperUniform(dist.constraints.real_vector, (), (2,))
    start = numpyro.sample("start", flat)
    return scan(step, (start[0], start[1], numpyro.sample("cycle0", dist.Normal(0.0, 0.5))), y)[1]


def point_masses(y: Any) -> Any:
    """A first state and a mean that are point masses, and a deterministic site."""

    def step(x: Any, y: Any) -> Any:
        mean = numpyro.sample("mean", dist.Delta(0.9 * x))
        x = numpyro.sample("x", dist.Normal(mean, 0.4))
        numpyro.deterministic("twice", 2.0 * x)
        level(x, y)
        return x, x

    return scan(step, numpyro.sample("x0", dist.Delta(1.5)), y)[1]


def autoregressive(y: Any, price: Any) -> Any:
    """The emission looks at the last observation, the time, a covariate and a running constant; a factor in the step."""
    weight = numpyro.sample("weight", dist.Normal(0.0, 1.0))

    def step(carry: Any, inputs: Any) -> Any:
        y, price = inputs
        x = numpyro.sample("x", dist.Normal(carry["x"] * jnp.cos(price), jnp.exp(0.1 * carry["time"])))
        numpyro.sample("y", dist.Normal(x + 0.5 * carry["last"] + carry["weight"] * price, 1.0), obs=y)
        numpyro.factor("cost", -0.1 * price**2)
        return {"x": x, "last": y, "time": carry["time"] + 1, "weight": carry["weight"]}, x

    return scan(step, {"x": 0.0, "last": 0.2, "time": 0, "weight": weight}, (y, price))[1]


def through_gaps(y: Any, mask: Any) -> Any:
    """obs_mask, and an emission that looks at the last observation, seen or not."""

    def step(carry: Any, inputs: Any) -> Any:
        x, last = carry
        y, mask = inputs
        x = numpyro.sample("x", dist.Normal(0.9 * x, 1.0))
        y = numpyro.sample("y", dist.Normal(x + 0.5 * last, 0.6), obs=y, obs_mask=mask)
        return (x, y), x

    return scan(step, (numpyro.sample("x0", dist.Normal(0.0, 1.0)), jnp.array(0.1)), (y, mask))[1]


def masked(y: Any, mask: Any) -> Any:
    """handlers.mask around one observation, obs_mask at another."""

    def step(x: Any, inputs: Any) -> Any:
        y, mask = inputs
        x = numpyro.sample("x", dist.Normal(0.9 * x, 1.0))
        with handlers.mask(mask=mask):
            numpyro.sample("y", dist.Normal(x, 0.6), obs=y)
        numpyro.sample("z", dist.Normal(-x, 2.0), obs=y, obs_mask=~mask)
        return x, x

    return scan(step, numpyro.sample("x0", dist.Normal(0.0, 1.0)), (y, mask))[1]


def reparametrised(y: Any) -> Any:
    """LocScaleReparam around the step and TransformReparam around the parameters."""
    return handlers.reparam(_with_scale, config={"size": TransformReparam()})(y)


def _with_scale(y: Any) -> Any:
    size = numpyro.sample("size", dist.TransformedDistribution(dist.Normal(0.0, 0.5), dist.transforms.ExpTransform()))

    def step(x: Any, y: Any) -> Any:
        x = numpyro.sample("x", dist.Normal(0.8 * x, size))
        level(x, y)
        return x, x

    inner = handlers.reparam(step, config={"x": LocScaleReparam(0.0)})
    return scan(inner, numpyro.sample("x0", dist.Normal(0.0, 1.0)), y)[1]


SENSORS = rng.normal(size=(4, 2, 2))
PRICE = rng.normal(size=STEPS)
WRITTEN: dict[str, Written] = {
    "singular noise": Written(singular, {"y": GAPS}, ("w",)),
    "non-centred": Written(non_centred, {"y": Y}, ("z0", "z")),
    "companion form": Written(companion, {"y": GAPS}, ("start_0", "start_1", "x")),
    "ARMA": Written(arma, {"y": Y}, ("shock",)),
    "seasonal": Written(seasonal, {"y": Y}, ("level0", "seasons0", "level", "season")),
    "old and new state": Written(differences, {"y": GAPS}, ("x0", "x")),
    "shared noise": Written(shared_noise, {"y": Y}, ("x0", "w")),
    "parametrisations": Written(precisions, {"y": PARTLY}, ("x0", "x")),
    "diffuse level": Written(diffuse_level, {"y": GAPS}, ("x0", "x"), order="emission first"),
    "diffuse trend": Written(diffuse_trend, {"y": Y}, ("start", "cycle0", "slope", "x", "cycle")),
    "point masses": Written(point_masses, {"y": GAPS}, ("x",)),
    "autoregressive emission": Written(autoregressive, {"y": Y, "price": PRICE}, ("x",)),
    "through gaps": Written(through_gaps, {"y": Y, "mask": SEEN}, ("x0", "x", "y_unobserved")),
    "masks": Written(masked, {"y": Y, "mask": SEEN}, ("x0", "x")),
    "plate": Written(plate, {"y": PAIRS}, ("x0", "x"), sequences=2),
    "plate of vectors": Written(
        plate_of_vectors, {"y": SENSORS, "lengths": np.array([4, 3])}, ("x0", "x"), sequences=2
    ),
    "coupled plate": Written(coupled_plate, {"y": PAIRS}, ("x",)),
    "reparametrised": Written(reparametrised, {"y": GAPS}, ("x0", "x_decentered")),
}  # fmt: skip
