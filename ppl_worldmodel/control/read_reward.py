"""The mean reward of each move of a program: its site `reward`, deterministic or sampled, taken from the same step as T and O."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ppl_worldmodel.compiled import run_once
from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.program.finite.state_table import Table
from ppl_worldmodel.program.finite.transition import at
from ppl_worldmodel.program.intercept import Beginning
from ppl_worldmodel.program.numpyro_internals import Messenger
from ppl_worldmodel.program.reading import Reading, system_of_step
from ppl_worldmodel.program.sites import Scan
from ppl_worldmodel.program.step import Step, take_apart

REWARD = "reward"  # the name of its site
ROUNDING = 1e-9


def rewards(reading: Reading, values: Mapping[str, Any], cases: int) -> Float[np.ndarray, "case state state"]:
    """The mean reward of each of the first time steps and each move; zero for moves that are impossible.

    Raises NotExactlySolvable where there is no such site, or where it depends on more than inputs, observations and a move.
    """
    reward, table = reading.visit(lambda scan, beginning: _moves(reading, scan, beginning, cases), values)
    _, states, outcomes = reward.shape
    following = np.broadcast_to(table.following[:cases] if table.by_time else table.following, reward.shape)
    found = np.full((cases, states, states + 1), np.nan)
    for m in range(outcomes):
        at_move = np.take_along_axis(found, following[..., m : m + 1], axis=-1)[..., 0]
        if not (np.isnan(at_move) | np.isclose(at_move, reward[..., m], rtol=ROUNDING, atol=ROUNDING))[
            following[..., m] < states
        ].all():
            raise NotExactlySolvable(
                f"the site '{REWARD}' depends on something that is drawn and not carried on: make it a part of the state"
            )
        np.put_along_axis(found, following[..., m : m + 1], reward[..., m : m + 1], axis=-1)
    return np.nan_to_num(found[..., :states])


class _Earned(Messenger):
    """Keep the mean of the site `reward`."""

    value: Any = None

    def postprocess_message(self, msg):
        if msg["name"] == REWARD:
            self.value = msg["value"] if msg["type"] == "deterministic" else msg["fn"].mean


class _Moves(NamedTuple):
    """reward of each case, state and outcome, (case, state, outcome); table: which state an outcome leads to"""

    reward: np.ndarray
    table: Table


def _moves(reading: Reading, scan: Scan, beginning: Beginning, cases: int) -> _Moves:
    step = take_apart(scan, beginning)
    table = system_of_step(reading, step, beginning)[2]
    assert table is not None
    earned = _Earned()

    def watched(carry: Any, inputs: Any) -> tuple[Any, Any]:
        with earned:
            return scan.step(carry, inputs)

    running: Step = step._replace(scan=scan._replace(step=watched))

    def one(inputs: Any, state: Any, outcome: Any) -> Any:
        earned.value = None
        running.run(at(table.states, state), at(table.outcomes, outcome), inputs)
        if earned.value is None:
            raise NotExactlySolvable(
                f"the step has no site '{REWARD}': write numpyro.deterministic('{REWARD}', ...) with what an action earns"
            )
        if jnp.ndim(earned.value):
            raise NotExactlySolvable(
                f"the site '{REWARD}' has shape {jnp.shape(earned.value)}: expected one number a step"
            )
        return jnp.asarray(earned.value, float)

    states, outcomes = jnp.arange(table.states.size), jnp.arange(table.outcomes.size)
    each = jax.vmap(jax.vmap(jax.vmap(one, (None, None, 0)), (None, 0, None)), (0, None, None))
    series = jax.tree.map(lambda leaf: leaf[:cases], step.series)
    return _Moves(np.asarray(run_once(each, series, states, outcomes)), table)
