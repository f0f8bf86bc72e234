"""Rules of element-wise dependence: what the primitives of JAX do to the labels of their operands' elements."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import lax

NOTHING, MIXED = -1, int(np.iinfo(np.int32).max)
Labels = np.ndarray | None  # of the array's shape; None: nothing anywhere

ELEMENTWISE = frozenset((
    "abs", "acos", "acosh", "add", "and", "asin", "asinh", "atan", "atan2", "atanh", "bessel_i0e", "bessel_i1e", "cbrt",
    "ceil", "clamp", "clz", "conj", "convert_element_type", "copy", "copy_p", "cos", "cosh", "digamma", "div", "eq",
    "eq_to", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "ge", "gt", "igamma", "igammac", "imag",
    "integer_pow", "is_finite", "le", "le_to", "lgamma", "log", "log1p", "logistic", "lt", "lt_to", "max", "min", "mul",
    "ne", "neg", "nextafter", "not", "or", "polygamma", "population_count", "pow", "real", "reduce_precision",
    "regularized_incomplete_beta", "rem", "round", "rsqrt", "select_n", "shift_left", "shift_right_arithmetic",
    "shift_right_logical", "sign", "sin", "sinh", "sqrt", "square", "stop_gradient", "sub", "tan", "tanh", "xor", "zeta",
))  # fmt: skip
SAME = frozenset(("optimization_barrier", "device_put", "sharding_constraint"))  # outputs are the inputs, one by one
REDUCE = frozenset((
    "reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "reduce_xor", "argmax", "argmin",
))  # fmt: skip
CUMULATIVE = frozenset(("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"))
MATRICES = frozenset(("cholesky", "triangular_solve", "lu", "eigh", "qr", "svd", "householder_product"))


def join(*labels: Labels) -> Labels:
    """What depends on all of these, element by element."""
    some = [label for label in labels if label is not None]
    if not some:
        return None
    return joined(np.stack(np.broadcast_arrays(*some)), (0,))


def joined(labels: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """What depends on all elements along some axes."""
    high = labels.max(axis=axes, initial=NOTHING)
    low = np.where(labels == NOTHING, MIXED, labels).min(axis=axes, initial=MIXED)
    return np.where(high == NOTHING, NOTHING, np.where(low == high, high, MIXED))


def _broadcast(equation: Any, labels: list[Labels], values: list[Any]) -> Labels:
    label = labels[0]
    assert label is not None
    shape, at = equation.params["shape"], equation.params["broadcast_dimensions"]
    inner = [1] * len(shape)
    for size, axis in zip(label.shape, at, strict=True):
        inner[axis] = size
    return np.broadcast_to(label.reshape(inner), shape)


def _reshape(equation: Any, labels: list[Labels], values: list[Any]) -> Labels:
    return labels[0].reshape(equation.params["new_sizes"])  # type: ignore[union-attr]


def _shape_only(equation: Any, labels: list[Labels], values: list[Any]) -> Labels:
    """Operations that only move elements are done to the labels themselves."""
    filled = [
        np.full(atom.aval.shape, NOTHING, np.int32) if label is None else label.astype(np.int32)
        for label, atom in zip(labels, equation.invars, strict=True)
    ]
    with jax.ensure_compile_time_eval():
        return np.asarray(equation.primitive.bind(*filled, **equation.params))


def _dot_general(equation: Any, labels: list[Labels], values: list[Any]) -> Labels:
    (contracted, batched) = equation.params["dimension_numbers"]
    sides = []
    for atom, label, summed, batch in zip(equation.invars, labels, contracted, batched, strict=True):
        whole = np.full(atom.aval.shape, NOTHING) if label is None else label
        free = [axis for axis in range(whole.ndim) if axis not in (*summed, *batch)]
        sides.append(
            (
                joined(whole.transpose(*batch, *free, *summed), tuple(range(len(batch) + len(free), whole.ndim))),
                len(free),
            )
        )
    (left, m), (right, n) = sides
    shape = left.shape
    return join(
        np.reshape(left, (*shape, *(1,) * n)),
        np.reshape(right, (*right.shape[: len(shape) - m], *(1,) * m, *right.shape[len(shape) - m :])),
    )


def _gather(equation: Any, labels: list[Labels], values: list[Any]) -> Labels:
    parameters, shape = equation.params, equation.outvars[0].aval.shape
    numbers, sizes = parameters["dimension_numbers"], parameters["slice_sizes"]
    operand, indices = labels
    found = None
    if indices is not None:
        where = joined(indices, (-1,))
        batch = [axis for axis in range(len(shape)) if axis not in numbers.offset_dims]
        inner = [1] * len(shape)
        for axis, size in zip(batch, where.shape, strict=True):
            inner[axis] = size
        found = np.broadcast_to(where.reshape(inner), shape)
    if operand is None:
        return found
    at = values[1]
    if at is None or indices is not None:  # any element along the axes that are indexed
        kept = {axis for axis, size in enumerate(operand.shape) if sizes[axis] == size}
        kept |= set(numbers.operand_batching_dims)
        lost = tuple(axis for axis in range(operand.ndim) if axis not in kept)
        operand = np.broadcast_to(np.expand_dims(joined(operand, lost), lost), operand.shape)
        at = np.zeros(equation.invars[1].aval.shape, np.int32)
    options = dict(parameters) | {"fill_value": NOTHING}
    with jax.ensure_compile_time_eval():
        return join(found, np.asarray(equation.primitive.bind(operand.astype(np.int32), at, **options)))


def _dynamic_slice(equation: Any, labels: list[Labels], values: list[Any]) -> Labels:
    operand, sizes = labels[0], equation.params["slice_sizes"]
    starts, fixed = labels[1:], values[1:]
    moved = join(*(None if start is None else np.asarray(start) for start in starts))
    shape = equation.outvars[0].aval.shape
    found = None if moved is None else np.broadcast_to(moved, shape)
    if operand is None:
        return found
    if all(value is not None for value in fixed):
        begin = [int(np.clip(v, 0, n - s)) for v, n, s in zip(fixed, operand.shape, sizes, strict=True)]
        return join(found, operand[tuple(slice(b, b + s) for b, s in zip(begin, sizes, strict=True))])
    lost = tuple(axis for axis, size in enumerate(operand.shape) if sizes[axis] != size)
    return join(found, np.broadcast_to(np.expand_dims(joined(operand, lost), lost), shape))


def _dynamic_update_slice(equation: Any, labels: list[Labels], values: list[Any]) -> Labels:
    operand, update, *starts = labels
    shape = equation.outvars[0].aval.shape
    parts = [np.broadcast_to(label, shape) for label in starts if label is not None]
    if update is not None:
        parts.append(np.broadcast_to(joined(update, tuple(range(update.ndim))), shape))
    return join(operand, *parts)


def _scatter(equation: Any, labels: list[Labels], values: list[Any]) -> Labels:
    operand, indices, update = labels
    shape, parameters = equation.outvars[0].aval.shape, equation.params
    if indices is not None or values[1] is None:
        parts = [joined(part, tuple(range(part.ndim))) for part in (indices, update) if part is not None]
        return join(operand, *(np.broadcast_to(part, shape) for part in parts))
    options = {key: parameters[key] for key in ("indices_are_sorted", "unique_indices", "mode")}
    numbers = parameters["dimension_numbers"]
    start = np.full(shape, NOTHING, np.int32) if operand is None else operand.astype(np.int32)
    new = np.full(equation.invars[2].aval.shape, NOTHING, np.int32) if update is None else update.astype(np.int32)
    with jax.ensure_compile_time_eval():
        high = np.asarray(lax.scatter_max(start, values[1], new, numbers, **options))
        low = [np.where(part == NOTHING, MIXED, part).astype(np.int32) for part in (start, new)]
        least = np.asarray(lax.scatter_min(low[0], values[1], low[1], numbers, **options))
    return np.where(high == NOTHING, NOTHING, np.where(least == high, high, MIXED))


RULES: dict[str, Callable[[Any, list[Labels], list[Any]], Labels]] = {
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "dot_general": _dot_general,
    "gather": _gather,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    **dict.fromkeys(("transpose", "squeeze", "slice", "rev", "concatenate", "pad", "expand_dims", "stack", "tile"), _shape_only),
    **dict.fromkeys(
        ("scatter", "scatter-add", "scatter_add", "scatter_mul", "scatter-mul", "scatter_min", "scatter_max"), _scatter
    ),
}  # fmt: skip
