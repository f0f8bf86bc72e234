"""Random programs that go on to use what they observe, with some of it missing; and their evidence by brute force.

The oracle knows the program's own log density with complete data, and nothing else: missing entries are unknowns like the
latent sites, summed over all values (finite), or integrated by the Hessian of the log density (Gaussian).
"""

import contextlib
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.scipy.special import logsumexp
from numpyro.contrib.control_flow import scan
from numpyro.infer.util import log_density

FAST = {"xla_backend_optimization_level": 0}


class Shape(NamedTuple):
    """How a program is written.

    law      of what is observed: Bernoulli, Categorical, Poisson (infinitely many values) or Normal
    state    is there a latent state: its `own` kind, a Markov chain or a Gaussian one beside Normal; or a `chain` beside Normal
    lags     how many past observations the next one depends on; 0: the past is not used
    hands    what is carried on: the value that sample returns, the input, something computed from the input; or the past comes in
             as an input of its own, a shifted copy that was made outside of the scan
    second   a second observation in the step, which looks at the first
    drives   the last observation moves the state
    vector   of two entries, independent or with a joint law (Normal)
    before   an observation before the scan, carried into it
    obs_mask  how it is said what is missing: with obs_mask, or by NaN alone
    sequences  the size of a plate; 0: none
    """

    seed: int
    steps: int
    law: str
    state: str
    lags: int
    hands: str
    second: bool
    drives: bool
    vector: str
    before: bool
    obs_mask: bool
    sequences: int


def random_shape(seed: int) -> Shape:
    rng = np.random.default_rng(seed)

    def one(*choices: Any) -> Any:
        return choices[rng.integers(len(choices))]

    law = one("Bernoulli", "Categorical", "Bernoulli", "Normal", "Normal", "Normal", "Poisson")
    state = one("own", "own", "none", "chain") if law == "Normal" else one("own", "own", "none")
    vector = one("none", "none", "none", "independent", "joint")
    if (vector == "joint" and law != "Normal") or law in ("Categorical", "Poisson"):
        vector = "none"
    hands = one("returned", "returned", "input", "computed", "shifted")
    lags = int(one(0, 1, 1, 2, 3)) if state != "none" else int(one(1, 2, 3))
    second = bool(lags == 0 or rng.integers(3) == 0)
    sequences = int(one(0, 0, 2))
    if hands == "shifted":
        lags = min(lags, 1)
        state = state if state != "none" else "own"
    steps = 3 if sequences or vector != "none" else 4
    obs_mask = bool(rng.integers(4) == 0) and vector == "none" and hands == "returned"
    before = bool(rng.integers(3) == 0) and lags > 0 and hands != "shifted"
    return Shape(
        seed, steps, law, state, lags, hands, second, bool(rng.integers(2)), vector, before, obs_mask, sequences
    )


class Program(NamedTuple):
    """model(obs_mask) is the program, or its twin without obs_mask; latents: {site: its number of values, 0 for a real one}."""

    model: Callable[[bool], Callable]
    data: dict[str, Any]
    latents: dict[str, int]


