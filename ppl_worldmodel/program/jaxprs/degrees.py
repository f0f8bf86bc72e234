"""Degrees of the entries of arrays in a tracked vector x: independent of it, affine in it, or neither; and the rules of primitives.

An array's degrees are integers of its shape: 0 independent of x, 1 affine in x, and above that neither, where the number tells
the operation to blame: the first that was met has the highest, so that of several the first is named. None stands for an array
that does not depend on x at all. A rule takes an equation of a jaxpr, the degrees of what goes in and `blame`, which gives the
number of this operation; it returns the degrees of what comes out. It is only asked if something that goes in depends on x. A
primitive without a rule is neither: the proof fails closed.
"""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

Degrees = np.ndarray | None
Rule = Callable[[Any, list[Degrees], Callable[[], int]], list[Degrees]]
INDEPENDENT, AFFINE, FIRST = 0, 1, 2**30
LARGEST = 1_000_000  # entries of a product that is looked at entry by entry


def shape_of(atom: Any) -> tuple[int, ...]:
    return tuple(getattr(atom.aval, "shape", ()))


def whole(degree: int, shape: tuple[int, ...]) -> Degrees:
    """One degree for every entry."""
    return np.broadcast_to(np.int32(degree), shape) if degree else None


def worst(*degrees: Degrees) -> int:
    """The highest degree of any entry."""
    return max((int(each.max(initial=0)) for each in degrees if each is not None), default=0)


def joined(one: Degrees, other: Degrees) -> Degrees:
    """The higher degree, entry by entry: of a sum, or of what may be either."""
    if one is None or other is None:
        return other if one is None else one
    return np.asarray(np.maximum(one, other))


def neither(degrees: np.ndarray, blame: Callable[[], int]) -> np.ndarray:
    """Of a function that is not affine: what was affine is blamed on it."""
    return np.where(degrees == AFFINE, blame(), degrees) if (degrees == AFFINE).any() else degrees


def product(one: np.ndarray, other: np.ndarray, blame: Callable[[], int]) -> np.ndarray:
    """Of one times other, entry by entry: affine where one factor is and the other is independent."""
    found = np.asarray(np.maximum(one, other))
    both = (one > INDEPENDENT) & (other > INDEPENDENT) & (found == AFFINE)
    return np.where(both, blame(), found) if both.any() else found


def blamed(equation: Any, incoming: list[Degrees], blame: Callable[[], int]) -> list[Degrees]:
    """Nothing is known about this operation: every entry of what comes out is neither."""
    degree = worst(*incoming)
    degree = blame() if degree <= AFFINE else degree
    return [whole(degree, shape_of(out)) for out in equation.outvars]


def _linear(equation: Any, incoming: list[Degrees], blame: Callable[[], int]) -> list[Degrees]:
    """Entry by entry, affine in all operands together."""
    return [np.broadcast_to(_highest(incoming), shape_of(out)) for out in equation.outvars]


def _mixing(equation: Any, incoming: list[Degrees], blame: Callable[[], int]) -> list[Degrees]:
    """Linear, with entries mixed in a way that is not followed."""
    return [whole(worst(*incoming), shape_of(out)) for out in equation.outvars]


def _separately(equation: Any, incoming: list[Degrees], blame: Callable[[], int]) -> list[Degrees]:
    """Each operand is handed on."""
    return list(incoming)


def _entrywise(equation: Any, incoming: list[Degrees], blame: Callable[[], int]) -> list[Degrees]:
    """Entry by entry, and not affine."""
    return [np.broadcast_to(neither(_highest(incoming), blame), shape_of(out)) for out in equation.outvars]


def _highest(incoming: list[Degrees]) -> np.ndarray:
    found = np.zeros((), np.int32)
    for degrees in incoming:
        if degrees is not None:
            found = np.asarray(np.maximum(found, degrees))
    return found


