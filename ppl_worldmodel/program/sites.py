"""Sample sites of a step, and the scan around it, as the messages of NumPyro's handlers have them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import handlers
from numpyro.distributions import (
    Delta,
    Distribution,
    ExpandedDistribution,
    Independent,
    MaskedDistribution,
    Unit,
    biject_to,
)

from ppl_worldmodel.errors import DataError, NotExactlySolvable
from ppl_worldmodel.program.jaxprs.source_lines import Line, here
from ppl_worldmodel.program.numpyro_internals import (
    Messenger,
    is_scan,
    scan_arguments,
    validation_enabled,
    values_from_handlers,
)

_NUMBERS = (jax.Array, np.ndarray, np.generic, int, float, complex)


class Sample(NamedTuple):
    """One sample statement as it was met: its distribution, value, whether that was observed, its plates, the user's line."""

    name: str
    fn: Distribution
    value: Any
    observed: bool
    scale: Any
    plates: tuple[tuple[int, int], ...] = ()  # (dim, size) of each plate around it
    line: Line | None = None


class Scan(NamedTuple):
    """The loop of a program over time: step(carry, inputs[t]) -> (carry, output), from `init`."""

    step: Callable
    init: Any
    inputs: Any
    length: int


def check_statement(msg: dict, *, inside: bool = False) -> None:
    """Raise NotExactlySolvable for a statement that would be read as something that it is not; `inside`: of the step."""
    name, place = msg.get("name"), "the step" if inside else "the program"
    if name is not None and not isinstance(name, str):
        raise DataError(f"a numpyro.{msg['type']} in {place} is named {name!r}: expected text")
    if msg["type"] == "plate" and msg["args"][1] not in (None, msg["args"][0]):
        size, chosen = msg["args"]
        raise NotExactlySolvable(
            f"the plate '{name}' takes a random {chosen} of its {size} (subsample_size): a part of the data has no exact answer "
            "for the whole; leave subsample_size out",
            "none of ours: NumPyro's SVI takes parts of the data as they are meant",
        )
    if msg["type"] == "prng_key":
        raise NotExactlySolvable(
            f"{place} draws a random key of its own (numpyro.prng_key, or a site that handlers.block hides): what is random must "
            "be a numpyro.sample site in the open"
        )
    if inside and msg["type"] == "control_flow":
        raise NotExactlySolvable("a scan or cond inside the scanned step cannot be read")
    if inside and msg["type"] in ("param", "mutable"):
        raise NotExactlySolvable(f"'{name}' is a numpyro.{msg['type']} inside the step: put it before the scan")


def met(msg: dict, value: Any) -> Sample:
    """The sample statement in a message of NumPyro's, with the value that it gets."""
    plates = tuple((frame.dim, frame.size) for frame in msg["cond_indep_stack"])
    fn = _fitting(msg["name"], msg["fn"], value) if msg["is_observed"] else msg["fn"]
    return Sample(msg["name"], fn, value, msg["is_observed"], msg["scale"], plates, here())


def _fitting(name: str, fn: Distribution, value: Any) -> Distribution:
    """The distribution, expanded to an observed value of more entries: as many observations of one mean."""
    if isinstance(fn, Unit):
        return fn
    if not isinstance(value, jax.Array) and np.asarray(value).dtype.kind not in "biuf":
        raise DataError(f"site '{name}' is observed as {repr(value)[:60]}: expected numbers")
    shape, expected = jnp.shape(value), fn.shape()
    try:
        together = jnp.broadcast_shapes(shape, expected)
    except ValueError as error:
        raise DataError(
            f"the observation of site '{name}' has shape {shape}, and its distribution {expected}: make them fit"
        ) from error
    batch = together[: len(together) - fn.event_dim]
    return fn if batch == fn.batch_shape else fn.expand(batch)


def placeholder(fn: Distribution) -> jax.Array:
    """Some value in the support of a distribution, as a fresh array (so that it can be recognised by identity)."""
    if is_delta(fn):
        return jnp.array(fn.mean, copy=True)
    try:
        dtype = jnp.int_ if fn.support.is_discrete else jnp.float_
        return jnp.array(fn.support.feasible_like(jnp.zeros(fn.shape(), dtype)), dtype)
    except (AssertionError, TypeError) as error:  # NumPyro's and JAX's own, which do not say what of
        raise DataError(
            f"a {kind(fn)} of shape {fn.shape()} has no value as it is written: "
            "look at its shape and its event dimensions (expand, to_event)"
        ) from error


