"""What random programs of either kind have in common: what they are made of, what they carry, what is missing."""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers

CARRIES = ("tuple", "list", "dict", "nested")
GAPS = ("none", "NaN", "mask", "obs_mask", "ended")


class Program(NamedTuple):
    """A program, and what is known about it from how it was written.

    The program returns the leaves of its state, in the order of its carry, of the new and then of the old carry:
    (new, old), each with a leading axis time.

    latents    {name: support} of the discrete sites that are summed over; the names of the Gaussian ones
    sequences  the size of its plate of sequences; 0: it has none
    sees_old   is what is seen in a step computed from the old state alone?
    integers   names of the data that are floats for their NaN only
    alone      does everything that is seen belong to one sequence (or are there none)?
    """

    model: Callable
    data: dict[str, Any]
    parameters: dict[str, np.ndarray]
    priors: dict[str, dist.Distribution]
    latents: Any
    sequences: int
    sees_old: bool
    integers: tuple[str, ...] = ()
    alone: bool = True

    def log_prior(self) -> float:
        """Log density of the parameters, nats."""
        return sum(float(self.priors[name].log_prob(value).sum()) for name, value in self.parameters.items())


class Carry(NamedTuple):
    """A carry: `state` names the leaves that are the state, `along` those that merely run along."""

    kind: str
    state: tuple[str, ...]
    along: tuple[str, ...]

    def pack(self, values: dict[str, Any]) -> Any:
        """The carry with these values; what runs along comes before, between or after the state."""
        names = [*self.along, *self.state] if self.kind in ("list", "nested") else [*self.state, *self.along]
        if self.kind == "tuple":
            return tuple(values[name] for name in names)
        if self.kind == "list":
            return [values[name] for name in names]
        if self.kind == "dict":
            return {name: values[name] for name in names}
        return {"then": {name: values[name] for name in self.state}, "now": tuple(values[name] for name in self.along)}

    def unpack(self, carry: Any) -> dict[str, Any]:
        names = jax.tree.leaves(self.pack({name: name for name in (*self.state, *self.along)}))
        return dict(zip(names, jax.tree.leaves(carry), strict=True))

    def states(self, values: dict[str, Any]) -> tuple[Any, ...]:
        """The leaves of the state, in the order in which the carry has them."""
        names = jax.tree.leaves(self.pack({name: name for name in (*self.state, *self.along)}))
        return tuple(values[name] for name in names if name in self.state)


def plate(sequences: int) -> Any:
    """A plate of sequences, if there are several."""
    return numpyro.plate("series", sequences) if sequences else contextlib.nullcontext()


def masked(mask: Any, where: bool) -> Any:
    """Everything inside is masked, if that is how this program leaves things out."""
    return handlers.mask(mask=mask) if where else contextlib.nullcontext()


def present(rng: np.random.Generator, gaps: str, steps: int, *batch: int) -> np.ndarray:
    """What is seen, (time, *batch): one step is missing, another one in each sequence; or, `ended`, the last of the first one."""
    seen = np.ones((steps, *batch), bool)
    if gaps == "ended":
        seen[(-1, *(0,) * len(batch))] = False
        return seen
    columns = seen.reshape(steps, -1)
    columns[rng.integers(steps - 1, size=columns.shape[1]), np.arange(columns.shape[1])] = False
    return seen


def tidy(shape: Any) -> str:
    """A shape with one choice in each line."""
    return "\n".join(f"    {name} = {value!r}" for name, value in shape._asdict().items())


def spread(value: Any, sequences: int) -> Any:
    """One value for each sequence."""
    return jnp.full((sequences,) if sequences else (), value)


def numbers(sequences: int) -> Any:
    """0, 1, ... for the sequences, so that each can start elsewhere."""
    return jnp.arange(sequences) if sequences else 0


def pick(rng: np.random.Generator, low: float, high: float, *shape: int) -> np.ndarray:
    return rng.uniform(low, high, size=shape)
