"""The conditions of a linear-Gaussian step and start, proven: affine means and moves, covariances and log factors that do not vary.

They are proven on the jaxpr of one step with its state, its latent values and its inputs as unknowns, and so hold at every step
and for all parameters. The observed values and the masks must not depend on the state either.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.program.batch import Batch
from ppl_worldmodel.program.gaussian.moments import gaussian, is_seen_in_each
from ppl_worldmodel.program.intercept import Beginning
from ppl_worldmodel.program.jaxprs.affine import Operation, Proof, prove
from ppl_worldmodel.program.jaxprs.degrees import AFFINE, INDEPENDENT, Degrees, worst
from ppl_worldmodel.program.likelihood import log_density, unmasked
from ppl_worldmodel.program.sites import Sample
from ppl_worldmodel.program.step import Step

Values = dict[str, jax.Array]


class NotLinear(NotExactlySolvable):
    """A step or a start that is not linear-Gaussian, as it was read."""


class _Laws(NamedTuple):
    """What must be affine in the state (move, mean) and what must not depend on it (covariance, mask, value, factor)."""

    move: list[jax.Array]
    mean: Values
    covariance: Values
    mask: Values
    value: Values
    factor: Values


def check_linear(step: Step, beginning: Beginning, batch: Batch) -> tuple[tuple[str, str], ...]:
    """Raise NotLinear, with the operation and the user's line, if the step or the start is not proven to be linear-Gaussian.

    Returns lines for the repr: where a value that depends on the state is rounded.
    """
    notes = _start(step, beginning, batch)
    latents = {name: _like(site.value) for name, site in step.latents.items()}
    state = {i: _like(value) for i, value in step.before.items()}
    lines: dict[str, Any] = {}

    def laws(tracked: tuple[dict[int, Any], Values], inputs: Any) -> _Laws:
        after, sites = step.run(*tracked, inputs)
        lines.update({name: site.line for name, site in sites.items()})
        moved = [jnp.asarray(after[i], jnp.float_) for i in step.names]
        return _laws(moved, sites, list(step.latents), [*step.observed, *step.factors], batch)

    proof = prove(laws, (state, latents), step.first())
    names = ", ".join(f"'{name}'" for name in latents)
    moves = [
        f"the new state ('{name}') is not an affine function of the old one and of site {names}"
        for name in step.names.values()
    ]
    _refuse(proof, moves, "the state", lines)
    return (*notes, *_notes(proof))


def _start(step: Step, beginning: Beginning, batch: Batch) -> tuple[tuple[str, str], ...]:
    """The same of the sites of the initial state, and of what was seen of it before the scan."""
    if not beginning.sites:
        return ()
    values = {name: _like(site.value) for name, site in beginning.sites.items()}
    lines = {name: site.line for name, site in (beginning.sites | beginning.seen).items()}

    def laws(tracked: Values) -> _Laws:
        leaves, sites = beginning.at(tracked)
        started = [jnp.asarray(leaves[i], jnp.float_) for i in step.names]
        return _laws(started, sites, list(beginning.sites), list(beginning.seen), batch)

    proof = prove(laws, values)
    names = ", ".join(f"'{name}'" for name in values)
    _refuse(
        proof,
        [f"the first state is not an affine function of site {names}"] * len(step.names),
        "the first state",
        lines,
    )
    return _notes(proof)


def _laws(moved: list, sites: dict[str, Sample], latents: list[str], observed: list[str], batch: Batch) -> _Laws:
    own = [name for name in observed if is_seen_in_each(sites[name], batch)]
    found = {name: gaussian(sites[name], batch) for name in (*latents, *own)}
    return _Laws(
        moved,
        {name: mean for name, (mean, _, _) in found.items()},
        {name: covariance for name, (_, covariance, _) in found.items()},
        {name: unmasked(sites[name].fn, sites[name].fn.shape()) for name in found},
        {name: found[name][2] for name in own},
        {name: log_density(sites[name], batch) for name in observed if name not in own},
    )


def _refuse(proof: Proof, moves: list[str], what: str, lines: dict[str, Any]) -> None:
    laws: _Laws = proof.degrees
    for kind, must in (
        ("move", AFFINE), ("mean", AFFINE), ("mask", INDEPENDENT), ("covariance", INDEPENDENT),
        ("value", INDEPENDENT), ("factor", INDEPENDENT),
    ):  # fmt: skip
        each = getattr(laws, kind)
        named: list[tuple[str, str, Degrees]] = (
            [(text, "", degrees) for text, degrees in zip(moves, each, strict=True)]
            if kind == "move"
            else [(_TEXTS[kind].format(name=name, what=what), name, degrees) for name, degrees in each.items()]
        )
        for text, name, degrees in named:
            if worst(degrees) > must:
                raise NotLinear(text + _because(proof.blame(degrees), lines.get(name), must))


_TEXTS = {
    "mean": "the mean of site '{name}' is not affine in {what}",
    "covariance": "the covariance of site '{name}' depends on {what}",
    "mask": "what is masked of site '{name}' depends on {what}",
    "value": "the observed value of site '{name}' depends on {what}",
    "factor": "the log factor of site '{name}' depends on {what}",
}


def _because(operation: Operation | None, site: Any, must: int) -> str:
    """The operation and its line; where that is not the user's, the line of the site, and the operation if it is to blame."""
    line = operation.line() if operation else None
    if operation and (line or must == AFFINE):
        return f": {operation.words()}" + (f", {line or site}" if line or site else "")
    return f", {site}" if site else ""


def _notes(proof: Proof) -> tuple[tuple[str, str], ...]:
    lines = dict.fromkeys(str(operation.line() or operation.words()) for operation in proof.rounded)
    return tuple(("rounded", f"to fewer digits than it is read with: {line}") for line in lines)


def _like(value: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(jnp.shape(value), jnp.float_)
