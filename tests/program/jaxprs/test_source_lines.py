"""The user's own lines of operations and sample statements; and whether JAX still writes them where they are looked for."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

from ppl_worldmodel.program.jaxprs.source_lines import Line, inner_jaxprs, library_call, where
from ppl_worldmodel.program.sites import run_step

CHANGED = "JAX's inner interface for source lines has changed (see ppl_worldmodel/program/jaxprs/source_lines.py): "


def chain(function: Callable, primitive: str, *arguments: Any) -> list[Any]:
    """The first equation of that primitive in the function's jaxpr, after the calls that it is inside of."""

    def search(jaxpr: Any) -> list[Any]:
        for equation in jaxpr.eqns:
            if equation.primitive.name == primitive:
                return [equation]
            for inner in inner_jaxprs(equation):
                if found := search(inner):
                    return [equation, *found]
        return []

    found = search(jax.make_jaxpr(function)(*arguments).jaxpr)
    assert found, f"no {primitive} in this function"
    return found


def line_with(mark: str) -> int:
    """The number of the line of this file that ends in a comment."""
    lines = inspect.getsource(inspect.getmodule(line_with) or line_with).splitlines()
    return 1 + next(i for i, line in enumerate(lines) if line.endswith(f"# {mark}"))


def first(x: Any) -> Any:
    return jnp.clip(x, 0.0, 1.0)


def second(x: Any) -> Any:
    return 2.0 * jnp.clip(x, 0.0, 1.0)  # second clip


@jax.jit
def own(x: Any) -> Any:
    return jnp.abs(x) + 1.0  # in a function of one's own


def looped(x: Any) -> Any:
    def body(carry: Any, _: Any) -> Any:
        return jnp.sin(carry), None  # in a loop

    return jax.lax.scan(body, x, None, length=2)[0]


def branching(x: Any) -> Any:
    return jax.lax.cond(
        True,
        lambda x: x,
        lambda x: jnp.exp(x),  # in a branch
        x,
    )


def test_the_line_of_an_operation() -> None:
    found = where(*chain(lambda x: own(x), "abs", 1.0))
    assert found is not None
    assert found.number == line_with("in a function of one's own")
    assert str(found) == (
        f"test_source_lines.py:{found.number} (`return jnp.abs(x) + 1.0  # in a function of one's own`)"
    )


def test_what_a_library_compiled_for_another_line_is_found_on_this_one() -> None:
    """JAX keeps the jaxpr of jnp.clip from its first use, with the line of that."""
    chain(first, "min", 1.0)
    equations = chain(second, "min", 1.0)
    assert where(*equations) == where(*chain(second, "max", 1.0))
    found = where(*equations)
    assert found is not None
    assert found.number == line_with("second clip")
    assert library_call(*equations) == "clip"
    assert library_call(*chain(own, "abs", 1.0)) is None


def test_loops_branches_and_transformed_functions() -> None:
    for function, primitive, mark in (
        (looped, "sin", "in a loop"),
        (branching, "exp", "in a branch"),
        (jax.checkpoint(lambda x: own(x)), "abs", "in a function of one's own"),
        (jax.vmap(own), "abs", "in a function of one's own"),
    ):
        found = where(*chain(function, primitive, jnp.ones(2)))
        assert found is not None
        assert found.number == line_with(mark)


def test_the_line_of_a_sample_statement() -> None:
    def model() -> None:
        x = numpyro.sample("x", dist.Normal(0.0, 1.0))  # the site
        with numpyro.plate("two", 2):
            numpyro.factor("f", -x)  # the factor

    for site, mark in zip(
        run_step(lambda *_: (model(), None), None, None, {})[2], ("the site", "the factor"), strict=True
    ):
        assert site.line is not None
        assert site.line.number == line_with(mark)


def test_long_lines_are_cut_and_unknown_ones_have_no_text() -> None:
    assert str(Line("/a/b.py", 3, "")) == "b.py:3"
    assert str(Line("/a/b.py", 3, 200 * "x")) == f"b.py:3 (`{100 * 'x'} ...`)"


def test_jax_still_writes_lines_where_they_are_looked_for() -> None:
    equation = chain(second, "mul", 1.0)[-1]
    frames = equation.source_info.traceback.frames
    assert all(hasattr(frames[0], name) for name in ("file_name", "line_num")), CHANGED + "the fields of a frame"
    numbers = [frame.line_num for frame in frames if frame.file_name == __file__]
    assert numbers[0] == line_with("second clip"), CHANGED + "frames were innermost first"
    (call,) = (equation for equation in jax.make_jaxpr(lambda x: own(x))(1.0).jaxpr.eqns)
    info = call.params["jaxpr"].jaxpr.debug_info
    assert info.func_filename == __file__, CHANGED + "debug_info named the file of a called function"
    assert info.func_src_info.startswith("own at "), CHANGED + "debug_info named a called function"
