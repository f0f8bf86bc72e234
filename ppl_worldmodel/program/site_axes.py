"""The axes of a program's sites: time, of those of the step and of what is observed after the scan; the plate of its series."""

from typing import Any, NamedTuple

import jax
import numpy as np
from numpyro import handlers
from numpyro.distributions import BernoulliLogits, BernoulliProbs, CategoricalLogits, CategoricalProbs, ImproperUniform

from ppl_worldmodel.compiled import run_once
from ppl_worldmodel.program.likelihood import unmasked
from ppl_worldmodel.program.missing.masking import observe
from ppl_worldmodel.program.numpyro_internals import Messenger, ran_in_scan
from ppl_worldmodel.program.reading import Reading, once
from ppl_worldmodel.program.site_names import dotted
from ppl_worldmodel.program.sites import bare, placeholder


class Named(NamedTuple):
    """A sample site as one run of the program shows it: its value, and a name for each of its axes.

    seen        the value, NaN where it was masked
    categories  how many categories it has; 0 where its values are numbers
    """

    value: np.ndarray
    dims: tuple[str, ...]
    observed: bool
    seen: np.ndarray
    categories: int = 0


class _Start(Messenger):
    """Give sites that cannot be sampled (flat densities) some value."""

    def process_message(self, msg):
        if msg["type"] == "sample" and msg["value"] is None and isinstance(bare(msg["fn"]), ImproperUniform):
            msg["value"] = placeholder(msg["fn"])


@once
def sites(reading: Reading) -> dict[str, Named]:
    """Every sample site of the program."""
    structure = reading.structure
    drawn: dict[str, dict] = {}

    def run() -> dict[str, tuple[Any, Any]]:
        with handlers.trace() as trace, handlers.seed(rng_seed=0), _Start():
            observe(reading.model)(**reading.data)
        drawn.update({name: site for name, site in trace.items() if site["type"] == "sample"})
        return {name: (site["value"], unmasked(site["fn"], np.shape(site["value"]))) for name, site in drawn.items()}

    values = jax.tree.map(np.asarray, run_once(run))
    plates = {
        frame.name
        for name in (*structure.states, *structure.initials)
        for frame in (drawn[name]["cond_indep_stack"] if name in drawn else ())
        if frame.size == structure.sequences
    }
    in_step = {name: ran_in_scan(site) for name, site in drawn.items()}
    times = {name: 0 if inside else None for name, inside in in_step.items()}
    if any(drawn[name]["is_observed"] and not in_step[name] for name in structure.observed if name in drawn):
        emitted = reading.plan.start.after.emitted
        times |= {name: emission.axis for name, emission in emitted.items()}
    return {
        name: _named(name, site, values[name][0], values[name][1], times[name], structure.sequences, plates)
        for name, site in drawn.items()
    }


def dims(name: str, count: int, *, time: int | None = None, sequence: int | None = None) -> tuple[str, ...]:
    """Names of the `count` axes of a variable: `time` and `sequence` those that are given, else by their numbers."""
    called = [f"{dotted(name)}_dim_{i}" for i in range(count)]
    if time is not None and time < count:
        called[time] = "time"
    if sequence is not None:
        called[sequence] = "sequence"
    return tuple(called)


def _named(
    name: str, site: dict, value: np.ndarray, kept: np.ndarray, time: int | None, sequences: int, plates: set[str]
) -> Named:
    """kept: which entries no mask leaves out; time: which axis is that of the steps, None for a site that has none."""
    event = site["fn"].event_dim
    axes = [value.ndim - event + frame.dim for frame in site["cond_indep_stack"] if frame.name in plates]
    # Without a plate, a batch of states in the place next to time is the sequences.
    axes = axes or ([] if plates else [1 if time == 0 else 0])
    there = sequences and len(axes) == 1 and 0 <= axes[0] < value.ndim and axes[0] != time
    fits = there and value.shape[axes[0]] == sequences
    return Named(
        value,
        dims(name, value.ndim, time=time, sequence=axes[0] if fits and (time is not None or plates) else None),
        site["is_observed"],
        value if kept.all() else np.where(kept, value.astype(float), np.nan),
        _categories(bare(site["fn"])),
    )


def _categories(fn: Any) -> int:
    if isinstance(fn, (BernoulliProbs, BernoulliLogits)):
        return 2
    if isinstance(fn, CategoricalProbs):
        return int(np.shape(fn.probs)[-1])
    return int(np.shape(fn.logits)[-1]) if isinstance(fn, CategoricalLogits) else 0