def random_value(fn: Distribution, key: jax.Array) -> jax.Array:
    """A value drawn inside the support of a distribution, whether or not the distribution itself can be sampled."""
    if fn.support.is_discrete:
        return fn.sample(key)
    transform = biject_to(fn.support)
    return transform(jax.random.uniform(key, transform.inverse_shape(fn.shape()), minval=-1.0, maxval=1.0))


def bare(fn: Distribution) -> Distribution:
    """A distribution without the masks, batches and event dimensions around it."""
    while isinstance(fn, (MaskedDistribution, Independent, ExpandedDistribution)):
        fn = fn.base_dist
    return fn


def kind(fn: Any) -> str:
    """The family of a distribution, masks and batches aside, as its user wrote it."""
    return type(bare(fn)).__name__.removesuffix("Probs").removesuffix("Logits")


def is_delta(fn: Distribution) -> bool:
    """Is this a point mass?"""
    return isinstance(bare(fn), Delta)


class _Record(Messenger):
    """Give the latent sites their values from `values`, or a placeholder, and write down every sample statement."""

    def __init__(self, values: Mapping[str, Any], sites: list[Sample]):
        super().__init__()
        self.values, self.sites = values, sites
        self.names: set[str] = set()

    def process_message(self, msg):
        check_statement(msg, inside=True)
        if msg["type"] == "sample":
            if msg["name"] in self.names:
                raise DataError(f"two sites of the step are named '{msg['name']}': give each a name of its own")
            self.names.add(msg["name"])
            if msg["value"] is None and is_delta(msg["fn"]):
                msg["value"] = msg["fn"].mean  # nothing is drawn: its value is computed
                return
            if msg["value"] is None:
                name = msg["name"]
                msg["value"] = self.values[name] if name in self.values else placeholder(msg["fn"])
            self.sites.append(met(msg, msg["value"]))


def run_step(
    step: Callable, carry: Any, inputs: Any, values: Mapping[str, Any], *, validate: bool = False
) -> tuple[Any, Any, list[Sample]]:
    """One step with its latent sites set to `values`: the new carry, the output, and the sample statements in order.

    A step is run many times while it is read; NumPyro's checks of the distributions' arguments need only be traced once.
    """
    sites: list[Sample] = []
    with handlers.block(), handlers.seed(rng_seed=0), _Record(values, sites), validation_enabled(validate):
        returned = _called(step, carry, inputs)
    if not isinstance(returned, (tuple, list)) or len(returned) != 2:
        raise DataError(
            f"the step of the scan returns {_described(returned)}: a step returns two things, the new carry and an output (or None)"
        )
    after, output = returned
    for what, part in (("new carry", after), ("output", output)):
        strange = [leaf for leaf in jax.tree.leaves(part) if not isinstance(leaf, _NUMBERS)]
        if strange:
            raise DataError(
                f"the step of the scan returns {repr(strange[0])[:60]} as a part of its {what}: expected numbers"
            )
    old, new = jax.tree.structure(carry), jax.tree.structure(after)
    if str(new) != str(old):
        raise DataError(
            f"the step of the scan returns a carry of structure {new}, but was given {old}: return the same"
        )
    for (path, before), leaf in zip(jax.tree.leaves_with_path(carry), jax.tree.leaves(after), strict=True):
        if not _fits(jnp.shape(leaf), jnp.shape(before)):
            raise DataError(
                f"the step of the scan returns a carry of shape {jnp.shape(leaf)} at '{jax.tree_util.keystr(path)}', but was "
                f"given {jnp.shape(before)}: return the same"
            )
    return after, output, sites


def _called(step: Callable, carry: Any, inputs: Any) -> Any:
    """What the step returns; a TypeError of the call itself, and not of anything inside of the step, is told in words."""
    try:
        return step(carry, inputs)
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            raise DataError(
                f"the step of the scan cannot be called with its two arguments, the carry and the inputs of a time step: {error}"
            ) from error
        raise


