"""Separation: whether a result depends on the inputs of a step only through the new state

`Through` is a function taken down as its jaxpr, with some of its outputs (the new state) as possible inputs: whatever uses the
new state can be asked what it does with another one.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend.core import Literal

from ppl_worldmodel.program.jaxprs.dependence import walk


class Through:
    """function(*arguments) -> (new, rest): `new` a list of arrays, `rest` any tree of arrays."""

    def __init__(self, function: Callable, *arguments: Any):
        self.closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        self.treedef = jax.tree.structure(shape[1])
        self.count = len(shape[0])
        outvars = self.closed.jaxpr.outvars
        # Two parts of the new state may be one and the same value: the first stands for both.
        self.new: dict[Any, int] = {}
        for i, atom in enumerate(outvars[: self.count]):
            if not isinstance(atom, Literal):
                self.new.setdefault(atom, i)

    def needs(self, *arguments: Any) -> tuple[Any, Any, Any]:
        """What `rest` depends on, as positions of the arguments, -1 for the new state.

        Three times: over all, with the new state not counted; besides what was computed for the new state; besides all
        that the new state has in it, handed on or computed.
        """
        sources = [frozenset({i}) for i, argument in enumerate(arguments) for _ in jax.tree.leaves(argument)]
        given = set(self.closed.jaxpr.invars)
        new = dict.fromkeys(self.new, frozenset({-1}))
        cuts: list[dict] = [{}, {atom: source for atom, source in new.items() if atom not in given}, new]
        over_all, besides_computed, besides = (
            jax.tree.unflatten(self.treedef, walk(self.closed.jaxpr, sources, cut)[self.count :]) for cut in cuts
        )
        return over_all, besides_computed, besides

    def rest(self, new: Sequence[Any], *arguments: Any) -> Any:
        """`rest` with the new state set to `new`, and the arguments as given."""
        jaxpr = self.closed.jaxpr
        values = dict(zip(jaxpr.constvars, self.closed.consts, strict=True))
        values |= dict(zip(jaxpr.invars, jax.tree.leaves(arguments), strict=True))
        values |= {atom: new[i] for atom, i in self.new.items()}

        def look_up(atom: Any) -> Any:
            return atom.val if isinstance(atom, Literal) else values[atom]

        for equation in jaxpr.eqns:
            parameters = equation.primitive.get_bind_params(equation.params)
            found = equation.primitive.bind(*map(look_up, equation.invars), **parameters)
            for atom, value in zip(
                equation.outvars, found if equation.primitive.multiple_results else [found], strict=True
            ):
                values.setdefault(atom, value)
        return jax.tree.unflatten(self.treedef, [look_up(atom) for atom in jaxpr.outvars[self.count :]])
