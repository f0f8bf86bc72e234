"""The decision problem of a program: T, O and R as arrays, read off its own step at every action and observation.

The program is given one time step for each pair of an action and an observation. Its exact system then has, step by step, the
transition T[a] and the likelihood O[a, :, o]; the site `reward` is taken from the same step, at every state and move. So nothing is
restated beside the program, and what `read` refuses is refused here, too.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import jax
import numpy as np

from ppl_worldmodel.control.pomdp import Pomdp, checked
from ppl_worldmodel.control.read_reward import REWARD, ROUNDING, rewards
from ppl_worldmodel.errors import DataError, NotExactlySolvable
from ppl_worldmodel.files.load import Loaded, load, of_function
from ppl_worldmodel.program.finite.support import listed_support
from ppl_worldmodel.program.intercept import Beginning, visit
from ppl_worldmodel.program.parameters import given
from ppl_worldmodel.program.reading import read
from ppl_worldmodel.program.simulate import as_data, simulate
from ppl_worldmodel.program.sites import Scan, run_step
from ppl_worldmodel.program.start import starting_sites

Arrays = tuple[np.ndarray, np.ndarray]


def read_decision(
    model: Callable | str | Loaded,
    parameters: Mapping[str, Any] | None = None,
    *,
    action: str = "actions",
    actions: Sequence[Any] | None = None,
    data: Mapping[str, Any] | None = None,
) -> Pomdp:
    """The finite decision problem of a program at given parameters.

    model       a NumPyro program whose step takes an action and has a site `reward`, deterministic or sampled; or the name of a
                shipped model, or a model file
    parameters  values of its parameter sites; None: the model's truth
    action      which argument of the program is the series of actions, (time,)
    actions     the values that an action takes; None: 0, 1, ... for each label in the model's coords["action"]
    data        further arguments of the program, the same at every step

    An action is taken in state s, earns R[a, s] (its mean), moves the state to s', and o is seen there. A program whose step
    observes first is read, too, if what is seen does not depend on the action: the agent then sees an observation before its first
    action.
    Raises NotExactlySolvable where T, O and R are not all that there is to the problem: no reward, a continuous state, observations
    that cannot be listed, a step that depends on time or on earlier observations; DataError for arguments that do not fit.
    """
    loaded = load(model) if isinstance(model, str) else model
    loaded = loaded if isinstance(loaded, Loaded) else of_function(loaded)
    values = parameters if parameters is not None else loaded.truth or {}
    labels = {name: tuple(some) for name, some in (loaded.coords or {}).items()}
    if actions is None and "action" not in labels:
        raise DataError(f"which values does '{action}' take? Give actions=range(2), or as many as there are")
    chosen = np.asarray(range(len(labels["action"])) if actions is None else list(actions))
    if chosen.ndim != 1 or not chosen.size:
        raise DataError(f"the actions have shape {chosen.shape}: expected a list of the values that '{action}' takes")
    others = dict(data or {})
    supports, named = _observed(loaded.model, values, action, chosen, others)
    cases = list(product(chosen, *supports))
    number, seen = len(cases), len(cases) // len(chosen)
    # All cases forward, then backward: what a step makes of its case must not depend on where it stands.
    columns = [np.concatenate([column, column[::-1]]) for column in map(np.asarray, zip(*cases, strict=True))]
    reading = read(loaded.model, {**others, **dict(zip((action, *named), columns, strict=True))}, values)
    system: Any = reading.exact
    if system.num_states is None:
        raise NotExactlySolvable("the state is continuous: a finite decision problem has states that can be listed")
    if system.structure.sequences:
        raise NotExactlySolvable("the program has several independent series: a decision problem is about one")
    transition = np.broadcast_to(np.asarray(system.transition), (2 * number, *system.transition.shape[-2:]))
    likelihood = np.exp(np.asarray(system.log_likelihood))
    for each in (transition, likelihood):
        if not np.allclose(each[:number], each[number:][::-1], rtol=ROUNDING, atol=ROUNDING):
            raise NotExactlySolvable(
                "the step depends on the time, or on what was seen or done before: put that into the state"
            )
    shape = (len(chosen), seen)
    T, order = transition[:number].reshape(*shape, *transition.shape[1:]), system.structure.order
    if not np.allclose(T, T[:, :1], rtol=ROUNDING, atol=ROUNDING):
        raise NotExactlySolvable("the next state depends on the observation: let the observation depend on the state")
    O = _observation(likelihood[:number].reshape(*shape, *likelihood.shape[1:]), order)
    reward = rewards(reading, values, number).reshape(*shape, *T.shape[2:])
    # The observation of a step is made in the new state, or, where it comes first, in the old one.
    weights = "ato" if order != "emission first" else "aso"
    R = np.einsum(f"ast,{weights},aost->as", T[:, 0], O, reward)
    moves = {"emission first": "observe, act, move"}.get(order, "act, move, observe")
    return checked(
        Pomdp(
            initial=np.asarray(system.initial), transition=T[:, 0], observation=O, reward=R,
            states=labels.get("state", system.structure.labels), actions=labels.get("action", tuple(chosen.tolist())),
            observations=labels.get("obs", _names([case[1:] for case in cases[:seen]])),
            about=(f"each step: {moves}; reward from the site '{REWARD}'",),
        )
    )  # fmt: skip


def _names(values: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Plain numbers, or tuples of them where several sites are observed."""
    plain = [tuple(np.asarray(part).item() for part in value) for value in values]
    return tuple(value[0] if len(value) == 1 else value for value in plain)


