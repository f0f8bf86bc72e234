"""Joint values of the latent sites of a finite program, step by step, for samplers that set them and ask for the log density."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ppl_worldmodel.program.batch import Batch
from ppl_worldmodel.program.finite.state_table import Listed, listed_sites
from ppl_worldmodel.program.intercept import Beginning
from ppl_worldmodel.program.jaxprs.dependence import dependence
from ppl_worldmodel.program.missing.masking import Gaps
from ppl_worldmodel.program.reading import Reading
from ppl_worldmodel.program.sites import Scan, is_delta
from ppl_worldmodel.program.step import Step, take_apart
from ppl_worldmodel.program.system import system_of


class Layout(NamedTuple):
    """batch     which axes are independent sequences
    starts    joint values of the initial state's sites; outcomes  joint values of the latent sites of a step
    memory    how many steps later a latent site's value still matters directly; at most the length of the series
    gaps      the missing observations that the program goes on to use, and that are latent sites
    """

    batch: Batch
    starts: Listed
    outcomes: Listed
    memory: int
    gaps: Gaps

    def values(self, path: Array) -> dict[str, Array]:
        """The sites' values of a path (*sequence, 1 + time) of numbers of joint values: first the start, then the outcomes."""
        found = {name: self._spread(values, path[..., 0]) for name, values in self.starts.values.items()}
        steps = jnp.moveaxis(path[..., 1:], -1, 0)
        each = jax.vmap(lambda number: {n: self._spread(v, number) for n, v in self.outcomes.values.items()})
        return found | each(steps)

    def _spread(self, values: np.ndarray, number: Array) -> Array:
        return jnp.asarray(values)[number].reshape(*self.batch.shape, *values.shape[1:])


def layout(reading: Reading) -> Layout:
    """The layout of a finite program's latent sites, at the given values of its parameters."""
    found: list[Layout] = []

    def look(scan: Scan, beginning: Beginning) -> None:
        step = take_apart(scan, beginning)
        _, batch, table = system_of(step, beginning, reading.plan)
        assert table is not None
        drawn = {name: site for name, site in beginning.sites.items() if not is_delta(site.fn)}
        starts = listed_sites(drawn, batch) if table.starts is None else table.starts[0]
        memory = min(_memory(step), scan.length)
        found.append(Layout(batch, starts, table.outcomes, memory, reading.plan.gaps))

    jax.eval_shape(lambda: reading.visit(look, reading.values))
    return found[0]


def _memory(step: Step) -> int:
    """One step for a state that is made from what is drawn, one more for each time that it is handed on, changed or not; no end
    where it is handed on to itself.
    """
    latents = {name: site.value for name, site in step.latents.items()}

    def moved(*state: Any) -> list[Any]:
        return list(step.run(dict(zip(step.names, state, strict=True)), latents, step.first())[0].values())

    needs = dependence(moved, *step.before.values())
    before = [[j for j in range(len(step.names)) if j in found] for found in needs]

    def lag(leaf: int, passed: tuple[int, ...] = ()) -> int:
        if leaf in passed:
            return step.scan.length
        return 1 + max((lag(old, (*passed, leaf)) for old in before[leaf]), default=0)

    return max(lag(leaf) for leaf in range(len(step.names)))
