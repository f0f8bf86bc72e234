"""Engines that can answer about a program, and the parameters at which they are asked."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr

from ppl_worldmodel.checks import convergence
from ppl_worldmodel.errors import WorldModelError
from ppl_worldmodel.files.load import Loaded
from ppl_worldmodel.infer.result_tree import Engine
from ppl_worldmodel.labels.aligned_results import in_one_labelling, posterior_mean
from ppl_worldmodel.program.reading import Reading
from ppl_worldmodel.program.site_axes import sites
from ppl_worldmodel.studies.engine_settings import ENGINES

Say = Callable[[str], None]


def answering(engines: Sequence[str], known: bool, reading: Reading, say: Say) -> list[str]:
    """The engines that can answer, in order: those asked for, else all of them; a wrong or inapplicable name is refused.

    Learned parameters: NUTS, SVI and, where every parameter is conjugate, gibbs. Given ones: gibbs samples the states of any
    finite program, NUTS and SVI those of a continuous one, if their density is proper (SVI), or a density at all (NUTS), and
    smc filters either.
    """
    answers, why = _answers(known, reading)
    for name in engines:
        if name not in ENGINES:
            raise WorldModelError(f"there is no engine '{name}': choose from {', '.join(ENGINES)}")
        if name not in answers and name != "exact":
            state = "a continuous state" if reading.exact.num_states is None else "a finite state"
            question = "at known parameters" if known else "when parameters are learned"
            raise WorldModelError(
                f"the engine '{name}' does not answer about {state} {question}{f' ({why})' if why else ''}: choose from "
                f"{', '.join(['exact', *answers])}"
            )
    if not known and engines and not set(engines) & set(answers):
        raise WorldModelError(
            "the exact engine answers at given parameters, and these are to be learned: add --known to ask at their values, or an "
            f"engine that learns them ({', '.join(answers)})"
        )
    if why and not engines:
        say(f"{why}: engines {', '.join(['exact', *answers])}")
    return [name for name in (["exact", *answers] if known else answers) if not engines or name in engines]


def answering_unread(engines: Sequence[str], refusal: str) -> list[str]:
    """The engines that answer about a program that is not read exactly: they only run it. A wrong name is refused.

    refusal  why it is not read
    """
    answers = ("nuts", "smc")
    for name in engines:
        if name not in answers:
            raise WorldModelError(
                f"the engine '{name}' does not answer about this program, which is not read exactly: {refusal}\nChoose from "
                f"{', '.join(answers)}"
            )
    return [name for name in answers if not engines or name in engines]


def _answers(known: bool, reading: Reading) -> tuple[list[str], str]:
    """The engines beside the exact one, and why some are missing."""
    if not known:
        return ["nuts", "gibbs", "svi", "svi_full_rank"], ""
    if reading.exact.num_states is not None:
        return ["gibbs", "smc"], ""
    if reading.plan.diffuse:
        return (
            [],
            "the first state has infinite variance, so that the program has no density to sample from: write ImproperUniform",
        )
    if not reading.exact.proper:
        return ["nuts"], "the first state has a flat density, from which SVI has no draws to start from"
    return ["nuts", "smc", "svi", "svi_full_rank"], ""


def same_observations(reading: Reading) -> list[str]:
    """The observed sites of which all series have the same observations: most likely columns are missing."""
    if reading.structure.sequences < 2:
        return []
    found, structure = sites(reading), reading.structure
    several = {name: found[name] for name in structure.observed if name in found and "sequence" in found[name].dims}
    first = {name: np.take(site.seen, [0], site.dims.index("sequence")) for name, site in several.items()}
    return [
        name
        for name, site in several.items()
        if np.array_equal(np.broadcast_to(first[name], site.seen.shape), site.seen, equal_nan=True)
    ]


def asked_at(
    loaded: Loaded,
    reading: Reading,
    parameters: Mapping[str, Any] | None,
    learner: Engine,
    key: jax.Array,
    say: Say,
) -> tuple[dict[str, np.ndarray], str]:
    """The parameters of a known run, {name: value}, and where they come from.

    learner  of the parameters where nobody says their values
    """
    if parameters:
        return {name: np.asarray(value) for name, value in parameters.items()}, "given by the caller"
    if loaded.truth is not None:
        return loaded.truth, f"the truth of the model '{loaded.name}'"
    names = list(reading.parameters)
    if not names:
        return {}, "the program has none"
    if reading.system is None:
        raise WorldModelError(
            f"the parameters of a program that is not read exactly ({', '.join(names)}) cannot be learned here: give their values, "
            f"--parameters '{{{', '.join(f'"{name}": ...' for name in names)}}}'"
        )
    say("no truth is known: learning the posterior mean with nuts first ...")
    (learned,) = in_one_labelling(reading, {"nuts": learner(reading, key)}, None).values()
    (gate,) = convergence.findings(learned)
    if gate.verdict != "agrees":
        say(f"the chains of this run are no good basis: {gate.why}")
    apart = "" if gate.verdict == "agrees" else f", whose chains have not converged ({gate.why})"
    return (
        posterior_mean(reading, learned),
        f"the posterior mean of a NUTS run on these data{apart}",
    )


def centre(
    loaded: Loaded, reading: Reading, results: Mapping[str, xr.DataTree], simulated: bool
) -> tuple[dict[str, np.ndarray] | None, str]:
    """Where the exact beliefs of a learned run are drawn, for the eye only: at the truth, else at the posterior mean of the
    results, whose states have the same names (`in_one_labelling`).
    """
    if simulated and loaded.truth is not None:
        return loaded.truth, "the truth of the simulation"
    if "nuts" not in results:
        return None, "learned"
    return posterior_mean(reading, results["nuts"]), "the posterior mean of NUTS"
