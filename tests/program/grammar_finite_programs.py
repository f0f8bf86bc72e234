"""Random programs whose state has finitely many values: the program of a `FiniteShape`, its data and its parameters."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.contrib.control_flow import scan

from .grammar import Carry, Program, masked, numbers, pick, plate, present, spread
from .grammar_finite import FiniteShape, values

WEIGHTS = (1.5, -0.8)  # of the factors in what is seen
AGES = 3


def finite_program(shape: FiniteShape) -> Program:
    """The program of that shape, its data and its parameters."""
    rng = np.random.default_rng(shape.seed)
    batch = (shape.sequences,) if shape.sequences else ()
    priors, parameters = _parameters(shape, rng, batch)
    data: dict[str, Any] = {"y": _draw(rng, shape.emission, shape.steps, *batch)}
    if shape.second != "none":
        data["z"] = _draw(rng, shape.second, shape.steps, *batch)
    if shape.covariate != "none":
        data["price"] = pick(rng, -1.0, 1.0, shape.steps, *(batch if shape.own else ()))
    seen = present(rng, shape.gaps, shape.steps, *batch)
    integers: tuple[str, ...] = ()
    if shape.gaps == "NaN":
        integers = tuple(name for name in ("y", "z") if name in data and data[name].dtype.kind == "i")
        for name in set(data) - {"price"}:
            gone = ~seen if name == "y" else ~seen[::-1]
            data[name] = np.where(gone if data[name].ndim == gone.ndim else gone[..., None], np.nan, data[name])
    elif shape.gaps != "none":
        data["mask"] = seen
    pattern = _zeros(shape, rng) if shape.zeros else {}
    latents, carry = _latents(shape), _carry(shape)

    def model(y: Any, z: Any = None, price: Any = None, mask: Any = None) -> Any:
        given = {name: numpyro.sample(name, prior) for name, prior in priors.items() if name != "mean"}
        with plate(shape.sequences):
            given["mean"] = numpyro.sample("mean", priors["mean"])
            start = _start(shape)
        given |= {f"T{j}": given[f"T{j}"] * keep for j, keep in pattern.items()}

        def step(carried: Any, inputs: dict[str, Any]) -> Any:
            old = carry.unpack(carried)
            new = _step(shape, given, old, inputs)
            return carry.pack(new), (carry.states(new), carry.states(old))

        inputs = {"y": y, "z": z, "price": price, "mask": mask}
        return scan(step, carry.pack(start), {name: value for name, value in inputs.items() if value is not None})[1]

    early = shape.order == "emission first" and shape.beside != "mixture" and shape.factor not in ("state", "move")
    alone = shape.factor != "outside"
    return Program(model, data, parameters, priors, latents, shape.sequences, early, integers, alone)


def _carry(shape: FiniteShape) -> Carry:
    state = [f"s{j}" for j in range(len(shape.sizes))]
    state += [f"s{j}_before" for j in range(len(shape.sizes)) if shape.lags == 2]
    state += ["age"] * (shape.counter != "none") + ["last"] * (shape.last == "sampled")
    return Carry(shape.carry, tuple(state), ("time", *(["last"] * (shape.last == "given"))))


def _latents(shape: FiniteShape) -> dict[str, np.ndarray]:
    latents = {f"s{j}": np.arange(size) for j, size in enumerate(shape.sizes)}
    if shape.start in ("sampled", "linked"):
        starts = {f"{name}_start": support for name, support in latents.items()}
        latents |= starts
        if shape.lags == 2:
            latents |= {f"{name}_before": support for name, support in starts.items()}
    if shape.beside == "mixture":
        latents["outlier"] = np.arange(2)
    if shape.last == "sampled":
        latents["y_unobserved"] = np.arange(values(shape.emission))
    return latents


def _parameters(
    shape: FiniteShape, rng: np.random.Generator, batch: tuple[int, ...]
) -> tuple[dict[str, dist.Distribution], dict[str, np.ndarray]]:
    priors: dict[str, dist.Distribution] = {
        "mean": dist.Normal(jnp.ones(batch), 2.0),
        "scale": dist.LogNormal(0.0, 0.5),
    }
    drawn = {"mean": pick(rng, 0.5, 1.5, *batch), "scale": pick(rng, 0.6, 1.4)}
    for j, size in enumerate(shape.sizes):
        context = _context(shape, j)
        shape_of = (*context, size)
        weights = pick(rng, 0.2, 1.0, *shape_of)
        if shape.law == "probs":
            priors[f"T{j}"] = dist.Dirichlet(jnp.full(shape_of, 2.0)).to_event(len(context))
            drawn[f"T{j}"] = weights / weights.sum(axis=-1, keepdims=True)
        elif shape.law == "logits":
            priors[f"T{j}"] = dist.Normal(jnp.zeros(shape_of), 1.0).to_event(len(shape_of))
            drawn[f"T{j}"] = np.log(weights)
        else:
            priors[f"T{j}"] = dist.Beta(jnp.full(tuple(context), 2.0), 2.0).to_event(len(context))
            drawn[f"T{j}"] = weights[..., 0] / weights.sum(axis=-1)
    return priors, drawn


def _context(shape: FiniteShape, j: int) -> list[int]:
    """The axes of T before its last: all that a factor's next value depends on."""
    size = shape.sizes[j]
    coupled = [shape.sizes[0]] if shape.coupled and j == 1 else []
    return [AGES] * (shape.counter != "none") + [size] * shape.lags + coupled