def _zeros(degrees: Degrees, shape: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(np.int32(0), shape) if degrees is None else degrees


def _mul(equation: Any, incoming: list[Degrees], blame: Callable[[], int]) -> list[Degrees]:
    one, other = (_zeros(degrees, shape_of(atom)) for degrees, atom in zip(incoming, equation.invars, strict=True))
    return [np.broadcast_to(product(one, other, blame), shape_of(equation.outvars[0]))]


def _div(equation: Any, incoming: list[Degrees], blame: Callable[[], int]) -> list[Degrees]:
    top, bottom = incoming
    below = None if bottom is None else neither(bottom, blame)
    return [np.broadcast_to(_highest([top, below]), shape_of(equation.outvars[0]))]


def _integer_pow(equation: Any, incoming: list[Degrees], blame: Callable[[], int]) -> list[Degrees]:
    return list(incoming) if equation.params["y"] == 1 else _entrywise(equation, incoming, blame)


def _select(equation: Any, incoming: list[Degrees], blame: Callable[[], int]) -> list[Degrees]:
    """A choice by a predicate that must not depend on x."""
    chooser, *cases = incoming
    if chooser is not None:
        cases.append(neither(chooser, blame))
    return [np.broadcast_to(_highest(cases), shape_of(equation.outvars[0]))]


def _indexed(last_arrays: int) -> Rule:
    """Entries taken from or put into arrays, of which there are so many; all other operands are indices."""

    def rule(equation: Any, incoming: list[Degrees], blame: Callable[[], int]) -> list[Degrees]:
        arrays, indices = incoming[:last_arrays], incoming[last_arrays:]
        if equation.primitive.name.startswith("scatter"):
            arrays, indices = [incoming[0], incoming[2]], [incoming[1]]
        if any(each is not None for each in indices):
            return blamed(equation, incoming, blame)
        return _mixing(equation, arrays, blame)

    return rule


def _scatter_mul(equation: Any, incoming: list[Degrees], blame: Callable[[], int]) -> list[Degrees]:
    dependent = sum(each is not None for each in incoming)
    return (
        _mixing(equation, incoming, blame)
        if incoming[1] is None and dependent == 1
        else blamed(equation, incoming, blame)
    )


def _bilinear(equation: Any, incoming: list[Degrees], blame: Callable[[], int]) -> list[Degrees]:
    one, other = incoming
    return _mixing(equation, incoming, blame) if one is None or other is None else blamed(equation, incoming, blame)


def _by_first(equation: Any, incoming: list[Degrees], blame: Callable[[], int]) -> list[Degrees]:
    """Linear in all but the first operand, which must not depend on x."""
    return _mixing(equation, incoming, blame) if incoming[0] is None else blamed(equation, incoming, blame)


def _linear_solve(equation: Any, incoming: list[Degrees], blame: Callable[[], int]) -> list[Degrees]:
    """Linear in the right-hand side; the matrices come before it."""
    matrices = sum(equation.params["const_lengths"])
    given = any(each is not None for each in incoming[:matrices])
    return blamed(equation, incoming, blame) if given else _mixing(equation, incoming, blame)


def _dot_general(equation: Any, incoming: list[Degrees], blame: Callable[[], int]) -> list[Degrees]:
    contracted, batched = equation.params["dimension_numbers"]
    out = shape_of(equation.outvars[0])
    sides, counts = [], []
    for degrees, atom, along, over in zip(incoming, equation.invars, contracted, batched, strict=True):
        shape = shape_of(atom)
        free = [axis for axis in range(len(shape)) if axis not in (*along, *over)]
        moved = np.transpose(_zeros(degrees, shape), [*over, *free, *along])
        split = (len(over), len(over) + len(free))
        sizes = [math.prod(moved.shape[a:b]) for a, b in ((0, split[0]), split, (split[1], None))]
        sides.append(moved.reshape(sizes))
        counts.append(sizes)
    (one, other), ((batch, rows, inner), (_, columns, _)) = sides, counts
    if 0 in out or inner == 0:
        return [None]
    if incoming[0] is None or incoming[1] is None:
        found = np.maximum(one.max(axis=-1)[:, :, None], other.max(axis=-1)[:, None, :])
    elif batch * rows * columns * inner <= LARGEST:
        found = product(one[:, :, None, :], other[:, None, :, :], blame).max(axis=-1)
    else:
        return blamed(equation, incoming, blame)
    return [found.reshape(out)]


def _broadcast(equation: Any, incoming: list[Degrees], blame: Callable[[], int]) -> list[Degrees]:
    (degrees, *_), shape, axes = incoming, equation.params["shape"], equation.params["broadcast_dimensions"]
    if degrees is None:
        return [None]
    spread = [1] * len(shape)
    for axis, size in zip(axes, degrees.shape, strict=True):
        spread[axis] = size
    return [np.broadcast_to(degrees.reshape(spread), shape)]


def _arranged(arrange: Callable[[np.ndarray, dict[str, Any]], np.ndarray]) -> Rule:
    """The entries of the one operand in another order or shape."""

    def rule(equation: Any, incoming: list[Degrees], blame: Callable[[], int]) -> list[Degrees]:
        degrees = incoming[0]
        if degrees is None or any(each is not None for each in incoming[1:]):
            return blamed(equation, incoming, blame)
        return [np.reshape(arrange(degrees, equation.params), shape_of(equation.outvars[0]))]

    return rule


def _sliced(degrees: np.ndarray, params: dict[str, Any]) -> np.ndarray:
    steps = params["strides"] or (1,) * degrees.ndim
    return degrees[tuple(map(slice, params["start_indices"], params["limit_indices"], steps))]


def _running_sum(degrees: np.ndarray, params: dict[str, Any]) -> np.ndarray:
    axis, backwards = params["axis"], params["reverse"]
    found = np.maximum.accumulate(np.flip(degrees, axis) if backwards else degrees, axis=axis)
    return np.flip(found, axis) if backwards else found


def _together(equation: Any, incoming: list[Degrees], blame: Callable[[], int]) -> list[Degrees]:
    """Arrays put one behind the other, or stacked."""
    arrays = [_zeros(degrees, shape_of(atom)) for degrees, atom in zip(incoming, equation.invars, strict=True)]
    if equation.primitive.name == "stack":
        return [np.stack(arrays, axis=equation.params["axis"])]
    return [np.concatenate(arrays, axis=equation.params["dimension"])]


def _split(equation: Any, incoming: list[Degrees], blame: Callable[[], int]) -> list[Degrees]:
    degrees = incoming[0]
    assert degrees is not None
    return list(np.split(degrees, np.cumsum(equation.params["sizes"])[:-1], axis=equation.params["axis"]))


def _unstack(equation: Any, incoming: list[Degrees], blame: Callable[[], int]) -> list[Degrees]:
    degrees = incoming[0]
    assert degrees is not None
    return [np.asarray(each) for each in np.moveaxis(degrees, equation.params["axis"], 0)]


def _reduce(equation: Any, incoming: list[Degrees], blame: Callable[[], int]) -> list[Degrees]:
    """The largest, the smallest, a product: affine only of one single entry."""
    degrees, axes = incoming[0], equation.params["axes"]
    assert degrees is not None
    found = np.asarray(degrees.max(axis=tuple(axes), initial=0))
    alone = math.prod(degrees.shape[axis] for axis in axes) == 1
    return [found if alone else neither(found, blame)]


def _converted(equation: Any, incoming: list[Degrees], blame: Callable[[], int]) -> list[Degrees]:
    """Between types of real and complex numbers; whole numbers and truth values are steps of x."""
    inexact = jnp.issubdtype(equation.params["new_dtype"], jnp.inexact)
    return list(incoming) if inexact else _entrywise(equation, incoming, blame)


def _calls(names: str, rule: Rule) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


RULES: dict[str, Rule] = {
    **_calls("add sub neg add_any real imag complex conj copy copy_p reduce_precision", _linear),
    **_calls("optimization_barrier", _separately),
    **_calls("fft reduce_window_sum pad", _mixing),
    **_calls("zeros_like", lambda equation, incoming, blame: [None]),
    **_calls("mul", _mul),
    **_calls("div", _div),
    **_calls("integer_pow", _integer_pow),
    **_calls("dot_general", _dot_general),
    **_calls("conv_general_dilated", _bilinear),
    **_calls("triangular_solve", _by_first),
    **_calls("custom_linear_solve", _linear_solve),
    **_calls("select_n", _select),
    **_calls("convert_element_type", _converted),
    **_calls("broadcast_in_dim", _broadcast),
    **_calls("concatenate stack", _together),
    **_calls("split", _split),
    **_calls("unstack", _unstack),
    **_calls("gather dynamic_slice", _indexed(1)),
    **_calls("dynamic_update_slice", _indexed(2)),
    **_calls("scatter scatter-add scatter_add scatter-sub scatter_sub", _indexed(0)),
    **_calls("scatter-mul scatter_mul", _scatter_mul),
    **_calls("reshape squeeze expand_dims", _arranged(lambda degrees, _: degrees)),
    **_calls("transpose", _arranged(lambda degrees, params: np.transpose(degrees, params["permutation"]))),
    **_calls("rev", _arranged(lambda degrees, params: np.flip(degrees, params["dimensions"]))),
    **_calls("tile", _arranged(lambda degrees, params: np.tile(degrees, params["reps"]))),
    **_calls("slice", _arranged(_sliced)),
    **_calls("cumsum", _arranged(_running_sum)),
    **_calls("reduce_sum", _arranged(lambda degrees, params: np.asarray(degrees.max(axis=tuple(params["axes"]), initial=0)))),
    **_calls("reduce_max reduce_min reduce_prod", _reduce),
    # Not affine, and entry by entry, so that the other entries of an array are not blamed.
    **_calls(
        "abs sign max min clamp floor ceil round is_finite exp exp2 expm1 log log1p log2 sqrt rsqrt cbrt square pow logistic sin "
        "cos tan tanh sinh cosh asin acos atan atan2 asinh acosh atanh erf erfc erf_inv lgamma digamma rem eq ne lt le gt ge "
        "and or not xor stop_gradient",
        _entrywise,
    ),
}  # fmt: skip
