"""Rank conditions for the identifiability of hidden Markov models and linear-Gaussian systems, at given parameters.

Finite states: if T has full rank and the emission densities of the states are linearly independent, then three consecutive
observations determine T and the emissions, up to the names of the states (Allman, Matias & Rhodes 2009, Annals of Statistics 37,
section 6; Hsu, Kakade & Zhang 2012, J. Computer and System Sciences 78, condition 1; for any emission density Gassiat, Cleynen &
Robin 2016, Statistics and Computing 26). The emissions are evaluated on the data: p(y_t | s = k) over the steps, each step and each
state scaled to one; for symbols that is O restricted to those that were seen. The conditions are sufficient; where they fail, the
program's parametrisation may still identify the parameters.

Gaussian states: if the whole state is observable (seen sooner or later) and controllable (moved by noise), then no smaller state
does the same, and the system is determined up to the coordinates of its state (Hannan & Deistler 1988, The Statistical Theory of
Linear Systems, chapter 2). The ranks are those of C, CA, CA^2, ... and of G, AG, A^2 G, ... with GG' = Q. They are found by adding
one power after the other to an orthonormal basis: powers of A themselves would be lost in rounding.
"""

from functools import singledispatch
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.linalg import orth

from ppl_worldmodel.exact import FiniteState, LinearGaussian, finite
from ppl_worldmodel.exact.system import System
from ppl_worldmodel.identifiability import gaussian_invariants, markov_invariants
from ppl_worldmodel.identifiability.eigenvalues import falling
from ppl_worldmodel.identifiability.fisher_information import RANK

NEARLY = 0.1  # of the largest singular value: below it the rank is full, but many data are needed to see it


class Fact(NamedTuple):
    """A number about a system, how large it has to be (NaN: any size will do), and what it means."""

    fact: str
    amount: float
    needed: float
    says: str

    @property
    def fails(self) -> bool:
        return self.amount < self.needed


@singledispatch
def facts(system: System) -> list[Fact]:
    """What is known of a system before anything is fitted; at the worst time step where matrices vary in time.

    Empty for a family without rank conditions of its own.
    """
    return []


@facts.register
def _of_chain(system: FiniteState) -> list[Fact]:
    states = system.initial.shape[-1]
    T = np.unique(np.asarray(system.transition).reshape(-1, states, states), axis=0)
    worst = min(T, key=lambda one: np.linalg.svd(one, compute_uv=False)[-1])
    found = [
        _rank("rank of T", worst.T, list(range(states)), "rows of T", "their probabilities are mixtures of each other"),
        _emissions(system),
    ]
    if not markov_invariants.undefined(system.structure):
        slowest = markov_invariants.invariants(system)
        persistence = float(np.max(np.asarray(slowest["persistence"])[..., :1], initial=0.0))
        steps = float(np.max(np.asarray(slowest["relaxation_time"])))
        found.append(Fact("spectral gap", 1.0 - persistence, np.nan, f"the state is forgotten in {steps:.3g} steps"))
    visits = np.asarray(finite.smooth(system).smoothed).reshape(-1, states).sum(axis=0)
    least, total = int(visits.argmin()), visits.sum()
    said = f"steps are expected in state {least}, of {total:.0f}: its parameters are learned from these"
    return [*found, Fact("fewest visits", float(visits[least]), np.nan, said)]


def _emissions(system: FiniteState) -> Fact:
    """The rank of the states' emission densities, evaluated on the data."""
    states, pair = system.initial.shape[-1], system.structure.order == "both states"
    terms = np.asarray(system.log_likelihood)
    names: list = list(range(states))
    if pair:
        possible = (np.asarray(system.transition).reshape(-1, states, states) > 0).any(axis=0)
        terms = terms.reshape(-1, states, states)[:, possible]
        names = [tuple(map(int, moved)) for moved in np.argwhere(possible)]
    terms = terms.reshape(-1, len(names))
    seen = terms[(terms != 0.0).any(axis=1)]
    weights = np.exp(seen - seen.max(axis=1, keepdims=True)) if len(seen) else np.zeros((1, len(names)))
    what = "pairs of states" if pair else "states"
    return _rank("rank of O", weights, names, what, "their emissions are the same, or mixtures of the others'")


