"""Which programs with a finite state are there?  All choices that make one, a `FiniteShape`, as a strategy of hypothesis."""

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from .grammar import CARRIES, GAPS

MOST = 5000  # combinations of the values of all sites
FAMILIES = ("Normal", "StudentT", "Poisson", "Categorical", "Bernoulli", "MultivariateNormal")


class FiniteShape(NamedTuple):
    """How a program is written.

    seed       of its data, its parameters and the zeros in T
    sizes      how many values each factor of the state has
    law        how a factor is drawn: Categorical by probs or by logits, or (two values) Bernoulli
    coupled    the second factor looks at the new value of the first
    lags       on how many past values of itself a factor depends; two: the carry is a shift register
    counter    for how long the first factor has kept its value, computed; it drives the moves, and may be seen, too
    start      known; a Delta; sampled; sampled, one given the other (or computed, where there is only one)
    order      what is seen is computed from the new state, the old one (before the move), or both
    last       what is seen depends on the last observation: as given, or (obs_mask) as sampled, which makes it a state
    gaps       how something is left out; `ended`: all sites are masked from a step on
    beside     a site on which nothing depends; or one that only what is seen depends on, which is summed out
    factor     of the inputs (in or outside of the plate), of the new state, of the move
    own        each sequence has a covariate of its own
    """

    seed: int
    steps: int
    sizes: tuple[int, ...]
    law: str
    coupled: bool
    lags: int
    counter: str
    zeros: bool
    start: str
    order: str
    emission: str
    second: str
    last: str
    covariate: str
    gaps: str
    beside: str
    factor: str
    sequences: int
    own: bool
    carry: str


CHOICES: dict[str, st.SearchStrategy] = {
    "seed": st.sampled_from(range(1000)),
    "steps": st.just(4),
    "sizes": st.sampled_from([(2,), (3,), (2, 2), (2, 3), (3, 2)]),
    "law": st.sampled_from(["probs", "logits", "Bernoulli"]),
    "coupled": st.booleans(),
    "lags": st.sampled_from([1, 2]),
    "counter": st.sampled_from(["none", "none", "moves", "seen"]),
    "zeros": st.booleans(),
    "start": st.sampled_from(["known", "Delta", "sampled", "linked"]),
    "order": st.sampled_from(["transition first", "emission first", "both states"]),
    "emission": st.sampled_from(FAMILIES),
    "second": st.sampled_from(["none", "none", "none", *FAMILIES]),
    "last": st.sampled_from(["none", "given", "sampled"]),
    "covariate": st.sampled_from(["none", "move", "emission"]),
    "gaps": st.sampled_from(GAPS),
    "beside": st.sampled_from(["none", "none", "unused", "mixture"]),
    "factor": st.sampled_from(["none", "none", "input", "outside", "state", "move"]),
    "sequences": st.sampled_from([0, 0, 2]),
    "own": st.booleans(),
    "carry": st.sampled_from(CARRIES),
}


def legal(shape: FiniteShape) -> FiniteShape:
    """The nearest shape that means something, and whose combinations are few: as many steps as that allows."""
    if shape.law == "Bernoulli" and set(shape.sizes) != {2}:
        shape = shape._replace(law="logits")
    shape = shape._replace(zeros=shape.zeros and shape.law == "probs", coupled=shape.coupled and len(shape.sizes) == 2)
    if shape.last == "sampled" and not (shape.gaps == "obs_mask" and shape.emission in ("Categorical", "Bernoulli")):
        shape = shape._replace(last="given")
    if shape.last == "given" and shape.gaps == "NaN":  # the next step would look at a value that is not there
        shape = shape._replace(last="none")
    shape = shape._replace(own=shape.own and shape.sequences > 0 and shape.covariate != "none")
    for easier in ({}, {"steps": 3}, {"steps": 2}, {"start": "known"}, {"beside": "none"}, {"lags": 1}):
        shape = shape._replace(**easier)
        if combinations(shape) <= MOST:
            break
    return shape


def combinations(shape: FiniteShape) -> int:
    each = int(np.prod(shape.sizes)) * (2 if shape.beside == "mixture" else 1)
    if shape.last == "sampled":
        each *= values(shape.emission)
    start = int(np.prod(shape.sizes)) ** shape.lags if shape.start in ("sampled", "linked") else 1
    return (start * each**shape.steps) ** max(1, shape.sequences)


def values(family: str) -> int:
    return 3 if family == "Categorical" else 2


finite_shapes = st.builds(FiniteShape, **CHOICES).map(legal)
