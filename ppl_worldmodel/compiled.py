"""Compilation of functions that are run a few times only: optimising those takes longer than it saves.

Outside of `jax.jit` a program's run would be worse still: JAX compiles each of its hundreds of operations for itself.
"""

from collections.abc import Callable
from typing import Any

import jax


def quickly[T](function: Callable[..., T], *example: Any) -> Callable[..., T]:
    """The function, compiled without optimisation for arguments of the shapes of `example`."""
    return jax.jit(function).lower(*example).compile({"xla_backend_optimization_level": 0})


def run_once[T](function: Callable[..., T], *arguments: Any) -> T:
    """What the function returns, compiled without optimisation."""
    return quickly(function, *arguments)(*arguments)
