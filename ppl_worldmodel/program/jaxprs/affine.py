"""Affinity of a function in some of its arguments, proven on its jaxpr: an abstract interpretation over degrees.

Each value that the function computes gets the degree of each of its entries (`degrees`: independent, affine or neither), from
the degrees of what it is computed from. What holds of the jaxpr holds for all values of all other arguments and of all that
the function closes over, at once. Calls are followed, the branches of a cond joined, and loops followed until the degrees of
what they carry no longer rise.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from ppl_worldmodel.program.jaxprs.degrees import (
    AFFINE,
    FIRST,
    RULES,
    Degrees,
    blamed,
    joined,
    neither,
    shape_of,
    whole,
    worst,
)
from ppl_worldmodel.program.jaxprs.source_lines import Line, is_librarys, library_call, where

ROUNDS = 4  # of a loop, after which all entries of what it carries have the degree of the worst of them

_CALLS = ("jit", "pjit", "closed_call", "core_call", "core_closed_call", "remat", "remat2", "checkpoint")
_WORDS = {
    "mul": "a product of two values that depend on it (`mul`)",
    "dot_general": "a product of two arrays that depend on it (`dot_general`)",
    **{name: f"a comparison with it (`{name}`)" for name in ("lt", "le", "gt", "ge", "eq", "ne")},
    "div": "a division by a value that depends on it (`div`)",
    "select_n": "a choice that depends on it (`select_n`)",
    "gather": "an index that depends on it (`gather`)",
    "dynamic_slice": "an index that depends on it (`dynamic_slice`)",
    "cond": "a branch that depends on it (`cond`)",
    "while": "a loop whose end depends on it (`while`)",
    "convert_element_type": "a conversion to whole numbers or truth values (`convert_element_type`)",
    "stop_gradient": "a gradient that is stopped (`stop_gradient`)",
    "custom_jvp_call": "a derivative of one's own (`custom_jvp`), which is not looked into",
    "custom_vjp_call": "a derivative of one's own (`custom_vjp`), which is not looked into",
}  # fmt: skip


class Operation(NamedTuple):
    """An equation of a jaxpr, after the calls that it is inside of (outermost first)."""

    equations: tuple[Any, ...]

    def words(self) -> str:
        name = self.equations[-1].primitive.name
        caller = library_call(*self.equations)
        return _WORDS.get(name, f"`{name}`") if caller is None or caller == name else f"`{caller}` ({name})"

    def line(self) -> Line | None:
        return where(*self.equations)


class Proof(NamedTuple):
    """degrees of each leaf of the function's output, in its tree; operations: those to blame, in the order of their numbers;
    rounded: where a value that depends on the tracked arguments is rounded to fewer digits.
    """

    degrees: Any
    operations: tuple[Operation, ...]
    rounded: tuple[Operation, ...]

    def blame(self, degrees: Degrees) -> Operation | None:
        """The operation that makes an entry neither."""
        degree = worst(degrees)
        return self.operations[FIRST - degree] if degree > AFFINE else None


class _Whole:
    """Degrees as a leaf of a tree, though they may be None."""

    def __init__(self, degrees: Degrees):
        self.degrees = degrees


def prove(function: Callable, tracked: Any, *others: Any) -> Proof:
    """The degrees of function(tracked, *others) in all leaves of `tracked` together; the arguments need only shapes and types."""
    closed, shape = jax.make_jaxpr(function, return_shape=True)(tracked, *others)
    count = len(jax.tree.leaves(tracked))
    walk = _Walk()
    incoming = [whole(AFFINE, shape_of(atom)) if i < count else None for i, atom in enumerate(closed.jaxpr.invars)]
    known = _scalars(closed.jaxpr, closed.consts)
    outgoing = [_Whole(degrees) for degrees in walk.through(closed.jaxpr, incoming, known, ())]
    if walk.spilled:
        outgoing = [_Whole(whole(walk.spilled, shape_of(atom))) for atom in closed.jaxpr.outvars]
    tree = jax.tree.unflatten(jax.tree.structure(shape), outgoing)
    return Proof(
        jax.tree.map(lambda leaf: leaf.degrees, tree), tuple(walk.operations.values()), tuple(walk.rounded.values())
    )


class _Walk:
    """The state of one interpretation: the operations met so far that are to blame, each once."""

    def __init__(self) -> None:
        self.operations: dict[tuple[int, ...], Operation] = {}
        self.rounded: dict[tuple[int, ...], Operation] = {}
        self.spilled = 0  # the degree of what was written into a reference, from which anything may be read again

    def through(self, jaxpr: Any, incoming: list[Degrees], known: dict[Any, Any], calls: tuple) -> list[Degrees]:
        """The degrees of what a jaxpr returns. `known`: those of its variables that are scalars of known value."""
        of: dict[Any, Degrees] = {
            atom: degrees for atom, degrees in zip(jaxpr.invars, incoming, strict=True) if degrees is not None
        }
        if not of:
            return [None] * len(jaxpr.outvars)
        known = dict(known)
        for equation in jaxpr.eqns:
            given = [None if isinstance(atom, Literal) else of.get(atom) for atom in equation.invars]
            values = [atom.val if isinstance(atom, Literal) else known.get(atom) for atom in equation.invars]
            if all(degrees is None for degrees in given):
                if values and _is_concrete(values[0]) and (value := _handed(equation, values[0])) is not None:
                    known[equation.outvars[0]] = value
                continue
            found = self.equation(equation, given, values, calls)
            of.update((atom, out) for atom, out in zip(equation.outvars, found, strict=True) if out is not None)
        return [None if isinstance(atom, Literal) else of.get(atom) for atom in jaxpr.outvars]

    def equation(self, equation: Any, given: list[Degrees], values: list[Any], calls: tuple) -> list[Degrees]:
        name, chain = equation.primitive.name, (*calls, equation)
        blame = partial(self.blame, chain)
        if any(type(atom.aval).__name__ == "AbstractRef" for atom in equation.invars):
            self.spilled = max(self.spilled, blame())
            return blamed(equation, given, blame)
        if name in _CALLS:
            return self.called(equation.params.get("jaxpr") or equation.params["call_jaxpr"], given, values, chain)
        if name == "custom_jvp_call":
            found = self.called(equation.params["call_jaxpr"], given, values, chain)
            # A library's own derivatives are right; those of anyone else would be believed without a look.
            return found if is_librarys(equation) else [None if out is None else neither(out, blame) for out in found]
        if name == "custom_vjp_call":
            return blamed(equation, given, blame)
        if name == "cond":
            return self.cond(equation, given, values, chain, blame)
        if name == "scan":
            return self.scan(equation, given, chain)
        if name == "while":
            return self.loop(equation, given, chain, blame)
        if name == "select_n" and _is_concrete(values[0]) and np.ndim(values[0]) == 0:
            chosen = given[1 + int(values[0])]
            return [None if chosen is None else np.broadcast_to(chosen, shape_of(equation.outvars[0]))]
        if _is_identity(name, values):
            return [next(degrees for degrees in given if degrees is not None)]
        if name == "reduce_precision" or (name == "convert_element_type" and _is_narrower(equation)):
            self.rounded.setdefault(tuple(map(id, chain)), Operation(chain))
        return RULES.get(name, blamed)(equation, given, blame)

    def blame(self, chain: tuple) -> int:
        key = tuple(map(id, chain))
        self.operations.setdefault(key, Operation(chain))
        return FIRST - list(self.operations).index(key)

    def called(self, closed: Any, given: list[Degrees], values: list[Any], chain: tuple) -> list[Degrees]:
        jaxpr = getattr(closed, "jaxpr", closed)
        known = _scalars(jaxpr, getattr(closed, "consts", ()))
        known |= {atom: value for atom, value in zip(jaxpr.invars, values, strict=True) if value is not None}
        return self.through(jaxpr, given, known, chain)

    def cond(self, equation: Any, given: list[Degrees], values: list[Any], chain: tuple, blame: Any) -> list[Degrees]:
        if given[0] is not None:
            return blamed(equation, given, blame)
        found: list[Degrees] = [None] * len(equation.outvars)
        branches = equation.params["branches"]
        if _is_concrete(values[0]):
            branches = [branches[min(max(int(values[0]), 0), len(branches) - 1)]]
        for branch in branches:
            outgoing = self.called(branch, given[1:], values[1:], chain)
            found = [joined(*pair) for pair in zip(found, outgoing, strict=True)]
        return found

    def scan(self, equation: Any, given: list[Degrees], chain: tuple) -> list[Degrees]:
        closed, length = equation.params["jaxpr"], equation.params["length"]
        body = getattr(closed, "jaxpr", closed)
        count = _handed_on(equation.outvars, body.outvars)
        consts = _handed_on(equation.invars, body.invars) - count
        along = [None if xs is None else np.asarray(xs.max(axis=0, initial=0)) for xs in given[consts + count :]]

        def step(carry: list[Degrees]) -> list[Degrees]:
            return self.called(closed, [*given[:consts], *carry, *along], [None] * len(given), chain)

        carry = _risen(lambda carry: step(carry)[:count], given[consts : consts + count])
        outputs = [None if out is None else np.broadcast_to(out, (length, *out.shape)) for out in step(carry)[count:]]
        return [*carry, *outputs]

    def loop(self, equation: Any, given: list[Degrees], chain: tuple, blame: Any) -> list[Degrees]:
        first, second = (equation.params[name] for name in ("cond_nconsts", "body_nconsts"))
        ending, consts, start = given[:first], given[first : first + second], given[first + second :]

        def step(carry: list[Degrees]) -> list[Degrees]:
            return self.called(equation.params["body_jaxpr"], [*consts, *carry], [None] * (second + len(carry)), chain)

        carry = _risen(step, start)
        nothing = [None] * (first + len(carry))
        if self.called(equation.params["cond_jaxpr"], [*ending, *carry], nothing, chain)[0] is not None:
            return [whole(blame(), shape_of(out)) for out in equation.outvars]
        return carry


def _handed_on(outside: list, inside: list) -> int:
    """How many values of a scan are those of its body, and not series of them."""
    return sum(len(shape_of(one)) == len(shape_of(other)) for one, other in zip(outside, inside, strict=True))


def _risen(step: Callable[[list[Degrees]], list[Degrees]], carry: list[Degrees]) -> list[Degrees]:
    """What a loop carries after any number of rounds: degrees only rise, and end at a fixed point."""
    rounds = 0
    while True:
        new = [joined(old, after) for old, after in zip(carry, step(carry), strict=True)]
        if all(_same(old, after) for old, after in zip(carry, new, strict=True)):
            return carry
        rounds += 1
        carry = new if rounds < ROUNDS else [None if each is None else whole(worst(each), each.shape) for each in new]


def _same(one: Degrees, other: Degrees) -> bool:
    return worst(one) == worst(other) == 0 or (one is not None and other is not None and np.array_equal(one, other))


def _scalars(jaxpr: Any, consts: Any) -> dict[Any, Any]:
    """The closed-over scalars of a jaxpr whose value is known, and not traced by JAX."""
    return {
        atom: value
        for atom, value in zip(jaxpr.constvars, consts, strict=True)
        if not isinstance(value, jax.core.Tracer) and np.ndim(value) == 0
    }


def _handed(equation: Any, value: Any) -> Any:
    """What a scalar of known value becomes, where it is only spread or converted; None of any other operation."""
    if equation.primitive.name in ("broadcast_in_dim", "reshape", "copy"):
        return value
    if equation.primitive.name == "convert_element_type" and np.dtype(equation.params["new_dtype"]).kind in "biuf":
        return np.asarray(value).astype(equation.params["new_dtype"])
    return None


def _is_identity(name: str, values: list[Any]) -> bool:
    """Does this operation hand its one operand on, since the others are known numbers: x**1, max(x, -inf), clip(x, -inf, inf)?"""

    def is_known(value: Any, number: float) -> bool:
        return _is_concrete(value) and bool(np.all(np.asarray(value) == number))

    if name == "pow":
        return is_known(values[1], 1.0)
    if name in ("max", "min"):
        return any(is_known(value, -np.inf if name == "max" else np.inf) for value in values)
    return name == "clamp" and is_known(values[0], -np.inf) and is_known(values[2], np.inf)


def _is_concrete(value: Any) -> bool:
    return value is not None and not isinstance(value, jax.core.Tracer)


def _is_narrower(equation: Any) -> bool:
    old, new = equation.invars[0].aval.dtype, equation.params["new_dtype"]
    if not (jnp.issubdtype(old, jnp.inexact) and jnp.issubdtype(new, jnp.inexact)):
        return False
    return jnp.finfo(new).nmant < jnp.finfo(old).nmant
