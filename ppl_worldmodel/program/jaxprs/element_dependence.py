"""Element-wise dependence: which labelled inputs each element of an array depends on, followed through a jaxpr.

Every element of a labelled input has a number (of a sequence, of a time step). An element of a result depends on NOTHING that is
labelled, on elements of one number n, or on several (MIXED). It is a proof for all values of the inputs: an operation without a
rule mixes what it is given.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal

from ppl_worldmodel.program.jaxprs.element_rules import (
    CUMULATIVE,
    ELEMENTWISE,
    MATRICES,
    MIXED,
    NOTHING,
    REDUCE,
    RULES,
    SAME,
    Labels,
    join,
    joined,
)


def element_labels(function: Callable, labels: Sequence[Any], *arguments: Any) -> Any:
    """The output of `function` with each leaf replaced by the labels of its elements, of its shape.

    labels  for each argument None (not labelled) or a tree of integer arrays, of the shapes of the argument's leaves
    """
    closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
    given: list[Labels] = []
    for label, argument in zip(labels, arguments, strict=True):
        leaves = jax.tree.leaves(argument)
        given += [None] * len(leaves) if label is None else [np.asarray(leaf) for leaf in jax.tree.leaves(label)]
    found = labels_of(closed.jaxpr, closed.consts, given)
    outputs = [
        np.full(out.shape, NOTHING) if label is None else np.broadcast_to(label, out.shape)
        for label, out in zip(found, jax.tree.leaves(shape), strict=True)
    ]
    return jax.tree.unflatten(jax.tree.structure(shape), outputs)


def labels_of(
    jaxpr: Any, consts: Sequence[Any], given: Sequence[Labels], values: Sequence[Any] | None = None
) -> list[Labels]:
    """The labels of a jaxpr's outputs, given those of its inputs, and the inputs' values where these are known (else None)."""
    labels: dict[Any, Labels] = dict(zip(jaxpr.invars, given, strict=True))
    known: dict[Any, np.ndarray] = {
        var: np.asarray(value)
        for var, value in zip(jaxpr.constvars, consts, strict=True)
        if not isinstance(value, jax.core.Tracer) and _is_plain(value)
    }
    known |= {var: value for var, value in zip(jaxpr.invars, values or (), strict=False) if value is not None}

    def value_of(atom: Any) -> Any:
        return np.asarray(atom.val) if isinstance(atom, Literal) else known.get(atom)

    for equation in jaxpr.eqns:
        incoming = [None if isinstance(atom, Literal) else labels.get(atom) for atom in equation.invars]
        at = [value_of(atom) for atom in equation.invars]
        if all(label is None for label in incoming):
            known.update(_evaluated(equation, at))
            continue
        shaped = [
            None if label is None else np.broadcast_to(label, atom.aval.shape)
            for label, atom in zip(incoming, equation.invars, strict=True)
        ]
        labels.update(zip(equation.outvars, _outgoing(equation, shaped, at), strict=True))
    return [None if isinstance(atom, Literal) else labels.get(atom) for atom in jaxpr.outvars]


def _is_plain(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    return isinstance(dtype, np.dtype) and dtype.kind in "biuf"


def _evaluated(equation: Any, values: list[Any]) -> dict[Any, np.ndarray]:
    """Indices are computed before they are used: small whole-number results of known values are kept."""
    dtypes = [getattr(out.aval, "dtype", None) for out in equation.outvars]
    kinds = {dtype.kind if isinstance(dtype, np.dtype) else "" for dtype in dtypes}
    small = all(np.prod(out.aval.shape, dtype=float) <= 1e6 for out in equation.outvars if hasattr(out.aval, "shape"))
    if any(value is None for value in values) or not kinds <= set("biu") or not small or equation.effects:
        return {}
    with jax.ensure_compile_time_eval():
        found = equation.primitive.bind(*values, **equation.primitive.get_bind_params(equation.params))
    found = found if equation.primitive.multiple_results else [found]
    return {atom: np.asarray(value) for atom, value in zip(equation.outvars, found, strict=True)}


def _outgoing(equation: Any, labels: list[Any], values: list[Any]) -> list[Labels]:
    """The labels of an equation's outputs."""
    name, parameters = equation.primitive.name, equation.params
    shapes = [out.aval.shape for out in equation.outvars]
    if name in ELEMENTWISE:
        return [join(*labels)]
    if name in SAME:
        return labels
    if name in REDUCE:
        return [joined(labels[0], tuple(parameters["axes"]))]
    if name in CUMULATIVE:
        whole = np.expand_dims(joined(labels[0], (parameters["axis"],)), parameters["axis"])
        return [np.broadcast_to(whole, shapes[0])]
    if name in MATRICES:
        block: Any = join(*(None if label is None else joined(label, (-2, -1)) for label in labels))
        return [np.broadcast_to(block.reshape(*block.shape, *(1,) * (len(s) - block.ndim)), s) for s in shapes]
    if name == "sort":
        axis = parameters["dimension"]
        rows = joined(np.asarray(join(*labels)), (axis,))
        return [np.broadcast_to(np.expand_dims(rows, axis), shape) for shape in shapes]
    if name == "split":
        return list(np.split(labels[0], np.cumsum(parameters["sizes"])[:-1], axis=parameters["axis"]))
    if name == "unstack":
        return list(np.moveaxis(labels[0], parameters["axis"], 0))
    rule = RULES.get(name)
    if rule is not None:
        found = rule(equation, labels, values)
        if found is not None:
            return [found]
    inner = _inner(equation, labels, values)
    return inner if inner is not None else [np.full(shape, MIXED) for shape in shapes]


