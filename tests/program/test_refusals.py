"""Is a program that cannot be solved exactly refused, with the name of the site and the reason?"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.control_flow import cond, scan

from ppl_worldmodel import marginalize, read
from ppl_worldmodel.errors import NotExactlySolvable

Y = np.array([0.3, -1.0, 2.0, 0.5])
K = np.array([0, 1, 1, 0])
T = jnp.array([[0.9, 0.1], [0.2, 0.8]])


def gaussian(
    mean: Callable = lambda x: x, scale: Callable = lambda x: 1.0, seen: Callable = lambda x: dist.Normal(x, 1.0)
) -> Callable:
    def model(y: Any) -> None:
        def step(x: Any, y: Any) -> Any:
            x = numpyro.sample("x", dist.Normal(mean(x), scale(x)))
            numpyro.sample("y", seen(x), obs=y)
            return x, None

        scan(step, numpyro.sample("x0", dist.Normal(0.0, 1.0)), y)

    return model


def stepping(
    step: Callable, start: Callable = lambda: numpyro.sample("x0", dist.Normal(0.0, 1.0)), **options: Any
) -> Callable:
    return lambda y: scan(step, start(), y, **options) and None


def discrete_start() -> Any:
    return numpyro.sample("s0", dist.Categorical(jnp.array([0.5, 0.5])))


def hidden(s: Any, y: Any) -> Any:
    s = numpyro.sample("s", dist.Categorical(T[s]))
    numpyro.sample("y", dist.Normal(s, 1.0), obs=y)
    return s, None


def switching(carry: Any, y: Any) -> Any:
    s, x = carry
    s = numpyro.sample("regime", dist.Categorical(T[s]))
    x = numpyro.sample("x", dist.Normal(x, 1.0 + s))
    numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
    return (s, x), None


def many_switches(carry: Any, y: Any) -> Any:
    """Eleven coins at once, all of which are seen together."""
    s = numpyro.sample("s", dist.Bernoulli(jnp.where(carry == 1, 0.9, 0.1)))
    numpyro.sample("y", dist.Normal(s.sum(), 1.0), obs=y)
    return s, None


def endless(n: Any, y: Any) -> Any:
    up = numpyro.sample("up", dist.Bernoulli(0.5))
    numpyro.sample("y", dist.Normal(n, 1.0), obs=y)
    return 2 * n + 1 + up, None


def product_of_states(carry: Any, y: Any) -> Any:
    w = numpyro.sample("w", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(carry, 1.0), obs=y)
    return carry * w, None


def factor_of_the_state(x: Any, y: Any) -> Any:
    x = numpyro.sample("x", dist.Normal(x, 1.0))
    numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
    numpyro.factor("cost", -x)
    return x, None


def masked_in_between(carry: Any, y: Any) -> Any:
    x, time = carry
    with handlers.mask(mask=time == 1):
        x = numpyro.sample("x", dist.Normal(x, 1.0))
    numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
    return (x, time + 1), None


def bent_start() -> Any:
    return jnp.exp(numpyro.sample("x0", dist.Normal(0.0, 1.0)))


def flat_start() -> Any:
    return numpyro.sample("x0", dist.ImproperUniform(dist.constraints.real, (), ()))


def seen_flat_start() -> Any:
    x0 = flat_start()
    numpyro.sample("y0", dist.Normal(x0, 1.0), obs=0.5)
    return x0


def random_walk(x: Any, y: Any) -> Any:
    x = numpyro.sample("x", dist.Normal(x, 1.0))
    numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
    return x, None


def unrolled(y: Any) -> None:
    x = 0.0
    for t in range(4):
        x = numpyro.sample(f"x_{t}", dist.Normal(x, 1.0))
        numpyro.sample(f"y_{t}", dist.Normal(x, 1.0), obs=y[t])


def counting(n: Any, y: Any) -> Any:
    n = numpyro.sample("n", dist.Poisson(1.0 + n))
    numpyro.sample("y", dist.Normal(n, 1.0), obs=y)
    return n, None


def scaled(x: Any, y: Any) -> Any:
    x = numpyro.sample("x", dist.Normal(x, 1.0))
    with handlers.scale(scale=2.0):
        numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
    return x, None


def nested(x: Any, y: Any) -> Any:
    x = numpyro.sample("x", dist.Normal(x, 1.0))
    scan(lambda c, _: (c, numpyro.sample("inner", dist.Normal(c, 1.0))), x, None, length=2)
    return x, None


def twice(y: Any) -> None:
    stepping(hidden, discrete_start)(y)
    stepping(hidden, lambda: 0)(y)


def subsampled(s: Any, y: Any) -> Any:
    with numpyro.plate("series", 4, subsample_size=2):
        s = numpyro.sample("s", dist.Categorical(T[s]))
    numpyro.sample("y", dist.Normal(s.sum(), 1.0), obs=y)
    return s, None


def scaled_state(s: Any, y: Any) -> Any:
    with handlers.scale(scale=2.0):
        s = numpyro.sample("s", dist.Categorical(T[s]))
    numpyro.sample("y", dist.Normal(s, 1.0), obs=y)
    return s, None


def own_key(x: Any, y: Any) -> Any:
    x = numpyro.sample("x", dist.Normal(x, 1.0)) + jax.random.normal(numpyro.prng_key())
    numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
    return x, None


def subsampled_before(y: Any) -> None:
    with numpyro.plate("groups", 4, subsample_size=2):
        mu = numpyro.sample("mu", dist.Normal(0.0, 1.0))
    scan(lambda s, y: hidden(s, y - mu[0]), 0, y)


def masked_start() -> Any:
    with handlers.mask(mask=False):
        return numpyro.sample("x0", dist.Normal(0.0, 1.0))


def no_scan(y: Any) -> None:
    x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    numpyro.sample("y", dist.Normal(x, 1.0).expand([4]).to_event(1), obs=y)


def branches(y: Any) -> None:
    x = numpyro.sample("x", dist.Normal(0.0, 1.0))
    cond(x > 0, lambda _: None, lambda _: None, None)


def observes_nothing(y: Any) -> None:
    x = numpyro.sample("x", dist.Normal(0.0, 1.0))

    def step(last: Any, y: Any) -> Any:
        numpyro.sample("y", dist.Normal(x + 0.5 * last, 1.0), obs=y)
        return y, None

    scan(step, 0.0, y)


REFUSED: dict[str, tuple[Callable, str]] = {
    "nonlinear move": (gaussian(mean=jnp.sin), "the mean of site 'x' is not affine in the state"),
    "nonlinear sensor": (gaussian(seen=lambda x: dist.Normal(x**2, 1.0)), "the mean of site 'y' is not affine"),
    "noise that grows": (gaussian(scale=lambda x: 1 + x**2), "the covariance of site 'x' depends on the state"),
    "sensor that blurs": (
        gaussian(seen=lambda x: dist.Normal(x, jnp.exp(x))),
        "the covariance of site 'y' depends on the state",
    ),
    "counts": (gaussian(seen=lambda x: dist.Poisson(jnp.exp(x))), "site 'y' is Poisson: .* only Gaussian"),
    "heavy tails": (gaussian(seen=lambda x: dist.StudentT(3.0, x, 1.0)), "site 'y' is StudentT"),
    "switching": (
        stepping(switching, lambda: (discrete_start(), 0.0)),
        r"(?s)'regime' \(Categorical\), 'x' \(Normal\): it is a switching system.*answer: smc, a particle filter",
    ),
    "too many states": (
        stepping(many_switches, lambda: jnp.zeros(11, int)),
        r"\('s'\) takes 2048 values .* numpyro.plate",
    ),
    "states without end": (
        lambda y: scan(endless, 0, jnp.concatenate([y, y, y])) and None,
        r"('state') takes 1\d\d\d values or more|at most 1024",
    ),
    "product of state and noise": (
        stepping(product_of_states, lambda: 1.0),
        r"new state \('state'\) is not an affine function of the old one and of site 'w'",
    ),
    "factor of the state": (stepping(factor_of_the_state), "log factor of site 'cost' depends on the state"),
    "masked in between": (stepping(masked_in_between, lambda: (0.0, 0)), "'x' is masked at or before time step 0"),
    "bent start": (stepping(random_walk, bent_start), "first state is not an affine function of site 'x0'"),
    "flat start that is observed": (
        stepping(random_walk, seen_flat_start),
        "'y0' observes a diffuse first state before",
    ),
    "unrolled": (unrolled, r"'x_0' ... 'y_3' look like a loop unrolled in Python: .*scan"),
    "infinite support": (stepping(counting, lambda: 0), r"states of site 'n' \(Poisson\) cannot be listed"),
    "scaled density": (stepping(scaled), "site 'y' has a scaled density"),
    "scaled state": (stepping(scaled_state, lambda: 0), "latent site 's' has a scaled density"),
    "subsampled plate": (
        stepping(subsampled, lambda: jnp.zeros(2, int)),
        r"'series' takes a random 2 of its 4 \(subsample_size\)",
    ),
    "subsampled plate before": (subsampled_before, "'groups' takes a random 2 of its 4"),
    "key of its own": (stepping(own_key, lambda: 0.0), "draws a random key of its own"),
    "masked start": (stepping(random_walk, masked_start), "'x0' is masked at or before time step 0"),
    "scan in the step": (stepping(nested), "a scan or cond inside the scanned step"),
    "two scans": (twice, "two scans"),
    "no scan": (no_scan, "no scan over time"),
    "cond": (branches, "branches with numpyro's cond"),
    "backwards": (stepping(hidden, discrete_start, reverse=True), "backwards"),
    "nothing sampled": (observes_nothing, "samples no latent state"),
    "values by a function": (
        handlers.substitute(stepping(hidden, discrete_start), substitute_fn=lambda site: None),
        "'substitute' .* by a function",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_site_and_the_reason(name: str) -> None:
    program, message = REFUSED[name]
    with pytest.raises(NotExactlySolvable, match=message) as caught:
        read(program, {"y": np.abs(np.round(Y)) if name == "counts" else Y})
    assert "Engines that can still answer" in str(caught.value)


def test_an_observation_that_was_not_given_is_no_state() -> None:
    def model(y: Any = None) -> None:
        scan(hidden, discrete_start(), y, length=4)

    with pytest.raises(NotExactlySolvable, match=r"observes nothing, and its latent site 'y' .* give the data"):
        read(model)


def test_marginalize_refuses_too() -> None:
    with pytest.raises(NotExactlySolvable, match="the mean of site 'x' is not affine"):
        handlers.seed(marginalize(gaussian(mean=jnp.sin)), 0)(y=Y)


@pytest.mark.parametrize("bend", [1e-5, 1e-3])
def test_even_a_slight_bend_is_refused(bend: float) -> None:
    with pytest.raises(NotExactlySolvable, match="not affine"):
        read(gaussian(mean=lambda x: 0.9 * x + bend * jnp.tanh(x)), {"y": Y})
    read(gaussian(mean=lambda x: 0.9 * x + bend), {"y": Y})


def test_a_dependence_that_is_not_on_the_state_is_no_bend() -> None:
    def model(y: Any, u: Any) -> None:
        def step(x: Any, inputs: Any) -> Any:
            y, u = inputs
            x = numpyro.sample("x", dist.Normal(jnp.cos(u) * x + u**3, jnp.exp(u)))
            numpyro.sample("y", dist.Normal(jnp.sin(u) + x, 1 + u**2), obs=y)
            return x, None

        scan(step, 0.0, (y, u))

    system = read(model, {"y": Y, "u": np.linspace(-1.0, 1.0, 4)}).system
    assert system.structure.varying == frozenset("AbQdR")
    assert jax.tree.all(jax.tree.map(lambda leaf: bool(jnp.isfinite(leaf).all()), system))
