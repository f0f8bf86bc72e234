"""Parameters of a program: found, described, checked, and set to given values.

Parameters are the sites sampled before the scan, the initial state aside.
"""

import difflib
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution

from ppl_worldmodel.errors import DataError
from ppl_worldmodel.program.numpyro_internals import Messenger
from ppl_worldmodel.program.sites import Sample, kind, random_value


class Parameter(NamedTuple):
    """A parameter site: its shape, the name of its distribution, and its support in words."""

    shape: tuple[int, ...]
    kind: str
    support: str


class _Given(Messenger):
    """Set parameter sites to given values and hide them from the handlers outside: they are constants now."""

    def __init__(self, fn: Callable | None, values: Mapping[str, Any]):
        super().__init__(fn)
        self.values = values

    def process_message(self, msg):
        if msg["type"] == "sample" and msg["name"] in self.values and not msg["is_observed"]:
            msg["value"] = jnp.asarray(self.values[msg["name"]])
            msg["stop"] = True


def given(model: Callable, parameters: Mapping[str, Any]) -> Callable:
    """The program at fixed values of (some of) its parameters: their sites are gone, and so is their prior density."""

    def fixed(*args, **kwargs):
        with _Given(None, parameters):
            return model(*args, **kwargs)

    return fixed


class Collect(Messenger):
    """Give parameter sites the values asked for (or random ones inside their support) and write them down.

    `skip` names the sites of the initial state. `inside` says of each parameter whether it lies in its support. `draw` makes the
    random values from a distribution and a key. `computed` are the numpyro.deterministic sites that come of parameters alone;
    `held` are the names of numpyro.param statements.
    """

    def __init__(
        self,
        fn: Callable | None,
        parameters: Mapping[str, Any] | None,
        skip: set[str],
        key: jax.Array,
        draw: Callable[[Distribution, jax.Array], jax.Array] = random_value,
    ):
        super().__init__(fn)
        self.parameters, self.skip, self.key, self.draw = parameters, skip, key, draw
        self.found: dict[str, Sample] = {}
        self.inside: dict[str, jax.Array] = {}
        self.computed: dict[str, Any] = {}
        self.held: list[str] = []

    def process_message(self, msg):
        if msg["type"] == "deterministic":
            self.computed[msg["name"]] = msg["value"]
        if msg["type"] == "param":
            self.held.append(msg["name"])
        if msg["type"] != "sample" or msg["value"] is not None or msg["name"] in self.skip:
            return
        name, fn = msg["name"], msg["fn"]
        if self.parameters is None:
            self.key, key = jax.random.split(self.key)
            msg["value"] = self.draw(fn, key)
        elif name in self.parameters:
            msg["value"] = _checked(name, self.parameters[name], fn)
        else:
            raise DataError(
                f"parameter '{name}' {fn.shape()} is missing from the given parameters {sorted(self.parameters)}: add it"
            )
        self.inside[name] = jnp.asarray(row_support(fn)(msg["value"]))
        self.found[name] = Sample(name, fn, msg["value"], False, msg["scale"])


def row_support(fn: Distribution) -> Any:
    """The support of one row (or entry) of a site, so that the row that is wrong can be named."""
    constraint = fn.support
    while hasattr(constraint, "base_constraint"):
        constraint = constraint.base_constraint
    return constraint


def check_names(parameters: Mapping[str, Any], known: Mapping[str, Sample], computed: Collection[str] = ()) -> None:
    """Raise DataError if a parameter was given that the program does not have; what it computes itself may be among them."""
    for name in parameters:
        if name not in known and name not in computed:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"its parameters are {sorted(known)}"
            raise DataError(f"the program has no parameter '{name}': {hint}")


def described(collect: Collect) -> dict[str, Parameter]:
    """The parameters that were met, in their order."""

    def support(fn: Distribution) -> str:
        name = type(row_support(fn)).__name__.strip("_")
        return "non-negative numbers that sum to one" if name == "Simplex" else f"a value of the kind {name}"

    return {name: Parameter(site.fn.shape(), kind(site.fn), support(site.fn)) for name, site in collect.found.items()}


def check_inside(
    parameters: Mapping[str, Any], inside: Mapping[str, jax.Array], found: Mapping[str, Parameter]
) -> None:
    """Raise DataError at the first parameter that lies outside its support, with the offending row and its sum."""
    for name, value in parameters.items():
        if name not in inside:  # a site that is computed from the others
            continue
        flags = np.asarray(inside[name])
        if not flags.all():
            at = tuple(int(i) for i in np.argwhere(~np.atleast_1d(flags))[0]) if flags.ndim else ()
            entry = np.asarray(value)[at]
            total = f", which sums to {entry.sum():.6g}" if entry.ndim else ""
            where = f" at row {list(at)}" if at else ""
            raise DataError(f"parameter '{name}'{where} is {entry}{total}: expected {found[name].support}")


def _checked(name: str, value: Any, fn: Any) -> jax.Array:
    """The value as an array, or DataError if its type or shape is not the site's."""
    array = jnp.asarray(value)
    if array.shape != fn.shape():
        raise DataError(f"parameter '{name}' has shape {array.shape}, expected {fn.shape()}: reshape it")
    return array
