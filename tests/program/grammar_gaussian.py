"""Which linear-Gaussian programs are there?  All choices that make one, a `GaussianShape`, as a strategy of hypothesis."""

from typing import NamedTuple

from hypothesis import strategies as st

from .grammar import CARRIES, GAPS

LAWS = ("Normal", "covariance", "precision", "Cholesky", "low rank")


class GaussianShape(NamedTuple):
    """How a program is written.

    seed       of its data and its parameters
    dim        of the state (one value of it, where the carry is a companion of several)
    state      how the carry comes about: it is the sites; x = A x + G w; non-centred about a mean; the last values of one site
    several    the state (or its noise) is several sites, each given the one before, and not one vector
    law        of that vector: independent entries, or a multivariate normal by each of its parametrisations
    singular   there is less noise than state (x = A x + G w only)
    delta      the mean of the move is a Delta site
    start      known; a Delta; the sites' own law; several sites, each given the one before; flat; flat in its first entry only
    order      what is seen is computed from the new state, the old one, both, or the old one and the noise of the move
    emission   the law of what is seen: one vector, or `apart`, a site for each entry
    seen       how many entries are seen
    last       what is seen depends on the last observation: as given, or (obs_mask) as sampled, which makes it a state
    gaps       how something is left out; `ended`: all sites are masked from a step on; `partly`: some entries are NaN
    scale      does the noise vary in time, and with what?
    beside     a site on which nothing depends; or one that only what is seen depends on
    factor     of the inputs, in or outside of the plate
    own        each sequence has a covariate of its own
    """

    seed: int
    steps: int
    dim: int
    state: str
    several: bool
    law: str
    singular: bool
    delta: bool
    start: str
    order: str
    emission: str
    seen: int
    last: str
    covariate: str
    gaps: str
    scale: str
    beside: str
    factor: str
    sequences: int
    own: bool
    carry: str


CHOICES: dict[str, st.SearchStrategy] = {
    "seed": st.sampled_from(range(1000)),
    "steps": st.just(4),
    "dim": st.sampled_from([1, 2, 3]),
    "state": st.sampled_from(["the sites", "computed", "non-centred", "companion"]),
    "several": st.booleans(),
    "law": st.sampled_from(LAWS),
    "singular": st.booleans(),
    "delta": st.booleans(),
    "start": st.sampled_from(["known", "Delta", "proper", "linked", "flat", "partly flat"]),
    "order": st.sampled_from(["transition first", "emission first", "both states", "shared noise"]),
    "emission": st.sampled_from(["apart", *LAWS]),
    "seen": st.sampled_from([1, 2]),
    "last": st.sampled_from(["none", "given", "sampled"]),
    "covariate": st.sampled_from(["none", "move", "emission"]),
    "gaps": st.sampled_from([*GAPS, "partly"]),
    "scale": st.sampled_from(["constant", "time", "covariate"]),
    "beside": st.sampled_from(["none", "none", "unused", "noise"]),
    "factor": st.sampled_from(["none", "none", "input", "outside"]),
    "sequences": st.sampled_from([0, 0, 2]),
    "own": st.booleans(),
    "carry": st.sampled_from(CARRIES),
}


def legal(shape: GaussianShape) -> GaussianShape:
    """The nearest shape that means something."""
    computed = shape.state in ("computed", "non-centred")
    shape = shape._replace(
        singular=shape.singular and shape.state == "computed" and shape.dim > 1,
        several=shape.several or shape.state == "companion",
        delta=shape.delta and shape.state in ("the sites", "computed"),
    )
    inputs = shape.covariate != "none" or shape.scale == "covariate"
    shape = shape._replace(own=shape.own and shape.sequences > 0 and inputs)
    if shape.order == "shared noise" and not computed:
        shape = shape._replace(order="both states")
    if shape.last == "sampled" and shape.gaps != "obs_mask":
        shape = shape._replace(last="given")
    if shape.last == "given" and shape.gaps in (
        "NaN",
        "partly",
    ):  # the next step would look at a value that is not there
        shape = shape._replace(last="none")
    if shape.gaps == "partly" and shape.seen == 1:
        shape = shape._replace(gaps="NaN")
    if shape.start == "flat" and shape.dim > shape.seen:  # few observations would tell the directions badly apart
        shape = shape._replace(start="partly flat")
    if shape.start == "partly flat" and shape.dim == 1:
        shape = shape._replace(start="flat")
    return shape


gaussian_shapes = st.builds(GaussianShape, **CHOICES).map(legal)
