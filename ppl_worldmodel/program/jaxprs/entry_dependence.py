"""Entry-wise dependence: which entries of a function's outputs are computed from which entries of its inputs, read off the jaxpr.

`dependence` tells it of whole arrays. Here an entry that is merely moved (sliced, reshaped, stacked, gathered at known places)
keeps its own mark; elementwise operations mark entry by entry, and any other operation marks all that comes of it. A dependence
that cancels counts, and none is missed.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal, jaxpr_as_fun

MOVED, COMPUTED = 1, 2

_ELEMENTWISE = {
    "abs", "add", "and", "atan2", "ceil", "clamp", "cos", "cosh", "digamma", "div", "eq", "erf", "erf_inv", "erfc",
    "exp", "exp2", "expm1", "floor", "ge", "gt", "integer_pow", "is_finite", "le", "lgamma", "log", "log1p",
    "logistic", "lt", "max", "min", "mul", "ne", "neg", "nextafter", "not", "or", "pow", "real", "rem", "round",
    "rsqrt", "select_n", "sign", "sin", "sinh", "sqrt", "square", "sub", "tan", "tanh", "xor",
}  # fmt: skip
_MOVES: Mapping[str, Callable] = {
    "reshape": lambda marks, new_sizes, **_: marks.reshape(new_sizes),
    "squeeze": lambda marks, dimensions, **_: np.squeeze(marks, tuple(dimensions)),
    "expand_dims": lambda marks, dimensions, **_: np.expand_dims(marks, tuple(dimensions)),
    "transpose": lambda marks, permutation, **_: np.transpose(marks, permutation),
    "rev": lambda marks, dimensions, **_: np.flip(marks, tuple(dimensions)),
    "convert_element_type": lambda marks, **_: marks,
    "copy": lambda marks, **_: marks,
    "copy_p": lambda marks, **_: marks,
    "slice": lambda marks, start_indices, limit_indices, strides, **_: marks[
        tuple(map(slice, start_indices, limit_indices, strides or (None,) * len(start_indices)))
    ],
    "broadcast_in_dim": lambda marks, shape, broadcast_dimensions, **_: np.broadcast_to(
        marks.reshape([marks.shape[broadcast_dimensions.index(i)] if i in broadcast_dimensions else 1 for i in range(len(shape))]),
        shape,
    ),
}  # fmt: skip
_JOINS: Mapping[str, Callable] = {
    "concatenate": lambda parts, dimension, **_: np.concatenate(parts, dimension),
    "stack": lambda parts, axis, **_: np.stack(parts, axis),
}
_AT_PLACES = ("gather", "dynamic_slice")
_CALLS = ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call")


class Reached(NamedTuple):
    """marks   of every output: 0 where it depends on no marked entry, MOVED where it is one, COMPUTED where it depends on some
    asked   does the function ask of a marked entry itself whether it is a number (isnan, isfinite)?
    """

    marks: list[np.ndarray]
    asked: bool


class Entries:
    """A function taken down as its jaxpr, to be asked where entries of its arguments lead. `shape`: the tree of its outputs."""

    def __init__(self, function: Callable, *arguments: Any):
        self.closed, self.shape = jax.make_jaxpr(function, return_shape=True)(*arguments)

    def reached(self, marked: Mapping[int, Any]) -> Reached:
        """marked: {number of an input leaf: which of its entries are followed}."""
        walk = _Walk()
        jaxpr: Any = self.closed.jaxpr
        marks = [
            np.broadcast_to(np.asarray(marked[i], np.uint8) * MOVED, atom.aval.shape) if i in marked else None
            for i, atom in enumerate(jaxpr.invars)
        ]
        found = walk.run(self.closed, marks, [lambda: None] * len(marks))
        outs = zip(found, jaxpr.outvars, strict=True)
        return Reached([np.zeros(atom.aval.shape, np.uint8) if m is None else m for m, atom in outs], walk.asked)


class _Walk:
    """Marks are None where there are none. A known value is a function that gives it, or None."""

    def __init__(self) -> None:
        self.asked = False

    def run(self, closed: Any, marks: list, values: list[Callable]) -> list:
        jaxpr = closed.jaxpr
        of: dict[Any, Any] = dict(zip(jaxpr.invars, marks, strict=True))
        known: dict[Any, Callable] = dict(zip(jaxpr.invars, values, strict=True))
        known |= {atom: lambda value=value: value for atom, value in zip(jaxpr.constvars, closed.consts, strict=True)}

        def mark(atom: Any) -> Any:
            return None if isinstance(atom, Literal) else of.get(atom)

        def value(atom: Any) -> Any:
            return atom.val if isinstance(atom, Literal) else known[atom]()

        for equation in jaxpr.eqns:
            incoming = [mark(atom) for atom in equation.invars]
            for i, atom in enumerate(equation.outvars):
                known[atom] = _once(lambda equation=equation, i=i: _evaluated(equation, value)[i])
            if any(found is not None and found.any() for found in incoming):
                outgoing = self._through(
                    equation, incoming, [lambda atom=atom: value(atom) for atom in equation.invars]
                )
                of.update(zip(equation.outvars, outgoing, strict=True))
        return [mark(atom) for atom in jaxpr.outvars]

    def _through(self, equation: Any, incoming: list, values: list[Callable]) -> list:
        """The marks of an operation's results."""
        name, shapes = equation.primitive.name, [atom.aval.shape for atom in equation.outvars]
        inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
        if name in _CALLS and hasattr(inner, "consts") and len(inner.jaxpr.invars) == len(incoming):
            return self.run(inner, incoming, values)
        if name in _MOVES:
            return [_MOVES[name](incoming[0], **equation.params)]
        if name in _JOINS:
            parts = [
                np.zeros(atom.aval.shape, np.uint8) if found is None else found
                for atom, found in zip(equation.invars, incoming, strict=True)
            ]
            return [_JOINS[name](parts, **equation.params)]
        if name in _AT_PLACES and all(found is None for found in incoming[1:]):
            places = [one() for one in values[1:]]
            if all(place is not None for place in places):
                # As floats, since what lies outside is filled with NaN.
                moved = equation.primitive.bind(jnp.asarray(incoming[0], jnp.float_), *places, **equation.params)
                return [np.nan_to_num(np.asarray(moved)).astype(np.uint8)]
        if self._asks(equation, incoming):
            self.asked = True
            return [None]
        if name in _ELEMENTWISE:
            some = [np.broadcast_to(found, shapes[0]) for found in incoming if found is not None]
            return [np.where(np.any(some, axis=0), COMPUTED, 0).astype(np.uint8)]
        return [np.full(shape, COMPUTED, np.uint8) for shape in shapes]

    @staticmethod
    def _asks(equation: Any, incoming: list) -> bool:
        """Is this isnan or isfinite of a marked entry itself?"""
        name, atoms = equation.primitive.name, equation.invars
        itself = name == "is_finite" or (name in ("ne", "eq") and atoms[0] is atoms[1])
        return itself and bool((incoming[0] == MOVED).any())


def _once(function: Callable) -> Callable:
    found: list[Any] = []

    def value() -> Any:
        if not found:
            found.append(function())
        return found[0]

    return value


def _evaluated(equation: Any, value: Callable) -> Any:
    """The results of an operation on known values; None for each where one is not known."""
    arguments = [value(atom) for atom in equation.invars]
    if any(argument is None for argument in arguments):
        return [None] * len(equation.outvars)
    if equation.primitive.name in _CALLS:
        return jaxpr_as_fun(equation.params.get("jaxpr") or equation.params["call_jaxpr"])(*arguments)
    found = equation.primitive.bind(*arguments, **equation.primitive.get_bind_params(equation.params))
    return found if equation.primitive.multiple_results else [found]