def _described(returned: Any) -> str:
    several = isinstance(returned, (tuple, list))
    return f"{len(returned)} things" if several else f"one thing, {type(returned).__name__}"


def _is_whole(length: Any) -> bool:
    try:
        return not np.ndim(length) and float(length).is_integer()
    except (TypeError, ValueError):
        return False


def _fits(shape: tuple[int, ...], into: tuple[int, ...]) -> bool:
    return len(shape) <= len(into) and all(n in (1, m) for n, m in zip(shape[::-1], into[::-1], strict=False))


def scan_of(msg: dict) -> Scan:
    """The scan in a control_flow message, with the values that inner handlers (condition, substitute) give to its sites."""
    if not is_scan(msg):
        raise NotExactlySolvable(
            "the program branches with numpyro's cond, which cannot be read: use jnp.where inside the step"
        )
    step, init, inputs, length, reverse = scan_arguments(msg)
    if not callable(step):
        raise DataError(
            f"the first argument of scan is a {type(step).__name__}: expected the step, a function of carry and inputs"
        )
    if not isinstance(reverse, bool | int | np.bool_):
        raise DataError(f"the argument `reverse` of scan is a {type(reverse).__name__}: expected True or False")
    if reverse:
        raise NotExactlySolvable("the scan runs backwards (reverse=True), which cannot be read: scan forwards")
    if length is not None and not _is_whole(length):
        raise DataError(f"the argument `length` of scan is {repr(length)[:60]}: expected a whole number of steps")
    if length is None:
        length = next((jnp.shape(leaf)[0] for leaf in jax.tree.leaves(inputs) if jnp.shape(leaf)), None)
    for leaf in jax.tree.leaves(inputs):
        if jnp.shape(leaf)[:1] != (length,):
            along = f" of length {length}" if length else ""
            raise DataError(
                f"an input of the scan has shape {jnp.shape(leaf)}, expected a leading time axis{along}: "
                "give series of equal length. Where observations end before the covariates, the steps beyond are a forecast: fill "
                "the observations up with NaN, missing values (np.pad(y.astype(float), (0, steps), constant_values=np.nan))"
            )
    # Inside a real scan the step meets JAX arrays only, never the user's NumPy scalars.
    init, inputs = jax.tree.map(_as_array, (init, inputs))
    length = int(length or 0)
    if length < 1:
        raise DataError("the scan over time has no steps: give a series of at least one")
    for kind, values in values_from_handlers(msg):
        if callable(values):
            raise NotExactlySolvable(f"the handler '{kind}' around the program gives values by a function: give a dict")
        if kind not in ("condition", "substitute"):
            raise NotExactlySolvable(
                f"the handler '{kind}' around the program cannot be read: use condition or substitute"
            )
        step, inputs = _with_values(Scan(step, init, inputs, length), kind, values)
    return Scan(step, init, inputs, length)


def _as_array(leaf: Any) -> jax.Array:
    """The leaf itself if it is an array already, so that a site's value can be recognised by identity."""
    if isinstance(leaf, jax.Array):
        return leaf
    try:
        return jnp.asarray(leaf)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"the scan is given {repr(leaf)[:60]} as a part of its first carry or its inputs: expected numbers"
        ) from error


def _with_values(scan: Scan, kind: str, values: Mapping[str, Any]) -> tuple[Callable, Any]:
    """The step whose own sites have the values that a handler gives for all steps; the handler's other values are not for it."""
    handler = {"condition": handlers.condition, "substitute": handlers.substitute}[kind]
    first = jax.tree.map(lambda leaf: leaf[0], scan.inputs)
    names = {site.name for site in run_step(scan.step, scan.init, first, {})[2]}
    series = {name: jnp.asarray(value) for name, value in values.items() if name in names}
    for name, value in series.items():
        if value.shape[:1] != (scan.length,):
            raise DataError(
                f"the values given for site '{name}' have shape {value.shape}, expected a leading time axis of length {scan.length}"
            )

    def step_with_values(carry, inputs_and_values):
        inputs, values = inputs_and_values
        return handler(scan.step, data=values)(carry, inputs)

    return step_with_values, (scan.inputs, series)