def _rank(fact: str, columns: Float[np.ndarray, "row column"], names: list, what: str, alike: str) -> Fact:
    """The rank of a matrix whose columns should be independent, and the columns that are not."""
    length = np.linalg.norm(columns, axis=0)
    _, singular, axes = np.linalg.svd(columns / np.where(length > 0, length, 1.0), full_matrices=True)
    singular = np.append(singular, np.zeros(len(names) - singular.size))
    rank, share = int((singular > RANK * singular[0]).sum()), singular[-1] / max(singular[0], np.finfo(float).tiny)
    said = f"of {len(names)} {what}; singular values from {singular[0]:.3g} down to {singular[-1]:.2g}"
    if rank < len(names):
        involved = [str(name) for name, size in zip(names, np.abs(axes[-1]), strict=True) if size > 0.1]
        said = f"{said}: {what} {', '.join(involved)} are not independent, {alike}"
    elif share < NEARLY:
        said = f"{said}: nearly dependent, so that many data are needed to tell them apart"
    return Fact(fact, float(rank), float(len(names)), said)


@facts.register
def _of_linear(system: LinearGaussian) -> list[Fact]:
    size = system.initial_mean.shape[-1] - system.structure.extra
    missing = gaussian_invariants.undefined(system.structure)
    found = []
    one = {name: np.asarray(getattr(system, name)) for name in "ACQ"}
    if system.structure.sequences:
        one = {name: value[0] for name, value in one.items()}
    if not set("ACQ") & system.structure.varying:
        A, Q = one["A"][:size, :size], one["Q"][:size, :size]
        # What an observation sees of the last state is seen of the present one a step later.
        seen = (one["C"] @ one["A"] if system.structure.extra else one["C"])[:, :size]
        found = [
            _span("observable directions", A.T, seen.T, "the others are never seen"),
            _span("directions moved by noise", A, _root(Q), "the others depend on the first state alone"),
        ]
    if "persistence" not in missing:
        modulus = np.asarray(falling(jnp.linalg.eigvals(jnp.asarray(one["A"][:size, :size]))).modulus)
        for fact, value in {"largest eigenvalue": modulus[0], "smallest eigenvalue": modulus[-1]}.items():
            found.append(Fact(fact, float(value), np.nan, _persists(float(value))))
    return found


def _span(fact: str, A: np.ndarray, start: np.ndarray, otherwise: str) -> Fact:
    """The dimension of the span of start, A start, A^2 start, ..., in units in which all coordinates have one scale."""
    reach = np.abs(start).max(axis=1)
    for _ in range(len(A)):
        reach = np.maximum(reach, np.abs(A) @ reach)
    scale = np.where(reach > 0, reach, 1.0)
    A, start = A * scale / scale[:, None], start / scale[:, None]
    length = np.linalg.norm(start, axis=0)
    basis = orth(start / np.where(length > 0, length, 1.0), rcond=RANK)
    for _ in range(len(A)):
        basis = orth(np.hstack([basis, A @ basis]), rcond=RANK) if basis.size else basis
    rank = basis.shape[1]
    said = f"of {len(A)} dimensions of the state" + (f": {otherwise}" if rank < len(A) else "")
    return Fact(fact, float(rank), float(len(A)), said)


def _root(Q: np.ndarray) -> np.ndarray:
    """G with G G' = Q, up to the lengths of its columns."""
    scale = np.sqrt(np.diagonal(Q))
    scale = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(Q / scale[:, None] / scale)
    return scale[:, None] * vectors * (values > RANK * max(values.max(), 0.0))


def _persists(modulus: float) -> str:
    if modulus > 1.0 + RANK:
        return "its modulus: it explodes"
    if modulus > 1.0 - RANK:
        return "its modulus: shocks are permanent"
    half = np.log(0.5) / np.log(modulus) if modulus > 0 else 0.0
    return f"its modulus: half of a shock is left after {half:.3g} steps"
