"""Finite-state programs as people write them, one for each way of writing.  Each returns the states to judge."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers
from numpyro.contrib.control_flow import scan
from numpyro.infer.reparam import LocScaleReparam, TransformReparam

rng = np.random.default_rng(3)
STEPS = 4
Y = rng.normal(size=STEPS)
GAPS = np.where(np.arange(STEPS) == 1, np.nan, Y)
SEEN = np.array([True, False, True, True])
PAIRS = rng.normal(size=(STEPS, 2))
SHORT = 3
BINARY = np.arange(2)


class Written(NamedTuple):
    """A program, its data, its latent sites' values, the axis of its plate of sequences, and the order of its step."""

    model: Callable
    data: dict[str, Any]
    latents: dict[str, np.ndarray]
    sequences: int | None = None
    order: str = "transition first"


def rows(name: str, *shape: int) -> jax.Array:
    return numpyro.sample(name, dist.Dirichlet(2.0 * jnp.ones(shape)).to_event(len(shape) - 1))


def coin(name: str) -> jax.Array:
    return numpyro.sample(name, dist.Categorical(jnp.array([0.3, 0.7])))


def seen(mean: Any, y: Any, **options: Any) -> None:
    numpyro.sample("y", dist.Normal(1.5 * mean, 1.0), obs=y, **options)


def factorial(y: Any) -> Any:
    """Two chains, of a Categorical and a Bernoulli site, of which the sum is seen."""
    T, stay = rows("T", 3, 3), numpyro.sample("stay", dist.Beta(2.0, 2.0))

    def step(carry: Any, y: Any) -> Any:
        a, b = carry
        a = numpyro.sample("a", dist.Categorical(T[a]))
        b = numpyro.sample("b", dist.Bernoulli(jnp.where(b == 1, stay, 0.2)))
        seen(a - 2.0 * b, y)
        return (a, b), (a, b)

    return scan(step, (numpyro.sample("a0", dist.Categorical(jnp.array([0.5, 0.0, 0.5]))), 1), y)[1]


def coupled(y: Any) -> Any:
    """Two chains that look at each other, of which one is sampled given the other."""
    T = rows("T", 2, 2, 2)

    def step(carry: Any, y: Any) -> Any:
        a = numpyro.sample("a", dist.Categorical(T[carry["a"], carry["b"]]))
        b = numpyro.sample("b", dist.Categorical(T[a, carry["b"]]))
        seen(a + b, y)
        return {"a": a, "b": b}, {"a": a, "b": b}

    start = coin("a0")
    return scan(step, {"a": start, "b": numpyro.sample("b0", dist.Categorical(T[start, 0]))}, y)[1]


def second_order(y: Any) -> Any:
    """A shift register: the next state depends on the last two, and so does what is seen."""
    T = rows("T", 2, 2, 2)

    def step(carry: Any, y: Any) -> Any:
        s, s1 = carry
        new = numpyro.sample("s", dist.Categorical(T[s1, s]))
        seen(new - 0.5 * s, y)
        return (new, s), (new, s)

    start = coin("s0")
    return scan(step, (start, start), y)[1]


def three_lags(y: Any) -> Any:
    """A Markov-switching autoregression: the mean is taken off the last observations under their own regimes."""
    T, mean = rows("T", 2, 2), numpyro.sample("mean", dist.Normal(0.0, 1.0).expand([2]).to_event(1))

    def step(carry: Any, y: Any) -> Any:
        s, s1, last, last1 = carry
        new = numpyro.sample("s", dist.Categorical(T[s]))
        expected = mean[new] + 0.5 * (last - mean[s]) - 0.2 * (last1 - mean[s1])
        numpyro.sample("y", dist.Normal(expected, 0.8), obs=y)
        return (new, s, y, last), (new, s)

    return scan(step, (coin("s0"), coin("s1"), 0.1, -0.2), y)[1]


def counter(y: Any) -> Any:
    """A semi-Markov state: how long it has lasted is computed, and decides whether it ends."""
    stay = numpyro.sample("stay", dist.Beta(5.0, 2.0).expand([3]).to_event(1))

    def step(carry: Any, y: Any) -> Any:
        s, age = carry
        change = numpyro.sample("change", dist.Bernoulli(1.0 - stay[age]))
        s = jnp.where(change == 1, 1 - s, s)
        age = jnp.where(change == 1, 0, jnp.minimum(age + 1, 2))
        seen(s, y)
        return (s, age), (s, age)

    return scan(step, (coin("s0"), 0), y)[1]


