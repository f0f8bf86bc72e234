"""The plan of a reading: what only concrete numbers tell about a program; JAX traces the program with it."""

from typing import NamedTuple

from ppl_worldmodel.exact.system import FiniteState, Form, LinearGaussian
from ppl_worldmodel.program.finite.state_table import Table
from ppl_worldmodel.program.missing.masking import NO_GAPS, Gaps
from ppl_worldmodel.program.start import Start

KnownSystem = FiniteState | LinearGaussian


class Plan(NamedTuple):
    """What only concrete numbers tell about a program; it is settled before JAX traces the program.

    start     the sites of its initial state
    separate  are the axes of its plates independent sequences?
    diffuse   sites of the initial state whose variance is infinite, beside the improper ones
    table     the listed states of a finite program, where its structure alone does not tell them
    gaps      the missing observations that the program goes on to use
    form      how a Gaussian belief is carried: where covariances would lose digits, by square roots of them
    """

    start: Start
    separate: bool = True
    diffuse: frozenset[str] = frozenset()
    table: Table | None = None
    gaps: Gaps = NO_GAPS
    form: Form = "covariance"
