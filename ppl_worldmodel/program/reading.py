"""Reading: a program bound to its data, read once. Engines, checks and comparisons take it, and look no further."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.exact.system import Structure, System
from ppl_worldmodel.program.arguments import check_call
from ppl_worldmodel.program.batch import Batch
from ppl_worldmodel.program.examine import examine
from ppl_worldmodel.program.finite.state_table import Table
from ppl_worldmodel.program.intercept import Beginning, visit
from ppl_worldmodel.program.missing import inputs, masking
from ppl_worldmodel.program.parameters import Parameter, given
from ppl_worldmodel.program.plan import Plan
from ppl_worldmodel.program.sites import Scan
from ppl_worldmodel.program.step import Step
from ppl_worldmodel.program.system import read_scan, system_of
from ppl_worldmodel.program.unread import only_drawn, outline, state_names

NOT_READ = "not read exactly"  # the family of a program without an exact system


@dataclass(frozen=True, eq=False, repr=False)
class Reading:
    """A program and its data.

    model       the NumPyro program; data: the keyword arguments that it takes
    system      the exact system, at `values`, or at random values of the parameters; None: it is not read exactly
    plan        what only concrete numbers tell about the program, and JAX traces it with
    parameters  the program's parameter sites, in their order
    values      values of the parameters that are given: then engines ask about the states; None: they are to be learned
    """

    model: Callable
    data: Mapping[str, Any]
    system: System | None
    plan: Plan
    parameters: Mapping[str, Parameter]
    values: Mapping[str, Any] | None = None
    why_not: str = ""
    _kept: dict[Any, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return repr(self.system) if self.system is not None else f"not read exactly: {self.why_not}"

    @property
    def exact(self) -> System:
        """The exact system; NotExactlySolvable where there is none."""
        if self.system is None:
            raise NotExactlySolvable(self.why_not)
        return self.system

    @property
    def family(self) -> str:
        return NOT_READ if self.system is None else type(self.system).__name__

    @property
    def structure(self) -> Structure:
        """That of the system; of a program that is not read exactly it has the names of the state's parts alone."""
        return self.system.structure if self.system is not None else Structure(factors=state_names(self))

    def at(self, parameters: Mapping[str, Any]) -> System:
        """The system at values of the parameters that JAX may trace, unchecked: for use inside jit, vmap and grad.

        The program itself runs once for each reading and shape: after that its jaxpr stands for it.
        """
        key = "at", self.plan.form  # all of a plan that a reading's copies change
        if key not in self._kept:
            self._kept[key] = jax.jit(
                lambda parameters: self.visit(lambda scan, beginning: read_scan(scan, beginning, self.plan), parameters)
            )
        return self._kept[key]({name: jnp.asarray(value) for name, value in parameters.items()})

    def on(self, data: Mapping[str, Any]) -> "Reading":
        """The same program on other data of the same shapes, which JAX may trace; its `system` stays that of the first data."""
        return replace(self, data=data, _kept={})

    def given(self, parameters: Mapping[str, Any]) -> "Reading":
        """The same program read at given values of its parameters, which are checked."""
        if not self.parameters and not parameters:
            return replace(self, values={}, _kept={})
        return read(self.model, self.data, parameters, exactly=self.system is not None)

    def program(self, parameters: Mapping[str, Any] | None = None, keep: Any = None) -> Callable[[], Any]:
        """The program on its data, as a function without arguments; its missing observations are left out, or drawn.

        parameters  fixed values of parameter sites; keep: (time,) which steps' observations are seen
        """
        if keep is None:
            observed = masking.observed_in(self.model, self.data, self.plan.gaps)
        else:
            observed = masking.observe(self.model, keep, self.plan.gaps)
        fixed = given(observed, parameters) if parameters is not None else observed
        return lambda: fixed(**self.data)

    def visit[T](
        self,
        work: Callable[[Scan, Beginning], T],
        parameters: Mapping[str, Any] | None = None,
        *around: Any,
        keep: Any = None,
    ) -> T:
        """What `work(scan, beginning)` returns in the place of the program's scan; `around`: further handlers of NumPyro."""
        return visit(self.program(parameters, keep), self.plan.start, {}, work, *around)


def read(
    model: Callable,
    data: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
    *,
    exactly: bool = True,
) -> Reading:
    """Read a NumPyro program and its data: its exact system, its parameters, and all that engines need of it.

    model       an ordinary NumPyro program with one `numpyro.contrib.control_flow.scan` over time
    data        the keyword arguments that it takes, {"observations": y, ...}; NaN in float data is a missing observation
    parameters  values of its parameter sites: then engines ask about the states given these. Without them the parameters are to be
                learned, and the system is looked at with random values inside their supports
    exactly     False: a program with a scan that is not exactly solvable is no error; its `system` is None, and NUTS and the
                particle filter run it as it is

    `reading.system` is a FiniteState or a LinearGaussian, whose repr says what was found; `reading.at(parameters)` the system at
    other values.
    Raises NotExactlySolvable (with the site and the reason), DataError (data or parameters that do not fit), ProgramError (an
    exception inside of the program, with its line), or ReadingFault (an exception inside of this package, with what to report).
    """
    check_call(model, {} if data is None else data)
    arguments = dict(data or {})
    values = None if parameters is None else dict(parameters)
    why_not = only_drawn(model, arguments, values) if values is not None and not exactly else ""
    if not why_not:
        try:
            examined = examine(model, arguments, values)
            return Reading(model, arguments, examined.system, examined.plan, examined.parameters, values)
        except NotExactlySolvable as error:
            if exactly:
                raise
            why_not = str(error).splitlines()[0]
    found = outline(model, arguments, values)
    return Reading(model, arguments, None, found.plan, found.parameters, values, why_not)


def system_of_step(reading: Reading, step: Step, beginning: Beginning) -> tuple[System | None, Batch, Table | None]:
    """The system, its sequences, and the table of a finite one; of a program that is not read exactly there is none of these."""
    return (None, Batch(), None) if reading.system is None else system_of(step, beginning, reading.plan)


def observed_arguments(reading: Reading) -> set[str]:
    """The arguments of the program that its observations are computed from, read off the jaxpr."""
    return inputs.observed_arguments(reading.model, reading.data)


def once[T](work: Callable[[Reading], T]) -> Callable[[Reading], T]:
    """`work`, computed once for each reading."""

    @wraps(work)
    def kept(reading: Reading) -> T:
        if work not in reading._kept:
            reading._kept[work] = work(reading)
        return reading._kept[work]

    return kept