def mixture(y: Any) -> Any:
    """A latent site of the emission that is not carried on: it is summed out."""
    T, heavy = rows("T", 2, 2), numpyro.sample("heavy", dist.Beta(1.0, 4.0))

    def step(s: Any, y: Any) -> Any:
        s = numpyro.sample("s", dist.Categorical(T[s]))
        outlier = numpyro.sample("outlier", dist.Bernoulli(heavy))
        numpyro.sample("y", dist.Normal(s, jnp.where(outlier == 1, 5.0, 0.5)), obs=y)
        return s, s

    return scan(step, coin("s0"), y)[1]


def both(y: Any) -> Any:
    """What is seen depends on the old and on the new state, and a factor favours staying."""
    T = rows("T", 2, 2)

    def step(s: Any, y: Any) -> Any:
        new = numpyro.sample("s", dist.Categorical(T[s]))
        seen(new - s, y)
        numpyro.factor("calm", -0.3 * (new != s))
        return new, new

    return scan(step, coin("s0"), y)[1]


def left_to_right(y: Any) -> Any:
    """Exact zeros in T, a state that starts known, and a carry that also counts time and keeps the last observation."""
    p = numpyro.sample("p", dist.Beta(2.0, 2.0).expand([2]).to_event(1))
    zero, one = jnp.zeros(()), jnp.ones(())
    T = jnp.stack([jnp.stack([p[0], 1 - p[0], zero]), jnp.stack([zero, p[1], 1 - p[1]]), jnp.stack([zero, zero, one])])

    def step(carry: Any, y: Any) -> Any:
        s = numpyro.sample("s", dist.Categorical(T[carry["s"]]))
        seen(s + 0.3 * carry["time"] + 0.4 * carry["last"], y)
        return {"s": s, "time": carry["time"] + 1, "last": y, "rate": carry["rate"]}, s

    return scan(step, {"s": 0, "time": 0, "last": 0.7, "rate": p[0]}, y)[1]


def from_delta(y: Any) -> Any:
    """The first state is a point mass; logits."""
    logits = numpyro.sample("logits", dist.Normal(0.0, 1.0).expand([2, 2]).to_event(2))

    def step(s: Any, y: Any) -> Any:
        s = numpyro.sample("s", dist.CategoricalLogits(logits[s]))
        numpyro.deterministic("speed", 3.0 * s)
        seen(s, y)
        return s, s

    return scan(step, numpyro.sample("s0", dist.Delta(jnp.array(1))), y)[1]


def network(y: Any, price: Any) -> Any:
    """T and the emission come from a small network of the covariate."""
    W = numpyro.sample("W", dist.Normal(0.0, 1.0).expand([3, 4]).to_event(2))
    V = numpyro.sample("V", dist.Normal(0.0, 1.0).expand([4, 2]).to_event(2))

    def step(s: Any, inputs: Any) -> Any:
        y, price = inputs
        hidden = jnp.tanh(jnp.stack([jnp.ones(()), price, 1.0 * s]) @ W)
        s = numpyro.sample("s", dist.Categorical(logits=hidden @ V))
        numpyro.sample("y", dist.Normal(s + jnp.tanh(price), jnp.exp(0.3 * hidden[0] * 0 + 0.1)), obs=y)
        return s, s

    return scan(step, coin("s0"), (y, price))[1]


def masked(y: Any, mask: Any) -> Any:
    """handlers.mask around the observation, and one observed through obs_mask."""
    T = rows("T", 2, 2)

    def step(s: Any, inputs: Any) -> Any:
        y, mask = inputs
        with handlers.mask(mask=mask):
            numpyro.sample("y", dist.Normal(s, 1.0), obs=y)
        numpyro.sample("x", dist.Normal(-s, 2.0), obs=y, obs_mask=~mask)
        return numpyro.sample("s", dist.Categorical(T[s])), s

    return scan(step, coin("s0"), (y, mask))[1]


def first_emits(y: Any) -> Any:
    """The textbook order: the carried state emits, then moves."""
    T = rows("T", 2, 2)

    def step(s: Any, y: Any) -> Any:
        seen(s, y)
        return numpyro.sample("s", dist.Categorical(T[s])), s

    return scan(step, coin("s0"), y)[1]


