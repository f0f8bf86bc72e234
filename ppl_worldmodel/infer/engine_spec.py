"""Specification of an engine: its name on the command line, the questions that it answers, and how a study makes it.

A file of this folder that has `ENGINES = (EngineSpec(...),)` is an engine of `worldmodel check` and of `study`: no list names it.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from jaxtyping import Array

from ppl_worldmodel import memory
from ppl_worldmodel.infer.result_tree import Engine
from ppl_worldmodel.program.reading import Reading

WORTH_TELLING = 1_000_000_000  # bytes

Kind = Literal["finite", "continuous"]
Draws = tuple[dict[str, Array], Array]  # of the parameters and of the states, with a first axis `draw`


class Budget(NamedTuple):
    """What a study lets an engine spend.

    known     the parameters are given, and the question is about the states
    entries   numbers in the states of the whole series: very many of them get fewer draws, as memory and patience have it
    fast      a tenth of the draws
    prefixes  sample the filtered and predicted beliefs of every time step, and not of a few
    progress  bars on the terminal; say: is told about memory where it matters
    """

    known: bool
    entries: int = 1
    fast: bool = False
    prefixes: bool = False
    progress: bool = False
    say: Callable[[str], None] = lambda line: None

    def size(self, number: int) -> int:
        """Of a number of draws or steps, how many to take."""
        return number // 10 if self.fast else number

    def draws_of_states(self, name: str, asked: int, warmup: int, few: int, work: int = memory.NO_LIMIT) -> memory.Size:
        """The draws, warm-up and prefixes that memory and patience have room for, and a line about them where they are many."""
        found = memory.of_states(self.entries, asked, warmup, few, work=work)
        return self._told(name, found, asked, few, "draws of each chain")

    def particles(self, name: str, asked: int) -> memory.Size:
        return self._told(name, memory.of_particles(self.entries, asked), asked, 0, "particles")

    def _told(self, name: str, found: memory.Size, asked: int, few: int, of: str) -> memory.Size:
        if found.bytes > WORTH_TELLING:
            self.say(memory.told(name, found, asked, few, of=of))
        return found


class Lengths(NamedTuple):
    """Of a chain."""

    num_warmup: int
    num_samples: int


class EngineSpec(NamedTuple):
    """An engine as a study, a calibration and the command line see it.

    name     on the command line, and in the attribute `engine` of its results
    make     the engine of a study that has this budget
    learns   does it learn parameters?
    states   the kinds of state about which it answers at given parameters
    unread   does it also answer about programs that are not read exactly, by running them?
    refuses  why it cannot sample the states of this program at given parameters, though they are of such a kind; "" where it can
    conjugate  can it draw every parameter of this program from its own full conditional? Then it learns faster than NUTS
    chain    one chain as a plain function of (data, key), for `jax.vmap` over the data sets of a calibration; None: it has none
    order    where it stands on pages and in lists; engines of one order stand in that of their names
    """

    name: str
    make: Callable[[Budget], Engine]
    learns: bool = False
    states: tuple[Kind, ...] = ()
    unread: bool = False
    refuses: Callable[[Reading], str] = lambda reading: ""
    conjugate: Callable[[Reading], bool] = lambda reading: False
    chain: Callable[[Reading, Lengths], Callable[[Mapping[str, Any], Array], Draws]] | None = None
    order: int = 100


def engines() -> dict[str, EngineSpec]:
    """{name: its specification} of the engines in this folder, in the order of pages."""
    folder = importlib.import_module("ppl_worldmodel.infer")
    modules = [
        importlib.import_module(f"{folder.__name__}.{one.name}") for one in pkgutil.iter_modules(folder.__path__)
    ]
    found = [spec for module in modules for spec in getattr(module, "ENGINES", ())]
    return {spec.name: spec for spec in sorted(found, key=lambda spec: (spec.order, spec.name))}


def without_density(reading: Reading) -> str:
    """Why the states of this program cannot be sampled from its density: "" where they can."""
    if reading.plan.diffuse:
        return "the first state has infinite variance, so that the program has no density to sample from: write ImproperUniform"
    return ""


def without_draws(reading: Reading) -> str:
    """The same for engines that begin with draws of the first state."""
    if reading.exact.proper:
        return ""
    return without_density(reading) or "the first state has a flat density, of which there are no draws to start from"
