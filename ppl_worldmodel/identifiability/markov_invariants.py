"""Invariants of a hidden Markov chain under label switching: persistence, stationary distribution, entropy rate, evidence.

Names of hidden states can be exchanged without any change of the likelihood. Nothing here depends on the names, so that draws,
chains and engines can be compared, whatever each of them calls the states.

Source: Levin & Peres (2017), Markov Chains and Mixing Times, chapter 12 (relaxation); Cover & Thomas (2006), Elements of
Information Theory, section 4.2 (entropy rate); Grassmann, Taksar & Heyman (1985), Operations Research 33 (the long run).
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import entr
from jaxtyping import Array, Float

from ppl_worldmodel.exact import FiniteState, Structure, finite
from ppl_worldmodel.exact.sequences import each_sequence
from ppl_worldmodel.identifiability.eigenvalues import falling, relaxation

DIMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("persistence", "angle"), ("mode",)),
    **dict.fromkeys(("stationary", "dwell_time"), ("rank",)),
}
OF_ONE_MATRIX = (*DIMS, "relaxation_time", "entropy_rate")


def undefined(structure: Structure) -> dict[str, str]:
    """The names that `invariants` leaves out, with the reason."""
    if "transition" not in structure.varying:
        return {}
    return dict.fromkeys(OF_ONE_MATRIX, "the transition varies in time: there is no single chain")


@jax.jit
@each_sequence
def invariants(system: FiniteState) -> dict[str, Array]:
    """Quantities of a system that stay the same when its states exchange their names.

    persistence      moduli of the eigenvalues of T without the leading 1, in falling order (mode,); 1: more than one closed class
                     of states, or a cycle that never ends
    angle            of the same eigenvalues (see `Modes`): 0 persists, pi alternates
    relaxation_time  1 / (-log persistence[0]) in steps; 0: forgets at once (so does a single state), infinite: never forgets
    stationary       the share of time in each state in the long run, in falling order (rank,). It starts from the initial
                     belief, which matters only where there is more than one closed class; for a cycle it is the average
    dwell_time       mean number of steps in a state once it is entered, 1 / (1 - T[s, s]), in falling order (rank,); infinite
                     where it is never left
    entropy_rate     of the states in the long run, in nats per step
    move_entropy     the same over the time of the data: the entropy of the next move under the filtered belief, averaged over time
    log_evidence     log p(y_1:T)

    Where T varies in time only the last two are defined, and returned. None is ever NaN.
    """
    beliefs = finite.filter(system)
    T = system.transition
    if system.structure.order == "emission first":
        moving = beliefs.filtered
    else:
        moving = jnp.concatenate([system.initial[None], beliefs.filtered[:-1]])
    always = {
        "move_entropy": (moving * entr(T).sum(axis=-1)).sum(axis=-1).mean(),
        "log_evidence": beliefs.log_evidence,
    }
    if "transition" in system.structure.varying:
        return always
    states = T.shape[-1]
    eigenvalues = jnp.linalg.eigvals(T)
    others = falling(eigenvalues[jnp.argsort(jnp.abs(eigenvalues - 1.0))[1:]])
    persistence = jnp.minimum(others.modulus, 1.0)
    slowest = persistence[0] if states > 1 else jnp.zeros(())
    stationary, leaves = long_run(system.initial, T), (T * (1.0 - jnp.eye(states))).sum(axis=-1)
    dwell = jnp.where(leaves > 0, 1.0 / jnp.where(leaves > 0, leaves, 1.0), jnp.inf)
    return {
        "persistence": persistence,
        "angle": others.angle,
        "relaxation_time": relaxation(slowest, 16 * states * float(jnp.finfo(T.dtype).eps)),
        "stationary": jnp.sort(stationary, descending=True),
        "dwell_time": jnp.sort(dwell, descending=True),
        "entropy_rate": stationary @ entr(T).sum(axis=-1),
        **always,
    }


def long_run(initial: Float[Array, " state"], T: Float[Array, "state state"]) -> Float[Array, " state"]:
    """The stationary distribution, lim 1/n sum_t initial' T^t: the share of time in each state in the long run.

    States are eliminated one after the other, and the moves through them are added to those of the rest (Grassmann, Taksar &
    Heyman). Nothing is subtracted, so that every share is right to its own last digits, however rare the moves. The chain restarts
    from the initial belief once in 1e138 steps, which makes this defined for any T; a share below 1e-69 counts as zero.
    """
    states, restart = T.shape[-1], jnp.finfo(T.dtype).tiny ** 0.45
    number = jnp.arange(states)
    moves = T + restart * initial + restart**2 / states

    def take_out(i, carry):
        moves, leaves = carry
        last = states - 1 - i
        rest = number < last
        total = jnp.where(rest, moves[last], 0.0).sum()
        through = jnp.where(rest, moves[last] / total, 0.0)
        return moves + jnp.where(rest, moves[:, last], 0.0)[:, None] * through, leaves.at[last].set(total)

    def put_back(state, share):
        own = jnp.where(number < state, share * moves[:, state], 0.0).sum() / leaves[state]
        share = share.at[state].set(own)
        return share / share.sum()

    moves, leaves = lax.fori_loop(0, states - 1, take_out, (moves, jnp.zeros(states, T.dtype)))
    share = lax.fori_loop(1, states, put_back, jnp.zeros(states, T.dtype).at[0].set(1.0))
    share = jnp.where(share > jnp.sqrt(restart), share, 0.0)
    return share / share.sum()