def reparametrised(y: Any) -> Any:
    """The parameters' prior is rewritten by a handler around the program."""
    return handlers.reparam(_with_scales, config={"shift": LocScaleReparam(0.0), "scale": TransformReparam()})(y)


def _with_scales(y: Any) -> Any:
    shift = numpyro.sample("shift", dist.Normal(1.0, 2.0))
    log_normal = dist.TransformedDistribution(dist.Normal(0.0, 1.0), dist.transforms.ExpTransform())
    scale = numpyro.sample("scale", log_normal)

    def step(s: Any, y: Any) -> Any:
        s = numpyro.sample("s", dist.Bernoulli(logits=2.0 * s - 1.0))
        numpyro.sample("y", dist.StudentT(4.0, shift * s, scale), obs=y)
        return s, s

    return scan(step, numpyro.sample("s0", dist.Bernoulli(0.4)), y)[1]


def plate(y: Any) -> Any:
    """Sequences in a plate inside the step, each with a mean of its own under a shared prior."""
    T = rows("T", 2, 2)
    with numpyro.plate("series", 2):
        mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))

    def step(s: Any, y: Any) -> Any:
        with numpyro.plate("series", 2):
            s = numpyro.sample("s", dist.Categorical(T[s]))
            numpyro.sample("y", dist.Normal(mean * s, 1.0), obs=y)
        return s, s

    return scan(step, jnp.zeros(2, int), y)[1]


def ragged(y: Any, lengths: Any) -> Any:
    """Sequences of different lengths: a mask on all sites once a sequence has ended; several things seen in each."""
    T = rows("T", 2, 2)
    with numpyro.plate("series", 2, dim=-2):
        start = numpyro.sample("s0", dist.Categorical(jnp.array([0.3, 0.7])))

    def step(carry: Any, y: Any) -> Any:
        s, time = carry
        with numpyro.plate("series", 2, dim=-2), handlers.mask(mask=(time < lengths)[:, None]):
            s = numpyro.sample("s", dist.Categorical(T[s]))
            with numpyro.plate("tones", 2, dim=-1):
                numpyro.sample("y", dist.Normal(s * jnp.array([1.0, -1.0]), 1.0), obs=y)
        return (s, time + 1), s

    return scan(step, (start, 0), y)[1]


TONES = rng.normal(size=(SHORT, 2, 2))
WRITTEN: dict[str, Written] = {
    "factorial": Written(factorial, {"y": Y}, {"a0": np.arange(3), "a": np.arange(3), "b": BINARY}),
    "coupled": Written(coupled, {"y": Y}, {"a0": BINARY, "b0": BINARY, "a": BINARY, "b": BINARY}),
    "second order": Written(second_order, {"y": Y}, {"s0": BINARY, "s": BINARY}),
    "switching autoregression": Written(three_lags, {"y": Y}, {"s0": BINARY, "s1": BINARY, "s": BINARY}, order="both states"),
    "semi-Markov": Written(counter, {"y": Y}, {"s0": BINARY, "change": BINARY}, order="both states"),
    "mixture": Written(mixture, {"y": Y}, {"s0": BINARY, "s": BINARY, "outlier": BINARY}, order="both states"),
    "both states and a factor": Written(both, {"y": Y}, {"s0": BINARY, "s": BINARY}, order="both states"),
    "zeros, time, last observation": Written(left_to_right, {"y": Y}, {"s": np.arange(3)}),
    "first state from Delta, logits": Written(from_delta, {"y": Y}, {"s": BINARY}),
    "network": Written(network, {"y": Y, "price": PAIRS[:, 0]}, {"s0": BINARY, "s": BINARY}, order="both states"),
    "masks": Written(masked, {"y": Y, "mask": SEEN}, {"s0": BINARY, "s": BINARY}, order="emission first"),
    "emission first": Written(first_emits, {"y": GAPS}, {"s0": BINARY, "s": BINARY}, order="emission first"),
    "reparametrised": Written(reparametrised, {"y": GAPS}, {"s0": BINARY, "s": BINARY}),
    "plate": Written(plate, {"y": PAIRS}, {"s": BINARY}, sequences=-1),
    "ragged": Written(
        ragged, {"y": TONES, "lengths": np.array([3, 2])}, {"s0": BINARY, "s": BINARY}, sequences=-2
    ),
}  # fmt: skip
