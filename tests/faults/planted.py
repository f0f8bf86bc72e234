"""Which fault is planted where, and with which engine is it run?  The list that the tests and the measured rates go through."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import xarray as xr

from ppl_worldmodel import read, svi

from . import faults, runs
from .programs import SETUPS, cases
from .runs import Case, Engine


def same(what: Any) -> Any:
    return what


class Planted(NamedTuple):
    """question  what the engine is asked instead of the right question; afterwards  what is done to its result
    slow      for tests: compiles or runs for more than a few seconds
    """

    fault: str
    model: str
    engine: str
    question: Callable[[Case], Case] = same
    afterwards: Callable[[xr.DataTree], xr.DataTree] = same
    slow: bool = False

    @property
    def learns(self) -> bool:
        return "learned" in self.engine


def _relabelled(model: Callable, example: Case) -> Engine:
    return runs.learned("gibbs", model, example, faults.relabelled(runs.blocked_draw(model, example)))


ENGINES: dict[str, Callable[..., Engine]] = {
    "gibbs": lambda model, example: runs.gibbs_states(model, example, prefixes=0),
    "gibbs, stopped": lambda model, example: runs.gibbs_states(model, example, prefixes=0, num_warmup=0, num_samples=20),
    "gibbs, with prefixes": runs.gibbs_states,
    "nuts": runs.nuts_states,
    "nuts, stopped": lambda model, example: runs.nuts_states(model, example, num_warmup=5, num_samples=50),
    "smc": runs.smc,
    "gibbs, learned": runs.gibbs_learned,
    "gibbs, learned, one chain relabelled": _relabelled,
    "nuts, learned": runs.nuts_learned,
}  # fmt: skip

PLANTED = (
    Planted("T transposed", "two_state_pomdp", "gibbs", faults.transposed),
    Planted("T transposed", "earthquakes", "gibbs", faults.transposed, slow=True),
    Planted("emission rows swapped", "two_state_pomdp", "gibbs", faults.rows_swapped),
    Planted("emission rows swapped", "machine", "gibbs", faults.rows_swapped, slow=True),
    Planted("first observation skipped", "two_state_pomdp", "gibbs", faults.first_skipped),
    Planted("first observation skipped", "earthquakes", "gibbs", faults.first_skipped, slow=True),
    Planted("first observation skipped", "autoregression", "nuts", faults.first_skipped, slow=True),
    Planted("action one step late", "tiger", "smc", faults.action_late),
    Planted("action one step late", "machine", "gibbs", faults.action_late, slow=True),
    Planted("smoother as filter", "two_state_pomdp", "gibbs", afterwards=faults.smoother_as_filter),
    Planted("smoother as filter", "autoregression", "nuts", afterwards=faults.smoother_as_filter, slow=True),
    Planted("prior dropped", "letters", "nuts, learned", faults.prior_dropped, slow=True),
    Planted("prior dropped", "letters", "gibbs, learned", faults.prior_dropped, slow=True),
    Planted("prior dropped", "regimes", "gibbs, learned", faults.prior_dropped, slow=True),
    Planted("stopped during warm-up", "sticky", "gibbs, stopped"),
    Planted("stopped during warm-up", "autoregression", "nuts, stopped", slow=True),
    Planted("float32", "stiff nile", "float32"),
    Planted("float32", "stiff tracker", "float32", slow=True),
    Planted("labels swapped in a chain", "two_state_pomdp", "gibbs", afterwards=faults.labels_swapped),
    Planted("labels swapped in a chain", "machine", "gibbs", afterwards=faults.labels_swapped, slow=True),
    Planted("labels swapped in a chain", "letters", "gibbs, learned, one chain relabelled", slow=True),
    Planted("mean-field on a coupled state", "autoregression", "svi", slow=True),
    Planted("mean-field on a coupled state", "nile", "svi", slow=True),
)  # fmt: skip


# Faults that are near to what still matters: for rates, since in one data set they may be small.
WEAK = (
    Planted("T transposed, a tenth of the way", "two_state_pomdp", "gibbs", faults.in_part(faults.transposed, 0.1)),
    Planted("T transposed, a tenth of the way", "earthquakes", "gibbs", faults.in_part(faults.transposed, 0.1)),
    Planted("rows swapped, a twentieth of the way", "two_state_pomdp", "gibbs", faults.in_part(faults.rows_swapped, 0.05)),
    Planted("rows swapped, a twentieth of the way", "machine", "gibbs", faults.in_part(faults.rows_swapped, 0.05)),
    Planted("rows swapped, a twentieth of the way", "earthquakes", "smc", faults.in_part(faults.rows_swapped, 0.05)),
    Planted("prior dropped, half the way", "letters", "gibbs, learned", faults.in_part(faults.prior_dropped, 0.5)),
)  # fmt: skip


@cache
def engine(kind: str, model: str) -> Engine:
    """An engine for a program, compiled once for all data sets of the same length."""
    make = {**ENGINES, "exact": runs.exact, "mixture": faults.from_draws}[kind]
    return make(SETUPS[model].model, cases(model, range(1))[0])


def results(kind: str, model: str, asked: Sequence[Case], seed: int) -> Iterator[xr.DataTree]:
    """What the engine says to each case, one after the other."""
    key, program = jax.random.key(seed), SETUPS[model].model
    if kind == "float32":
        yield from faults.in_single_precision(program, asked)
    elif kind == "svi":
        for case, each in zip(asked, jax.random.split(key, len(asked)), strict=True):
            yield svi()(read(program, case.data, case.parameters), each)
    else:
        yield from runs.answers(engine(kind, model), asked, key)


def right_answers(model: str, asked: Sequence[Case], *, learned: bool, seed: int = 0) -> Iterator[xr.DataTree]:
    """The right answer to each case: the recursion, or independent draws from the exact posterior of the parameters."""
    if learned:
        asked = [faults.exact_draws(case, seed + i) for i, case in enumerate(asked)]
    return results("mixture" if learned else "exact", model, asked, seed)


def sizes(planted: Planted, asked: Sequence[Case]) -> list[float]:
    """The true size of the fault in each case; NaN where it is that of the one run alone (stopped chains)."""
    if planted.learns and planted.question is not same:
        return [faults.size_of_parameters(planted.question(case), case) for case in asked]
    if planted.learns:
        return [faults.size_of_relabelling(case) for case in asked]
    right = list(right_answers(planted.model, asked, learned=False))
    if planted.question is not same:
        wrong = right_answers(planted.model, [planted.question(case) for case in asked], learned=False)
        kind = "filtered" if planted.engine == "smc" else "smoothed"
        return [faults.size_of_beliefs(here, there, kind) for here, there in zip(wrong, right, strict=True)]
    if planted.afterwards is faults.smoother_as_filter:
        return [faults.size_of_beliefs(each, each, "filtered", "smoothed") for each in right]
    if planted.afterwards is faults.labels_swapped:
        return [faults.size_of_swapped_labels(each) for each in right]
    if planted.engine == "svi":
        return [faults.size_of_mean_field(case, each) for case, each in zip(asked, right, strict=True)]
    if planted.engine == "float32":
        single = faults.in_single_precision(SETUPS[planted.model].model, asked)
        return [faults.size_of_beliefs(here, there) for here, there in zip(single, right, strict=True)]
    return [float("nan")] * len(asked)
