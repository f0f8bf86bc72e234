"""Which part of a step is the state, and which part merely runs along?  Found by running the step once on placeholders."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array
from numpyro.distributions import Distribution, Unit

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.program.dependence import dependence
from ppl_worldmodel.program.sites import Sample, Scan, run_step


class Step(NamedTuple):
    """A step taken apart.

    states    {index of the carry's leaf: the latent site whose value that leaf is}
    observed  names of the observed sites
    about     lines for the repr
    series    the inputs of every step: (leaves of the carry that run along, the scan's inputs), leading axis time
    """

    states: dict[int, Sample]
    observed: tuple[str, ...]
    about: tuple[tuple[str, str], ...]
    series: Any
    treedef: Any

    def first(self) -> Any:
        """The inputs of the first step."""
        return jax.tree.map(lambda leaf: leaf[0], self.series)

    def carry(self, inputs: Any, states: dict[int, Array]) -> tuple[Any, Any]:
        """The carry made of the given states and what runs along, and the scan's own inputs."""
        along, inputs = inputs
        return jax.tree.unflatten(self.treedef, [(states | along)[i] for i in range(self.treedef.num_leaves)]), inputs


def take_apart(scan: Scan) -> Step:
    """Recognise the state: the leaves of the new carry that ARE the value of a latent site of the step."""
    leaves, treedef = jax.tree.flatten(scan.init)
    inputs = jax.tree.map(lambda leaf: leaf[0], scan.inputs)
    carry, _, sites = run_step(scan.step, scan.init, inputs, {})
    after = jax.tree.leaves(carry)
    if str(jax.tree.structure(carry)) != str(treedef):
        raise NotExactlySolvable(
            f"the step returns a carry of structure {jax.tree.structure(carry)}, but was given {treedef}"
        )
    latent = {site.name: site for site in sites if not site.observed}
    states = {i: site for i, leaf in enumerate(after) for site in latent.values() if leaf is site.value}
    loose = set(latent) - {site.name for site in states.values()}
    if not latent:
        raise NotExactlySolvable("the step samples no latent state: give the data, so that observed sites are observed")
    if loose:
        name = sorted(loose)[0]
        raise NotExactlySolvable(
            f"the step does not carry the value of its latent site '{name}' on as it is: return it as (part of) the new carry, "
            "or, if it is an observation, give the data"
        )
    along = {i: jnp.asarray(leaf) for i, leaf in enumerate(leaves) if i not in states}
    series = (_run_along(scan, states, along, treedef), scan.inputs)
    observed = [site for site in sites if site.observed and not isinstance(site.fn, Unit)]
    about = tuple(("observation", f"site '{site.name}', {kind(site.fn)}") for site in observed)
    return Step(states, tuple(site.name for site in observed), about, series, treedef)


def _run_along(scan: Scan, states: dict[int, Sample], along: dict[int, Array], treedef: Any) -> dict[int, Array]:
    """The values, at every step, of the leaves of the carry that are not the state: time, a previous observation."""
    if not along:
        return {}
    values = {i: site.value for i, site in states.items()}

    def step(along, latent, inputs):
        carry = jax.tree.unflatten(treedef, [(latent | along)[i] for i in range(treedef.num_leaves)])
        named = {site.name: latent[i] for i, site in states.items()}
        after = jax.tree.leaves(run_step(scan.step, carry, inputs, named)[0])
        return {i: jnp.asarray(after[i]) for i in along}

    first = jax.tree.map(lambda leaf: leaf[0], scan.inputs)
    for i, needs in dependence(step, along, values, first).items():
        if 1 in needs:
            raise NotExactlySolvable(
                f"leaf {i} of the carry is computed from the state and is not itself a sampled state: carry only sampled states, "
                "and values that do not depend on them"
            )
    return lax.scan(lambda along, inputs: (step(along, values, inputs), along), along, scan.inputs, length=scan.length)[
        1
    ]


def kind(fn: Distribution) -> str:
    """The family of a distribution, masks and batches aside, as its user wrote it."""
    while hasattr(fn, "base_dist") and type(fn).__name__ in (
        "MaskedDistribution",
        "Independent",
        "ExpandedDistribution",
    ):
        fn = fn.base_dist
    return type(fn).__name__.removesuffix("Probs").removesuffix("Logits")