def _inner(equation: Any, labels: list[Labels], values: list[Any]) -> list[Labels] | None:
    """The labels of the outputs of a call, a branch or a loop; None of any other operation."""
    name, parameters = equation.primitive.name, equation.params
    if name == "cond":
        branches = [labels_of(branch.jaxpr, branch.consts, labels[1:], values[1:]) for branch in parameters["branches"]]
        return [
            _beside(labels[0], join(*found), out)
            for found, out in zip(zip(*branches, strict=True), equation.outvars, strict=True)
        ]
    if name == "scan":
        return _scan(equation, labels)
    if name == "while":
        test, body = parameters["cond_jaxpr"], parameters["body_jaxpr"]
        some, more = parameters["cond_nconsts"], parameters["body_nconsts"]
        of_test, of_body, carry = labels[:some], labels[some : some + more], labels[some + more :]
        while True:
            again = labels_of(test.jaxpr, test.consts, [*of_test, *carry])[0]
            new = labels_of(body.jaxpr, body.consts, [*of_body, *carry])
            both = [
                _beside(again, join(*pair), out)
                for pair, out in zip(zip(carry, new, strict=True), equation.outvars, strict=True)
            ]
            if all(map(_same, carry, both)):
                return both
            carry = both
    inner = next(
        (parameters[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if parameters.get(key) is not None), None
    )
    if inner is None or name == "custom_linear_solve":
        return None
    jaxpr, consts = getattr(inner, "jaxpr", inner), getattr(inner, "consts", ())
    return labels_of(jaxpr, consts, labels, values) if len(jaxpr.invars) == len(labels) else None


def _scan(equation: Any, labels: list[Labels]) -> list[Labels]:
    """A loop: every step gets what the inputs of all steps depend on."""
    closed = equation.params["jaxpr"]
    first, count = _counts(equation.params)
    consts, carry = labels[:first], labels[first : first + count]
    inputs = [None if label is None else joined(label, (0,)) for label in labels[first + count :]]
    while True:
        found = labels_of(closed.jaxpr, closed.consts, [*consts, *carry, *inputs])
        both = [join(*pair) for pair in zip(carry, found[:count], strict=True)]
        if all(map(_same, carry, both)):
            break
        carry = both
    shapes = [out.aval.shape for out in equation.outvars[count:]]
    stacked = [None if y is None else np.broadcast_to(y, shape) for y, shape in zip(found[count:], shapes, strict=True)]
    return [*carry, *stacked]


def _counts(parameters: dict[str, Any]) -> tuple[int, int]:
    """How many constants and how many parts of the carry a scan has; JAX writes it down in one of two ways."""
    if "num_consts" in parameters:
        return parameters["num_consts"], parameters["num_carry"]
    consts, carry, _ = parameters["ft_in"].unpack()
    return len(list(consts.vals)), len(list(carry.vals))


def _beside(scalar: Labels, labels: Labels, out: Any) -> Labels:
    """What depends on these and, everywhere, on one scalar."""
    return labels if scalar is None else join(np.broadcast_to(scalar, out.aval.shape), labels)


def _same(one: Labels, other: Labels) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))