def _observed(
    model: Callable, values: Mapping[str, Any], action: str, chosen: np.ndarray, others: dict[str, Any]
) -> tuple[list[np.ndarray], list[str]]:
    """The values that each observed site takes, and the argument that gives it, from a short simulated series; rewards left out."""
    arguments = {action: chosen, **others}
    sites = simulate(model, values, jax.random.key(0), **arguments)
    free = {name: value for name, value in as_data(model, sites, arguments).items() if name not in arguments}
    stands = {name: next(site for site, drawn in sites.items() if drawn is value) for name, value in free.items()}
    named = {name: site for name, site in stands.items() if site != REWARD}
    if not named:
        raise NotExactlySolvable("the program observes nothing: a decision problem needs something that is seen")
    for name, site in named.items():
        if np.ndim(free[name]) != 1:
            raise NotExactlySolvable(
                f"the observation of site '{site}' has shape {np.shape(free[name])}: expected one number a step"
            )
    full = {**arguments, **{name: free[name] for name in named}}

    def work(scan: Scan, beginning: Beginning) -> list[np.ndarray]:
        first = jax.tree.map(lambda leaf: leaf[0], scan.inputs)
        met = {site.name: site for site in run_step(scan.step, scan.init, first, {})[2]}
        return [listed_support(met[site]) for site in named.values()]

    return visit(given(model, values), starting_sites(model, full), full, work), list(named)


def _observation(likelihood: np.ndarray, order: str) -> np.ndarray:
    """O[a, s', o], from the likelihood (action, seen, state) or (action, seen, state, state)."""
    if order == "both states":
        if not np.allclose(likelihood, likelihood[:, :, :1], rtol=ROUNDING, atol=ROUNDING):
            raise NotExactlySolvable(
                "what is seen depends on the state before the move: carry that state on as a part of the new one"
            )
        likelihood = likelihood[:, :, 0]
    if order == "emission first" and not np.allclose(likelihood, likelihood[:1], rtol=ROUNDING, atol=ROUNDING):
        raise NotExactlySolvable(
            "the step observes before it moves, and what is seen depends on the action: observe after the move, with the old state "
            "as a part of the new one"
        )
    O = np.moveaxis(likelihood, 1, -1)
    total = O.sum(axis=-1)
    if not np.allclose(total, 1.0, rtol=0.0, atol=1e-6):
        worst = total.flat[int(np.abs(total - 1.0).argmax())]
        raise NotExactlySolvable(
            f"the probabilities of all observations sum to {worst:.6g}, not to one: a step has "
            "a factor or a scaled density besides its observations"
        )
    return O
