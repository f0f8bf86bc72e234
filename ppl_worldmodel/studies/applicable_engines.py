"""Engines that can answer about a program, and the parameters at which they are asked."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr

from ppl_worldmodel.checks import convergence
from ppl_worldmodel.errors import WorldModelError
from ppl_worldmodel.files.load import Loaded
from ppl_worldmodel.infer import engine_spec as infer
from ppl_worldmodel.infer.result_tree import Engine
from ppl_worldmodel.labels.aligned_results import in_one_labelling, posterior_mean
from ppl_worldmodel.program.reading import Reading
from ppl_worldmodel.program.site_axes import sites

Say = Callable[[str], None]
AUTO = "auto"


def answering(engines: Sequence[str], known: bool, reading: Reading, say: Say) -> list[str]:
    """The engines that can answer, in order: those asked for, else all of them; a wrong or inapplicable name is refused.

    engines  names, or "auto" alone (see `_automatic`)
    known  the parameters are given, and the engines answer about the states; else they learn the parameters
    say    is told which engines the program itself rules out, where none is asked for by name
    """
    every = infer.engines()
    refusals = {name: _refusal(spec, known, reading) for name, spec in every.items()}
    answers = [name for name, refusal in refusals.items() if refusal is None]
    if AUTO in engines:
        if len(engines) > 1:
            raise WorldModelError(f"'{AUTO}' chooses the engines by itself: give it alone, or name them all")
        return _automatic(known, reading, every, answers, say)
    for name in engines:
        if name not in every:
            raise WorldModelError(f"there is no engine '{name}': choose from {', '.join([*every, AUTO])}")
        # The exact engine has a place in a learned run, too: at the centre of what was learned.
        if name in answers or (name == "exact" and reading.system is not None):
            continue
        choice = ", ".join(dict.fromkeys([*(["exact"] if reading.system is not None else []), *answers]))
        if reading.system is None:
            raise WorldModelError(
                f"the engine '{name}' does not answer about this program, which is not read exactly: {reading.why_not}\n"
                f"Choose from {choice}"
            )
        state = "a continuous state" if reading.exact.num_states is None else "a finite state"
        question = "at known parameters" if known else "when parameters are learned"
        why = f" ({refusals[name]})" if refusals[name] else ""
        raise WorldModelError(
            f"the engine '{name}' does not answer about {state} {question}{why}: choose from {choice}"
        )
    if engines and not set(engines) & set(answers):
        raise WorldModelError(
            "the exact engine answers at given parameters, and these are to be learned: add --known to ask at their values, or an "
            f"engine that learns them ({', '.join(answers)})"
        )
    ruled_out = {name: refusal for name, refusal in refusals.items() if refusal}
    if not engines:
        for reason in dict.fromkeys(ruled_out.values()):
            say(f"without {', '.join(name for name in ruled_out if ruled_out[name] == reason)}: {reason}")
    return [name for name in answers if not engines or name in engines]


def _automatic(
    known: bool, reading: Reading, every: Mapping[str, infer.EngineSpec], answers: Sequence[str], say: Say
) -> list[str]:
    """As few engines as answer well: at given parameters the first two, so that one checks the other; for learning the first that
    can draw every parameter from its own full conditional, else the first.
    """
    if known:
        return list(answers[:2])
    conjugate = next((name for name in answers if every[name].conjugate(reading)), None)
    if conjugate is not None:
        say(f"{AUTO}: {conjugate}, since every parameter has a full conditional that can be drawn from")
        return [conjugate]
    return list(answers[:1])


def _refusal(spec: infer.EngineSpec, known: bool, reading: Reading) -> str | None:
    """None where the engine answers; else why this program keeps it from that, "" where its kind of question does."""
    if reading.system is None:
        return None if spec.unread else ""
    if not known:
        return None if spec.learns else ""
    if ("finite" if reading.exact.num_states is not None else "continuous") not in spec.states:
        return ""
    return spec.refuses(reading) or None


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
