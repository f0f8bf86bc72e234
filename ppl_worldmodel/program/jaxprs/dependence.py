"""Dependence of a function's outputs on its arguments, read off its jaxpr: a fact about the code, not about numbers."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
from jax.extend.core import jaxpr_as_fun
from jax.interpreters.partial_eval import dce_jaxpr


def dependence(function: Callable, *arguments: Any) -> Any:
    """The output of `function` with each leaf replaced by the frozenset of positions of the arguments that it depends on.

    A dependence that cancels (x * 0) counts; nothing that depends on an argument is ever missed.
    """
    return taken_down(function, *arguments)[1]


def taken_down(function: Callable, *arguments: Any) -> tuple[Callable, Any]:
    """The function as its jaxpr, which runs without running Python code again; and its `dependence`."""
    closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
    sources = [frozenset({i}) for i, argument in enumerate(arguments) for _ in jax.tree.leaves(argument)]
    treedef, run = jax.tree.structure(shape), jaxpr_as_fun(closed)
    return (
        lambda *arguments: jax.tree.unflatten(treedef, run(*jax.tree.leaves(arguments))),
        jax.tree.unflatten(treedef, walk(closed.jaxpr, sources)),
    )


def needed(function: Callable, *arguments: Any) -> bool:
    """Does the function need any of these arrays?  Yes as well where it cannot be traced, for it asks for their numbers.

    Unlike in `dependence`, an input of a scan that its step ignores is not needed.
    """
    try:
        closed = jax.make_jaxpr(function)(*arguments)
    except jax.errors.ConcretizationTypeError:
        return True
    return any(dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))[1])


def walk(jaxpr: Any, sources: list[frozenset], cut: Mapping[Any, frozenset] = MappingProxyType({})) -> list[frozenset]:
    """What each output of a jaxpr depends on, given what its inputs do; a variable in `cut` depends on what is said there."""
    of = dict(zip(jaxpr.invars, sources, strict=True)) | dict(cut)

    def look_up(atom):
        return of.get(atom, frozenset()) if not hasattr(atom, "val") else frozenset()

    for equation in jaxpr.eqns:
        incoming = [look_up(atom) for atom in equation.invars]
        inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
        inner = getattr(inner, "jaxpr", inner)
        is_call = equation.primitive.name in (
            "jit",
            "pjit",
            "closed_call",
            "core_call",
            "custom_jvp_call",
            "custom_vjp_call",
        )
        if is_call and inner is not None and len(inner.invars) == len(incoming):
            outgoing = walk(inner, incoming)
        else:
            outgoing = [frozenset().union(*incoming)] * len(equation.outvars)
        of.update((atom, out) for atom, out in zip(equation.outvars, outgoing, strict=True) if atom not in cut)
    return [look_up(atom) for atom in jaxpr.outvars]
