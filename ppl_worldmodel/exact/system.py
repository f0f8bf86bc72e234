"""Exactly solvable systems as arrays: hidden Markov models and linear-Gaussian state-space models, and their structure.

A system is what `ppl_worldmodel.read` finds in a program and what the functions of `exact.finite` and `exact.gaussian` take. It can
also be written down by hand: `FiniteState(initial, transition, log_likelihood)`.
"""

import math
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float

Order = Literal["transition first", "emission first", "both states"]
Form = Literal["covariance", "square root"]
Recursion = Literal["by size", "probabilities", "logarithms"]


@jax.tree_util.register_static
@dataclass(frozen=True)
class Structure:
    """What the arrays of a system mean. Hashable, no arrays: `jax.jit` and `jax.vmap` see no leaf in it.

    order    "transition first": a step draws the new state, which then emits (a POMDP); "emission first": the carried
             state emits, then moves (a textbook hidden Markov or state-space model); "both states": the emission depends
             on the carried and on the new state.
    varying  names of the arrays that have a leading axis `time`.
    states, initials, observed   names of the program's sites.
    sequences  how many independent series there are, along a leading axis of every array and every result; 0: one, no axis.
    factors  what a finite state consists of, if it was read off a program: names of the parts of the carry, and
    labels   their values, one row for each state (`exact.marginals.marginal` gives the belief about one of them).
    extra    how many of a Gaussian state's last coordinates are there only because an observation depends on them.
    form     how a Gaussian belief is carried inside a trace of JAX: by its covariance, or, where that would lose digits, by a
             square root of it in double-double arithmetic (several times slower). With concrete numbers the functions choose.
    recursion  how a finite belief is carried: in "probabilities", with logarithms where those would lose digits; in "logarithms"
             only; or "by size": the first for large systems, the second for small ones, where compiling both would not pay.
    about    lines (label, text) for people, printed by the system's repr; no part of what JAX compiles for.
    """

    order: Order = "transition first"
    varying: frozenset[str] = frozenset()
    states: tuple[str, ...] = ()
    initials: tuple[str, ...] = ()
    observed: tuple[str, ...] = ()
    sequences: int = 0
    factors: tuple[str, ...] = ()
    labels: tuple[tuple[float | int, ...], ...] = ()
    extra: int = 0
    form: Form = "covariance"
    recursion: Recursion = "by size"
    about: tuple[tuple[str, str], ...] = field(
        default=(), compare=False
    )  # text: systems that differ in it compile once


@runtime_checkable
class System(Protocol):
    """What every family of systems says of itself; its verbs are in `exact.families.verbs(system)`.

    num_states  how many values the state has; None: it is a vector, of dim_x entries
    steps       time steps; entries: numbers in the states of the whole series, of all sequences
    proper      has the first state a density?
    """

    @property
    def structure(self) -> Structure: ...

    @property
    def num_states(self) -> int | None: ...

    @property
    def dim_x(self) -> int | None: ...

    @property
    def steps(self) -> int: ...

    @property
    def entries(self) -> int: ...

    @property
    def proper(self) -> bool: ...


class FiniteState(NamedTuple):
    """A system with finitely many states: s_t in 0 ... K-1.

    initial         p(s) of the state that is carried into the first step
    transition      p(s' | s), rows sum to one; one matrix, or one per time step if "transition" is in structure.varying
    log_likelihood  log p(o_t | s_t); for the order "both states" log p(o_t | s, s') with axes (time, s, s')
    """

    initial: Float[Array, " state"]
    transition: Float[Array, "*time state state"]
    log_likelihood: Float[Array, "time *previous state"]
    structure: Structure = Structure()

    @property
    def num_states(self) -> int:
        return self.initial.shape[-1]

    @property
    def dim_x(self) -> None:
        """A finite state is no vector."""

    @property
    def steps(self) -> int:
        return self.log_likelihood.shape[1 if self.structure.sequences else 0]

    @property
    def proper(self) -> bool:
        """Has the first state a density?"""
        return True

    @property
    def entries(self) -> int:
        """How many numbers the states of the whole series are."""
        return math.prod(self.log_likelihood.shape[: 2 if self.structure.sequences else 1])

    def __repr__(self) -> str:
        kind = "driven by its inputs" if "transition" in self.structure.varying else "homogeneous"
        head = f"FiniteState: {self.num_states} states, {_length(self.steps, self.structure)}, {kind}"
        return _describe(head, self.structure)


class LinearGaussian(NamedTuple):
    """A linear-Gaussian state space: x' = A x + b + N(0, Q), y = C x + d + N(0, R); structure.order says which state emits y.

    observations has NaN where a component is missing. Arrays named in structure.varying have a leading axis `time`.
    diffuse      the first state is x_0 + diffuse @ delta, where delta has a flat density of one over all of R^directions
    log_factor   further terms of the log density of each step, which do not depend on the state (as from numpyro.factor)
    """

    initial_mean: Float[Array, " dim_x"]
    initial_covariance: Float[Array, "dim_x dim_x"]
    A: Float[Array, "*time dim_x dim_x"]
    b: Float[Array, "*time dim_x"]
    Q: Float[Array, "*time dim_x dim_x"]
    C: Float[Array, "*time dim_y dim_x"]
    d: Float[Array, "*time dim_y"]
    R: Float[Array, "*time dim_y dim_y"]
    observations: Float[Array, "time dim_y"]
    structure: Structure = Structure()
    diffuse: Float[Array, "dim_x directions"] | None = None
    log_factor: Float[Array, " time"] | None = None

    @property
    def num_states(self) -> None:
        """A vector has no number of values."""

    @property
    def steps(self) -> int:
        return self.observations.shape[-2]

    @property
    def proper(self) -> bool:
        """Has the first state a density? One whose density is flat has none."""
        return self.diffuse is None

    @property
    def dim_x(self) -> int:
        """The dimension of the state, without the coordinates that are there for an observation only."""
        return self.initial_mean.shape[-1] - self.structure.extra

    @property
    def entries(self) -> int:
        """How many numbers the states of the whole series are."""
        return math.prod(self.observations.shape[:-1]) * self.initial_mean.shape[-1]

    def __repr__(self) -> str:
        varying = ", ".join(sorted(self.structure.varying))
        kind = f"{varying} varying in time" if varying else "homogeneous"
        (steps, dim_y), dim_x = self.observations.shape[-2:], self.dim_x
        head = f"LinearGaussian: {dim_x} dimensions, {dim_y} observed, {_length(steps, self.structure)}, {kind}"
        return _describe(head, self.structure)


def _length(steps: int, structure: Structure) -> str:
    return f"{steps} steps of each of {structure.sequences} sequences" if structure.sequences else f"{steps} steps"


def _describe(head: str, structure: Structure) -> str:
    lines = (
        (
            "step",
            {
                "transition first": "transition, then emission",
                "emission first": "emission, then transition",
                "both states": "emission given the old and the new state",
            }[structure.order],
        ),
        *structure.about,
    )
    return "\n".join([head, *(f"  {label:<12} {text}" for label, text in lines)])
