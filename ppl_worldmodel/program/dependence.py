"""Which outputs of a function depend on which arguments?  Read off its jaxpr: a fact about the code, not about numbers."""

from collections.abc import Callable
from typing import Any

import jax


def dependence(function: Callable, *arguments: Any) -> Any:
    """The output of `function` with each leaf replaced by the frozenset of positions of the arguments that it depends on.

    A dependence that cancels (x * 0) counts; nothing that depends on an argument is ever missed.
    """
    closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
    sources = [frozenset({i}) for i, argument in enumerate(arguments) for _ in jax.tree.leaves(argument)]
    return jax.tree.unflatten(jax.tree.structure(shape), _walk(closed.jaxpr, sources))


def _walk(jaxpr: Any, sources: list[frozenset]) -> list[frozenset]:
    of = dict(zip(jaxpr.invars, sources, strict=True))

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
            outgoing = _walk(inner, incoming)
        else:
            outgoing = [frozenset().union(*incoming)] * len(equation.outvars)
        of.update(zip(equation.outvars, outgoing, strict=True))
    return [look_up(atom) for atom in jaxpr.outvars]