def program(shape: Shape) -> Program:
    rng = np.random.default_rng([1, shape.seed])
    batch = (shape.sequences,) if shape.sequences else ()
    entry = (2,) if shape.vector != "none" else ()
    weights = rng.uniform(-0.8, 0.8, size=(4, *entry))
    T = rng.uniform(0.1, 0.9, size=(2,))
    mixing = np.array([[0.5, 0.3], [-0.2, 0.4]])
    covariance = np.array([[0.5, 0.2], [0.2, 0.4]])
    gaussian = shape.law == "Normal"
    real = gaussian and shape.state == "own"

    def spread(value: Any) -> Any:
        return value[..., None] if entry else value

    def observed(x: Any, lags: tuple) -> dist.Distribution:
        level = spread(x) * weights[0] + 0.2
        for weight, lag in zip(weights[1:], lags, strict=False):
            level = level + (lag @ mixing.T if gaussian and entry else lag) * weight
        if shape.law == "Poisson":
            return dist.Poisson(jnp.exp(0.2 * level))
        if shape.law == "Categorical":
            return dist.Categorical(logits=jnp.stack([level, 0.5 - level, 0.3 * level], axis=-1))
        if shape.vector == "joint":
            return dist.MultivariateNormal(level, covariance)
        fn = dist.Normal(level, 0.7) if gaussian else dist.Bernoulli(logits=level)
        return fn.to_event(1) if entry else fn

    def plain(value: Any) -> Any:
        return value.sum(axis=-1) if entry else value

    def model_of(with_mask: bool) -> Callable:
        def model(y: Any, w: Any, y0: Any, mask: Any) -> None:
            def plate() -> Any:
                return numpyro.plate("series", shape.sequences) if shape.sequences else contextlib.nullcontext()

            zero = jnp.zeros((*batch, *entry))
            lags = [zero] * shape.lags
            start = jnp.zeros(batch, float if real else int)
            if shape.before:
                with plate():
                    if shape.state != "none":
                        start = numpyro.sample("x0", dist.Normal(0.3, 0.8) if real else dist.Bernoulli(0.4))
                    lags[0] = 1.0 * numpyro.sample("y0", observed(start, ()), obs=y0)

            def step(carry: Any, inputs: dict[str, Any]) -> Any:
                x, lags, y = carry["x"], carry["lags"], inputs["y"]
                if shape.hands == "shifted":
                    lags = (inputs["past"],) * shape.lags
                last = plain(lags[0]) if lags else 0.0
                with plate():
                    if shape.state != "none":
                        push = 0.3 * last if shape.drives else 0.0
                        if real:
                            x = numpyro.sample("x", dist.Normal(0.8 * x + push, 0.6))
                        else:
                            x = numpyro.sample("x", dist.Bernoulli(logits=4.0 * jnp.asarray(T)[x] - 2.0 + push))
                    part = {"obs_mask": inputs["mask"]} if with_mask else {}
                    seen = numpyro.sample("y", observed(x, lags), obs=y, **part)
                    given = seen if shape.hands == "returned" else y
                    if shape.second:
                        numpyro.sample("w", dist.Normal(0.7 * plain(given) + 0.2 * x, 0.5), obs=inputs["w"])
                if shape.hands == "computed":
                    given = 0.5 * y + 0.1 if gaussian else 1.0 * (y == 1)
                carried = () if shape.hands == "shifted" else (1.0 * given, *lags[:-1])[: shape.lags]
                return {"x": x, "lags": carried}, None

            inputs = {"y": y, "w": w, "mask": mask}
            if shape.hands == "shifted":
                inputs = {"y": y[1:], "w": w[1:], "mask": mask[1:], "past": y[:-1]}
                lags = []
            scan(step, {"x": start, "lags": tuple(lags)}, inputs)

        return model

    whole = (shape.steps, *batch, *entry)
    counts = {"Bernoulli": 2, "Categorical": 3, "Poisson": 4}
    y = rng.normal(size=whole) if gaussian else rng.integers(counts[shape.law], size=whole).astype(float)
    y0 = y[-1].copy()
    flat = y.reshape(-1)
    flat[rng.choice(flat.size, size=min(flat.size, int(rng.integers(1, 4))), replace=False)] = np.nan
    if shape.before and rng.integers(
        2
    ):  # without a state an observation that is there is no part of the scan's evidence
        y0.reshape(-1)[: 1 if shape.state != "none" else None] = np.nan
    w = rng.normal(size=(shape.steps, *batch))
    mask = ~np.isnan(y) if shape.vector == "none" else np.ones((shape.steps, *batch), bool)
    latents = {} if shape.state == "none" else {"x": 0 if real else 2}
    latents |= {"x0": latents["x"]} if latents and shape.before else {}
    return Program(model_of, {"y": y, "w": w, "y0": y0, "mask": mask}, latents)


def split(values: Any, sizes: dict[str, int]) -> dict[str, Any]:
    """The last axis, cut into named parts."""
    found, at = {}, 0
    for name, size in sizes.items():
        found[name] = values[..., at : at + size]
        at += size
    return found


def log_evidence(shape: Shape, made: Program) -> float:
    """The log density of what is seen, all else summed over or integrated out."""
    model, holes = made.model(False), {name: np.isnan(made.data[name]) for name in ("y", "y0")}
    if not shape.before:
        holes["y0"] = np.zeros_like(holes["y0"])
    if shape.hands == "shifted":  # the first value is only an input: it must be there
        assert not holes["y"][0].any() or not shape.lags
        holes["y"][0] = False
    steps = shape.steps - (shape.hands == "shifted")
    leads = (shape.sequences,) if shape.sequences else ()
    shapes = {name: leads if name == "x0" else (steps, *leads) for name in made.latents}
    free = {name: int(np.prod(whole)) for name, whole in shapes.items()} | {
        name: int(hole.sum()) for name, hole in holes.items()
    }

    def density(parts: dict[str, Any]) -> Any:
        data = dict(made.data)
        for name, hole in holes.items():
            filled = jnp.nan_to_num(data[name]).reshape(-1).at[np.flatnonzero(hole)].set(parts[name])
            data[name] = filled.reshape(hole.shape).astype(float if shape.law == "Normal" else int)
        total, sites = log_density(
            model, (), data, {name: parts[name].reshape(whole) for name, whole in shapes.items()}
        )
        if shape.before and shape.state == "none" and not holes["y0"].any():
            total = total - sites["y0"]["fn"].log_prob(data["y0"]).sum()
        return total

    values = {"Bernoulli": 2, "Categorical": 3, "Poisson": 30, "Normal": 0}
    counts = {"y": values[shape.law], "y0": values[shape.law]} | made.latents
    real = {name: size for name, size in free.items() if not counts[name]}
    listed = {name: size for name, size in free.items() if counts[name]}

    def integrated(case: dict[str, Any]) -> Any:
        """The integral over what is real of the exponential of a quadratic."""

        def at(flat: Any) -> Any:
            return density(case | split(flat, real))

        zero = jnp.zeros(sum(real.values()))
        if not zero.size:
            return at(zero)
        slope, precision = jax.grad(at)(zero), -jax.hessian(at)(zero)
        root = jnp.linalg.cholesky(precision)
        half = jax.scipy.linalg.solve_triangular(root, slope, lower=True)
        return at(zero) + 0.5 * half @ half + 0.5 * zero.size * jnp.log(2 * jnp.pi) - jnp.log(jnp.diagonal(root)).sum()

    columns = [range(counts[name]) for name, size in listed.items() for _ in range(size)]
    every = np.array(list(itertools.product(*columns)), int)
    every = every.reshape(len(every), len(columns))
    return float(
        logsumexp(jax.jit(jax.vmap(integrated, axis_size=len(every)), compiler_options=FAST)(split(every, listed)))
    )