def _zeros(shape: FiniteShape, rng: np.random.Generator) -> dict[int, np.ndarray]:
    """Which entries of T are possible: in every row all but at most one; in the last row only one."""
    found = {}
    for j, size in enumerate(shape.sizes):
        context = _context(shape, j)
        keep = np.ones((int(np.prod(context)), size))
        rows = np.nonzero(rng.random(len(keep)) < 0.4)[0]
        keep[rows, rng.integers(size, size=len(rows))] = 0.0
        keep[-1] = np.arange(size) == rng.integers(size)
        found[j] = keep.reshape(*context, size)
    return found


def _draw(rng: np.random.Generator, family: str, *shape: int) -> np.ndarray:
    if family in ("Normal", "StudentT"):
        return 2.0 * rng.normal(size=shape)
    if family == "MultivariateNormal":
        return 2.0 * rng.normal(size=(*shape, 2))
    return rng.poisson(1.5, size=shape) if family == "Poisson" else rng.integers(values(family), size=shape)


def _start(shape: FiniteShape) -> dict[str, Any]:
    """What is carried into the first step."""
    found: dict[str, Any] = {"time": 0, "age": spread(0, shape.sequences)}
    before = None
    for j in range(len(shape.sizes)):
        found[f"s{j}"] = before = _first(shape, j, 0, before)
        if shape.lags == 2:
            found[f"s{j}_before"] = before = _first(shape, j, 1, before)
    if shape.last != "none":
        found["last"] = spread(0 if shape.last == "sampled" else 0.3, shape.sequences)
    return found


def _first(shape: FiniteShape, j: int, lag: int, before: Any) -> Any:
    """The first value of a factor, or the one before it; `before` is what was drawn before."""
    size, name = shape.sizes[j], f"s{j}_start{'_before' if lag else ''}"
    if shape.start in ("known", "Delta"):
        value = (spread(j + lag + 1, shape.sequences) + numbers(shape.sequences)) % size
        return value if shape.start == "known" else numpyro.sample(name, dist.Delta(value))
    if shape.start == "linked" and len(shape.sizes) * shape.lags == 1:
        return size - 1 - numpyro.sample(name, _coin(shape, size, None))
    return numpyro.sample(name, _coin(shape, size, before if shape.start == "linked" else None))


def _coin(shape: FiniteShape, size: int, given: Any) -> dist.Distribution:
    if shape.law == "Bernoulli":
        return dist.Bernoulli(0.3 if given is None else 0.2 + 0.5 * given)
    rising = np.arange(1.0, size + 1) / (size * (size + 1) / 2)
    chances = np.array([0.3, 0.7, 0.0][:size]) if shape.zeros else rising
    if given is None:
        return dist.Categorical(jnp.asarray(chances))
    return dist.Categorical(jnp.array([chances, np.full(size, 1 / size)])[given % 2])


