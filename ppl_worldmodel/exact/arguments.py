"""Validation of what a verb is given: a system of its own family, whose probabilities sum to one."""

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

import jax
import numpy as np

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.exact.system import FiniteState, LinearGaussian

# Rows of float32 programs and of files with few digits still sum to one.
ROUNDING = 1e-5
MODULES: dict[type, str] = {FiniteState: "finite", LinearGaussian: "gaussian"}


def takes[Verb: Callable](family: type) -> Callable[[Verb], Verb]:
    """A decorator of a function whose first argument is a system of `family`; anything else is refused before it is compiled."""

    def decorate(verb: Verb) -> Verb:
        @wraps(verb)
        def asked(system: Any, *arguments: Any, **settings: Any) -> Any:
            check_system(system, family, verb.__name__)
            return verb(system, *arguments, **settings)

        return cast(Verb, asked)

    return decorate


def check_system(system: Any, family: type, verb: str) -> None:
    """Raise DataError where `system` is not of the family, or, at concrete numbers, no distribution."""
    if isinstance(system, family):
        if isinstance(system, FiniteState):
            _check_distributions(system)
        return
    module, given = MODULES[family], type(system)
    remedy = "read(model, data).system is one"
    if given in MODULES:
        remedy = f"use {MODULES[given]}.{verb}, or exact.families.verbs(system).{verb}, which takes either"
    elif hasattr(system, "system"):
        remedy = f"give its system, {module}.{verb}(reading.system)"
    raise DataError(f"{module}.{verb} takes a {family.__name__}, given was a {given.__name__}: {remedy}")


def _check_distributions(system: FiniteState) -> None:
    """Raise DataError where the first state or a row of the transition is no distribution; values inside a trace are not known."""
    for name in ("initial", "transition"):
        value = getattr(system, name)
        if isinstance(value, jax.core.Tracer):
            continue
        probability = np.asarray(value)
        total = probability.sum(axis=-1)
        wrong = ~(np.abs(total - 1.0) <= ROUNDING) | (probability < 0.0).any(axis=-1)  # NaN is wrong, too
        if wrong.any():
            at = np.unravel_index(int(wrong.argmax()), wrong.shape)
            row = f"{name}{list(map(int, at))}" if at else name
            raise DataError(
                f"{row} is no distribution: its entries {np.array2string(probability[at], threshold=8)} sum to {total[at]:.6g}; "
                "each must be at least zero, and together they must be one (rows of a transition are old states)"
            )
