"""Arguments of a program and random keys, checked at the border: the same messages from Python and from the command."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax

from ppl_worldmodel.errors import DataError


def check_call(model: Any, data: Any) -> None:
    """Raise DataError unless `model` is a program and `data` the dict of its keyword arguments."""
    if not callable(model):
        raise DataError(
            f"expected a NumPyro program (a function), given was a {type(model).__name__}: of a loaded model file it is `.model`"
        )
    if not isinstance(data, Mapping):
        raise DataError(
            f"the data are a {type(data).__name__}: expected a dict of the program's keyword arguments, such as "
            f"{{{', '.join(f'"{name}": ...' for name in inspect.signature(model).parameters) or '...'}}}"
        )
    check_arguments(model, data)


def check_arguments(model: Callable, data: Mapping[str, Any], *, remedy: str = "give it") -> None:
    """Raise DataError unless the program can be called with these keyword arguments; `remedy` says how to give what is missing."""
    signature = inspect.signature(model)
    missing = [name for name in required(model) if name not in data]
    if missing:
        name = missing[0]
        raise DataError(
            f"the program needs a value for its argument '{name}', which has no default: {remedy.replace('NAME', name)} "
            f"(it was given {', '.join(data) or 'nothing'})"
        )
    try:
        signature.bind(**data)
    except TypeError as error:
        takes, wrong = list(signature.parameters), [name for name in data if name not in signature.parameters]
        close = difflib.get_close_matches(wrong[0], takes, n=1) if wrong else []
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise DataError(
            f"the program cannot be called with {sorted(data)}: {error}; it takes {', '.join(takes)}{hint}"
        ) from error


def required(model: Callable) -> list[str]:
    """The names of the program's arguments that have no default."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(model).parameters.items()
    return [name for name, one in parameters if one.default is inspect.Parameter.empty and one.kind in named]


def random_key(key: Any) -> jax.Array:
    """A JAX random key, from a whole number or as it is. Raises DataError for anything else."""
    if isinstance(key, int) and not isinstance(key, bool):
        return jax.random.key(key)
    if isinstance(key, jax.Array) and (jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key) or key.shape == (2,)):
        return key
    raise DataError(f"the key is {key!r}: expected a whole number or a JAX random key, such as jax.random.key(0)")