def _step(shape: FiniteShape, given: dict[str, Any], old: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    new = dict(old)
    early = shape.order == "emission first"
    with plate(shape.sequences), masked(inputs.get("mask"), shape.gaps == "ended"):
        if early:
            new["last"] = _emit(shape, given, old, old, inputs)
        new |= _move(shape, given, old, inputs)
        if not early:
            new["last"] = _emit(shape, given, old, new, inputs)
        if shape.beside == "unused":
            numpyro.sample("unused", dist.Normal(new["s0"], 1.0))
        if shape.factor == "input":
            numpyro.factor("cost", spread(-0.2 * old["time"], shape.sequences))
        elif shape.factor == "state":
            numpyro.factor("cost", -0.3 * new["s0"])
        elif shape.factor == "move":
            numpyro.factor("cost", -0.4 * (new["s0"] != old["s0"]))
    if shape.factor == "outside":
        numpyro.factor("cost", -0.2 * old["time"] - 0.1)
    return new | {"time": old["time"] + 1}


def _move(shape: FiniteShape, given: dict[str, Any], old: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    new: dict[str, Any] = {}
    tilt = inputs["price"] if shape.covariate == "move" else jnp.zeros(())
    for j, size in enumerate(shape.sizes):
        context = [old["age"]] if shape.counter != "none" else []
        context += [old[f"s{j}_before"], old[f"s{j}"]] if shape.lags == 2 else [old[f"s{j}"]]
        context += [new["s0"]] if shape.coupled and j == 1 else []
        entry, ways = given[f"T{j}"][tuple(context)], jnp.linspace(-1.0, 1.0, size)
        if shape.law == "probs":
            entry = entry * jnp.exp(tilt[..., None] * ways)
            fn = dist.Categorical(entry / entry.sum(axis=-1, keepdims=True))
        elif shape.law == "logits":
            fn = dist.Categorical(logits=entry + tilt[..., None] * ways)
        else:
            fn = dist.Bernoulli(entry) if shape.covariate != "move" else dist.Bernoulli(logits=4.0 * entry - 2.0 + tilt)
        new[f"s{j}"] = numpyro.sample(f"s{j}", fn)
        if shape.lags == 2:
            new[f"s{j}_before"] = old[f"s{j}"]
    if shape.counter != "none":
        new["age"] = jnp.where(new["s0"] == old["s0"], jnp.minimum(old["age"] + 1, AGES - 1), 0)
    return new


def _emit(
    shape: FiniteShape, given: dict[str, Any], old: dict[str, Any], state: dict[str, Any], inputs: dict[str, Any]
) -> Any:
    """What is seen of the state; and what the next step may look at."""
    level = sum(WEIGHTS[j] * state[f"s{j}"] for j in range(len(shape.sizes)))
    if shape.lags == 2:
        level = level + 0.5 * state["s0_before"]
    if shape.counter == "seen":
        level = level + 0.3 * state["age"]
    if shape.order == "both states":
        level = level - 0.6 * old["s0"]
    level = given["mean"] * level + 0.1 * old["time"]
    if shape.last != "none":
        level = level + 0.3 * old["last"]
    if shape.covariate == "emission":
        level = level + 0.4 * inputs["price"]
    if shape.beside == "mixture":
        level = level + 1.2 * numpyro.sample("outlier", dist.Bernoulli(0.2))
    mask = inputs.get("mask")
    with masked(mask, shape.gaps == "mask"):
        part = {"obs_mask": mask} if shape.gaps == "obs_mask" else {}
        seen = numpyro.sample("y", _family(shape.emission, level, given["scale"]), obs=inputs["y"], **part)
        if shape.second != "none":
            numpyro.sample("z", _family(shape.second, 0.5 - level, 1.2), obs=inputs["z"])
    value = seen if shape.last == "sampled" else 1.0 * inputs["y"]
    return value[..., 0] if shape.emission == "MultivariateNormal" else value


def _family(family: str, level: Any, scale: Any) -> dist.Distribution:
    if family == "Normal":
        return dist.Normal(level, scale)
    if family == "StudentT":
        return dist.StudentT(4.0, level, scale)
    if family == "Poisson":
        return dist.Poisson(jnp.exp(0.3 * level) * scale)
    if family == "Bernoulli":
        return dist.Bernoulli(logits=scale * level)
    if family == "Categorical":
        return dist.Categorical(logits=jnp.stack([scale * level, 0.5 * level, jnp.zeros_like(level)], axis=-1))
    covariance = scale**2 * jnp.array([[1.0, 0.4], [0.4, 0.8]])
    return dist.MultivariateNormal(jnp.stack([level, -0.5 * level], axis=-1), covariance)
