"""Operations of which most are nonlinear, and what each may stand inside of: calls, branches and loops of JAX."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def absolute(v: Any, w: Any) -> Any:
    return jnp.abs(v)


def larger(v: Any, w: Any) -> Any:
    return jnp.maximum(v, w)


def saturating(v: Any, w: Any) -> Any:
    return jnp.minimum(v, 40.0)


def clipped(v: Any, w: Any) -> Any:
    return jnp.clip(v, -30.0, 30.0)


def rectified(v: Any, w: Any) -> Any:
    return jax.nn.relu(v)


def leaky(v: Any, w: Any) -> Any:
    return jax.nn.leaky_relu(v)


def square(v: Any, w: Any) -> Any:
    return v**2


def product(v: Any, w: Any) -> Any:
    return v * w


def sine(v: Any, w: Any) -> Any:
    return jnp.sin(v)


def exponential(v: Any, w: Any) -> Any:
    return jnp.exp(0.1 * v)


def hyperbolic(v: Any, w: Any) -> Any:
    return jnp.tanh(v)


def floored(v: Any, w: Any) -> Any:
    return jnp.floor(v)


def threshold(v: Any, w: Any) -> Any:
    return jnp.where(v > 0.0, v, 0.3 * v)


def ordered(v: Any, w: Any) -> Any:
    return jnp.sort(jnp.stack([v, w]))[0]


def length(v: Any, w: Any) -> Any:
    return jnp.linalg.norm(jnp.stack([v, w]))


def quotient(v: Any, w: Any) -> Any:
    return w / (v + 50.0)


def whole(v: Any, w: Any) -> Any:
    return 1.0 * (2.0 * v).astype(int)


def looked_up(v: Any, w: Any) -> Any:
    return jnp.array([0.5, -0.5, 1.5])[jnp.asarray(v, int) % 3]


def stopped(v: Any, w: Any) -> Any:
    return lax.stop_gradient(v)


def linear(v: Any, w: Any) -> Any:
    return 0.4 * v + 0.2 * w


class Operation(NamedTuple):
    """The function, the same on numbers, and what a refusal may call it."""

    function: Callable
    on_numbers: Callable[[float, float], float]
    names: tuple[str, ...]


OPERATIONS = (
    Operation(absolute, lambda v, w: abs(v), ("abs",)),
    Operation(larger, max, ("max",)),
    Operation(saturating, lambda v, w: min(v, 40.0), ("min",)),
    Operation(clipped, lambda v, w: min(max(v, -30.0), 30.0), ("clip",)),
    Operation(rectified, lambda v, w: max(v, 0.0), ("relu",)),
    Operation(leaky, lambda v, w: v if v > 0 else 0.01 * v, ("leaky_relu",)),
    Operation(square, lambda v, w: v**2, ("integer_pow", "square")),
    Operation(product, lambda v, w: v * w, ("mul",)),
    Operation(sine, lambda v, w: np.sin(v), ("sin",)),
    Operation(exponential, lambda v, w: np.exp(0.1 * v), ("exp",)),
    Operation(hyperbolic, lambda v, w: np.tanh(v), ("tanh",)),
    Operation(floored, lambda v, w: np.floor(v), ("floor",)),
    Operation(threshold, lambda v, w: v if v > 0 else 0.3 * v, ("comparison",)),
    Operation(ordered, min, ("sort",)),
    Operation(length, np.hypot, ("norm",)),
    Operation(quotient, lambda v, w: w / (v + 50.0), ("div",)),
    Operation(whole, lambda v, w: float(int(2.0 * v)), ("convert_element_type",)),
    Operation(looked_up, lambda v, w: [0.5, -0.5, 1.5][int(v) % 3], ("convert_element_type",)),
    Operation(stopped, lambda v, w: v, ("stop_gradient",)),
    Operation(linear, lambda v, w: 0.4 * v + 0.2 * w, ()),
)  # fmt: skip


def _plain(h: Callable) -> Callable:
    return h


def _jitted(h: Callable) -> Callable:
    return jax.jit(jax.jit(h))


def _branch(h: Callable) -> Callable:
    return lambda v, w: lax.cond(True, h, lambda v, w: 0.5 * v, v, w)


def _branch_of_data(h: Callable) -> Callable:
    table = jnp.array([1, 0])
    return lambda v, w: lax.switch(table[0], [lambda v, w: 0.5 * v, h], v, w)


def _looped(h: Callable) -> Callable:
    return lambda v, w: lax.scan(lambda c, _: (h(c, w), None), v, None, length=2)[0]


def _while(h: Callable) -> Callable:
    def run(v: Any, w: Any) -> Any:
        return lax.while_loop(lambda s: s[0] < 2, lambda s: (s[0] + 1, h(s[1], w)), (0, v))[1]

    return run


def _mapped(h: Callable) -> Callable:
    return lambda v, w: jax.vmap(h)(jnp.stack([v, w]), jnp.stack([w, v]))[0]


def _checkpointed(h: Callable) -> Callable:
    return jax.checkpoint(h)


def _with_own_rule(h: Callable) -> Callable:
    ruled = jax.custom_jvp(h)
    ruled.defjvp(lambda primals, tangents: (ruled(*primals), 0.5 * tangents[0]))
    return ruled


# {name: (what makes a function stand inside of something, how often it is applied)}
INSIDE: dict[str, tuple[Callable, int]] = {
    "nothing": (_plain, 1),
    "jit": (_jitted, 1),
    "cond": (_branch, 1),
    "switch": (_branch_of_data, 1),
    "scan": (_looped, 2),
    "while": (_while, 2),
    "vmap": (_mapped, 1),
    "checkpoint": (_checkpointed, 1),
    "custom_jvp": (_with_own_rule, 1),
}
