"""Random linear-Gaussian programs: the program of a `GaussianShape`, its data and its parameters."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.contrib.control_flow import scan

from .grammar import Carry, Program, masked, numbers, pick, plate, present, spread
from .grammar_gaussian import GaussianShape

A = np.array([[0.9, 0.4, 0.2], [-0.2, 0.8, 0.3], [0.1, -0.3, 0.7]])
NOISE = np.array([[0.6, 0.2, 0.1], [0.2, 0.5, -0.1], [0.1, -0.1, 0.4]])
BLUR = np.array([[0.7, 0.2], [0.2, 0.5]])
MEAN = np.array([0.5, -0.3, 0.2])
Tree = dict[str, Any]


def gaussian_program(shape: GaussianShape) -> Program:
    """The program of that shape, its data and its parameters."""
    rng = np.random.default_rng(shape.seed)
    batch = (shape.sequences,) if shape.sequences else ()
    priors = {"scale": dist.LogNormal(jnp.zeros(batch), 0.5), "weight": dist.Normal(0.0, 1.0)}
    parameters = {"scale": pick(rng, 0.7, 1.3, *batch), "weight": pick(rng, 0.3, 0.8)}
    matrices = {"A": A[: shape.dim, : shape.dim] + pick(rng, -0.1, 0.1, shape.dim, shape.dim)}
    matrices["G"] = np.linalg.cholesky(NOISE[: shape.dim, : shape.dim])
    if shape.singular:
        matrices["G"] = pick(rng, 0.4, 1.0, shape.dim, shape.dim - 1)
    matrices["C"] = _sensors(rng, shape.seen, shape.dim)
    matrices["old"] = 0.5 * _sensors(rng, shape.seen, shape.dim)
    series = 1.5 * rng.normal(size=(shape.steps, *batch, shape.seen))
    seen = present(rng, shape.gaps, shape.steps, *batch)
    if shape.gaps == "NaN":
        series = np.where(seen[..., None], series, np.nan)
    elif shape.gaps == "partly":
        series[..., 0][~seen] = np.nan
        series[..., 1][~seen[::-1]] = np.nan
    data: Tree = {"y": series}
    if shape.emission == "apart":
        data = {f"y{k}": series[..., k] for k in range(shape.seen)}
    if shape.covariate != "none" or shape.scale == "covariate":
        data["price"] = pick(rng, -1.0, 1.0, shape.steps, *(batch if shape.own else ()))
    if shape.gaps in ("mask", "obs_mask", "ended"):
        data["mask"] = seen
    carry = _carry(shape)

    def model(y: Any = None, y0: Any = None, y1: Any = None, price: Any = None, mask: Any = None) -> Any:
        weight = numpyro.sample("weight", priors["weight"])
        with plate(shape.sequences):
            given = {"scale": numpyro.sample("scale", priors["scale"]), "weight": weight, **matrices}
            start = _start(shape, given)

        def step(carried: Any, inputs: Tree) -> Any:
            old = carry.unpack(carried)
            new = _step(shape, given, old, inputs)
            return carry.pack(new), (_vector(shape, carry.states(new)), _vector(shape, carry.states(old)))

        inputs = {"y": y, "y0": y0, "y1": y1, "price": price, "mask": mask}
        return scan(step, carry.pack(start), {name: value for name, value in inputs.items() if value is not None})[1]

    latents = _latents(shape)
    early = shape.order == "emission first" and shape.beside != "noise"
    alone = shape.factor != "outside"
    return Program(model, data, parameters, priors, latents, shape.sequences, early, (), alone)


def _sensors(rng: np.random.Generator, seen: int, size: int) -> np.ndarray:
    """Every entry of the state is seen, and no two sensors see nearly the same."""
    signs = np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 0.7]])[:seen, :size]
    return signs * pick(rng, 0.6, 1.2, seen, size)


def _leaves(shape: GaussianShape) -> tuple[str, ...]:
    """The leaves of the carry that hold x."""
    return tuple(f"x{i}" for i in range(shape.dim)) if shape.several else ("x",)


def _carry(shape: GaussianShape) -> Carry:
    last = ("last",)
    return Carry(
        shape.carry,
        (*_leaves(shape), *(last if shape.last == "sampled" else ())),
        ("time", *(last if shape.last == "given" else ())),
    )


def _latents(shape: GaussianShape) -> tuple[str, ...]:
    noise = range(shape.dim - shape.singular)
    if shape.state == "companion":
        names = ["x"]
    elif shape.state == "the sites":
        names = list(_leaves(shape))
    else:
        names = [f"w{i}" for i in noise] if shape.several else ["w"]
    if shape.start in ("proper", "flat"):
        names += [f"{name}_start" for name in _leaves(shape)]
    elif shape.start in ("linked", "partly flat"):
        names += [f"start{i}" for i in range(shape.dim)]
    if shape.beside == "noise":
        names.append("noise")
    if shape.last == "sampled":
        names += [f"y{k}_unobserved" for k in range(shape.seen)] if shape.emission == "apart" else ["y_unobserved"]
    return tuple(names)


def _vector(shape: GaussianShape, leaves: tuple[Any, ...]) -> Any:
    """Leaves as one vector, (*sequence, entry)."""
    batch = (shape.sequences,) if shape.sequences else ()
    return jnp.concatenate([jnp.reshape(leaf, (*batch, -1)) for leaf in leaves], axis=-1)


def _law(law: str, mean: Any, covariance: np.ndarray, scale: Any) -> dist.Distribution:
    """A vector with this mean and scale^2 times this covariance (or a part of it); `scale` may differ between sequences."""
    scale = jnp.asarray(scale)
    if law == "Normal":
        return dist.Normal(mean, scale[..., None] * np.sqrt(np.diagonal(covariance))).to_event(1)
    if law == "covariance":
        return dist.MultivariateNormal(mean, scale[..., None, None] ** 2 * covariance)
    if law == "precision":
        return dist.MultivariateNormal(mean, precision_matrix=np.linalg.inv(covariance) / scale[..., None, None] ** 2)
    if law == "Cholesky":
        return dist.MultivariateNormal(mean, scale_tril=scale[..., None, None] * np.linalg.cholesky(covariance))
    factor, rest = 0.5 * covariance[:, :1], 0.7 * np.diagonal(covariance)
    return dist.LowRankMultivariateNormal(mean, scale[..., None, None] * factor, scale[..., None] ** 2 * rest)


def _start(shape: GaussianShape, given: Tree) -> Tree:
    """What is carried into the first step."""
    found: Tree = {"time": 0.0}
    if shape.last != "none":
        found["last"] = spread(0.2, shape.sequences)[..., None] * jnp.ones(shape.seen)
    if shape.start in ("linked", "partly flat"):
        entries: list[Any] = []
        for i in range(shape.dim):
            fn: Any = dist.Normal(MEAN[i] + (0.4 * entries[-1] if entries else spread(0.0, shape.sequences)), 0.8)
            if shape.start == "partly flat" and i == 0:
                fn = dist.ImproperUniform(dist.constraints.real, (), ())
            elif shape.start == "partly flat":
                fn = dist.Normal(spread(MEAN[i], shape.sequences), 0.8)
            entries.append(numpyro.sample(f"start{i}", fn))
        return found | _parts(shape, jnp.stack(entries, axis=-1), entries)
    mean = MEAN[: shape.dim] + 0.3 * jnp.asarray(numbers(shape.sequences))[..., None]
    if shape.start == "known":
        return found | _parts(shape, mean)
    for i, name in enumerate(_leaves(shape)):
        at = mean[..., i] if shape.several else mean
        if shape.start == "Delta":
            fn = dist.Delta(at, event_dim=0 if shape.several else 1)
        elif shape.start == "flat" and shape.several:
            fn = dist.ImproperUniform(dist.constraints.real, (), ())
        elif shape.start == "flat":
            fn = dist.ImproperUniform(dist.constraints.real_vector, (), (shape.dim,))
        else:
            fn = dist.Normal(at, 0.9) if shape.several else _law(shape.law, at, NOISE[: shape.dim, : shape.dim], 1.5)
        found[name] = numpyro.sample(f"{name}_start", fn)
    if shape.state == "non-centred" and shape.start == "proper":
        x = 0.5 + _stacked(shape, found) @ given["A"].T
        found |= _parts(shape, x)
    return found


def _parts(shape: GaussianShape, x: Any, entries: list[Any] | None = None) -> Tree:
    """A vector as the leaves of the carry."""
    if not shape.several:
        return {"x": x}
    return {f"x{i}": entries[i] if entries else x[..., i] for i in range(shape.dim)}


def _stacked(shape: GaussianShape, values: Tree) -> Any:
    if not shape.several:
        return values["x"]
    return jnp.stack([values[f"x{i}"] for i in range(shape.dim)], axis=-1)


def _step(shape: GaussianShape, given: Tree, old: Tree, inputs: Tree) -> Tree:
    new = dict(old)
    x, early = _stacked(shape, old), shape.order == "emission first"
    with plate(shape.sequences), masked(inputs.get("mask"), shape.gaps == "ended"):
        if early:
            new["last"] = _emit(shape, given, old, inputs, x @ given["C"].T)
        moved, noise = _move(shape, given, old, inputs)
        new |= moved
        new_x = _stacked(shape, new)
        if not early:
            mean = (x if shape.order == "shared noise" else new_x) @ given["C"].T
            if shape.order == "both states":
                mean = mean - x @ given["old"].T
            elif shape.order == "shared noise":
                mean = mean + 0.8 * noise[..., :1]
            new["last"] = _emit(shape, given, old, inputs, mean)
        if shape.beside == "unused":
            numpyro.sample("unused", dist.Normal(2.0 * new_x[..., 0], 1.0))
        if shape.factor == "input":
            numpyro.factor("cost", spread(-0.2 * old["time"], shape.sequences))
    if shape.factor == "outside":
        numpyro.factor("cost", -0.2 * old["time"] - 0.1)
    return new | {"time": old["time"] + 1.0}


def _move(shape: GaussianShape, given: Tree, old: Tree, inputs: Tree) -> tuple[Tree, Any]:
    """The new leaves that hold x, and the noise of the move where that is a site of its own."""
    x, scale = _stacked(shape, old), given["scale"]
    if shape.scale == "time":
        scale = scale * jnp.exp(0.1 * old["time"])
    price = inputs["price"][..., None] if shape.covariate == "move" else jnp.zeros(1)
    push, turn = given["weight"] * price, jnp.cos(0.5 * price)
    if shape.state == "companion":
        mean = (turn * x) @ np.array([0.5, 0.3, -0.2])[: shape.dim] + push[..., 0]
        x0 = numpyro.sample("x", dist.Normal(mean, 0.8 * scale))
        return {"x0": x0, **{f"x{i}": old[f"x{i - 1}"] for i in range(1, shape.dim)}}, None
    center = 0.5 if shape.state == "non-centred" else 0.0
    mean = center + (turn * (x - center)) @ given["A"].T + push
    if shape.delta:
        mean = numpyro.sample("mean", dist.Delta(mean, event_dim=1))
    if shape.state == "the sites" and not shape.several:
        return {"x": numpyro.sample("x", _law(shape.law, mean, NOISE[: shape.dim, : shape.dim], scale))}, None
    if shape.state == "the sites":
        new: Tree = {}
        for i in range(shape.dim):
            shift = 0.2 * new[f"x{i - 1}"] if i else 0.0
            new[f"x{i}"] = numpyro.sample(f"x{i}", dist.Normal(mean[..., i] + shift, 0.7 * scale))
        return new, None
    count, zero = given["G"].shape[1], spread(0.0, shape.sequences)
    if shape.several:
        noise = jnp.stack([numpyro.sample(f"w{i}", dist.Normal(zero, 1.0)) for i in range(count)], axis=-1)
    elif shape.state == "computed":
        noise = numpyro.sample(
            "w", _law(shape.law, 0.1 * jnp.ones(count) + zero[..., None], NOISE[:count, :count], 1.2)
        )
    else:
        noise = numpyro.sample("w", dist.Normal(jnp.zeros(count) + zero[..., None], 1.0).to_event(1))
    return _parts(shape, mean + scale[..., None] * (noise @ given["G"].T)), noise


def _emit(shape: GaussianShape, given: Tree, old: Tree, inputs: Tree, mean: Any) -> Any:
    """What is seen, with the given mean; and what the next step may look at."""
    if shape.last != "none":
        mean = mean + 0.3 * old["last"]
    if shape.covariate == "emission":
        mean = mean + given["weight"] * inputs["price"][..., None]
    if shape.beside == "noise":
        mean = mean + numpyro.sample("noise", dist.Normal(spread(0.2, shape.sequences), 0.6))[..., None]
    scale = jnp.exp(0.3 * inputs["price"]) if shape.scale == "covariate" else 1.0
    mask = inputs.get("mask")
    part = {"obs_mask": mask} if shape.gaps == "obs_mask" else {}
    with masked(mask, shape.gaps == "mask"):
        if shape.emission == "apart":
            laws = {f"y{k}": dist.Normal(mean[..., k], scale * np.sqrt(BLUR[k, k])) for k in range(shape.seen)}
        else:
            laws = {"y": _law(shape.emission, mean, BLUR[: shape.seen, : shape.seen], scale)}
        sampled = {name: numpyro.sample(name, law, obs=inputs[name], **part) for name, law in laws.items()}
    values = sampled if shape.last == "sampled" else {name: inputs[name] for name in laws}
    return jnp.stack(list(values.values()), axis=-1) if shape.emission == "apart" else values["y"]
