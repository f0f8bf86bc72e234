"""Riccati and Lyapunov equations: steady covariances of a Kalman filter and of an unobserved linear system, by doubling.

Both are P = F P (I + G P)^-1 F' + H, in which G is the information of one observation (zero without any). Two steps are one step of
the same form, so that thirty doublings are 2^30 steps. They are taken in the state's own units, in which all that noise builds up
has variance one. Directions that noise does not reach are left out: their uncertainty vanishes in the end if they are observed or
decay, and never matters if they are not observed. A unit root that is observed is no obstacle, nor are singular Q and R.

The answer is NaN if a mode that noise drives neither decays nor is observed (F does not vanish after the last doubling), if
rounding errors decide, and if a mode without noise explodes.

SciPy's solvers, with which the tests compare, can neither be mapped over draws (`jax.vmap`) nor differentiated.

Source: Anderson (1978), Int. J. Control 28 (doubling); Chu, Fan, Lin & Wang (2004), Int. J. Control 77 (its convergence).
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ppl_worldmodel.exact.kalman import symmetric

DOUBLINGS = 30
TOLERANCE = 1e-6  # of what is left of the start, of the answer's misfit, of how far a double unit root seems to explode
UNSEEN = 1e12  # times the variance that noise builds up: a larger variance is observed through rounding errors only


def settled(A: Float[Array, "dim_x dim_x"], Q: Float[Array, "dim_x dim_x"]) -> Float[Array, "dim_x dim_x"]:
    """The covariance of x_t given x_0 for large t, S = A S A' + Q (Lyapunov); NaN if it grows without bound."""
    into, back, reached = _units(A, Q)
    both = reached[:, None] & reached[None, :]
    F, H = jnp.where(both, into @ A @ back, 0.0), jnp.where(both, into @ Q @ into.T, 0.0)
    covariance, forgotten = _doubled(F, jnp.zeros_like(F), H)
    return jnp.where(forgotten, symmetric(back @ covariance @ back.T), jnp.nan)


def predicted(
    A: Float[Array, "dim_x dim_x"],
    C: Float[Array, "dim_y dim_x"],
    Q: Float[Array, "dim_x dim_x"],
    R: Float[Array, "dim_y dim_y"],
) -> Float[Array, "dim_x dim_x"]:
    """The covariance of p(x_t | y_1:t-1) for large t, P = A (P - P C' (C P C' + R)^-1 C P) A' + Q (Riccati).

    It is right to about 1e-8 only where a noise is barely observable (a moving average that is barely invertible).
    """
    into, back, reached = _units(A, Q)
    both, neither = reached[:, None] & reached[None, :], ~reached[:, None] & ~reached[None, :]
    whole = into @ A @ back
    A, C, Q = jnp.where(both, whole, 0.0), C @ back * reached, jnp.where(both, into @ Q @ into.T, 0.0)

    def step(P: Array) -> tuple[Array, Array, Array]:
        weights = jnp.linalg.solve(C @ P @ C.T + R, C)
        gain = P @ weights.T
        keep = jnp.eye(A.shape[-1]) - gain @ C
        return A @ (keep @ P @ keep.T + gain @ R @ gain.T) @ A.T + Q, A @ keep, C.T @ weights

    # The unknown is P less the start; a step of it has the form above.
    start = jnp.diag(reached.astype(A.dtype))
    after, F, G = step(start)
    change, forgotten = _doubled(F, G, after - start)
    P = start + change
    size = jnp.abs(P).max()
    misfit = jnp.maximum(jnp.abs(step(P)[0] - P).max(), -jnp.diagonal(P).min())
    fits = (size < UNSEEN) & (misfit < TOLERANCE * (1.0 + size))
    tame = _radius(jnp.where(neither, whole, 0.0)) < 1.0 + TOLERANCE
    return jnp.where(forgotten & fits & tame, symmetric(back @ P @ back.T), jnp.nan)


def _doubled(F: Array, G: Array, H: Array) -> tuple[Array, Array]:
    """P after 2^DOUBLINGS steps from zero, and whether every other start leads there, too."""
    eye = jnp.eye(F.shape[-1])

    def double(_, elements):
        F, G, H = elements
        inverse = jnp.linalg.inv(eye + G @ H)
        onward = F @ inverse.T
        return onward @ F, symmetric(G + F.T @ inverse @ G @ F), symmetric(H + onward @ H @ F.T)

    F, _, H = lax.fori_loop(0, DOUBLINGS, double, (F, G, H))
    return H, _radius(F) < TOLERANCE


def _radius(matrix: Array) -> Array:
    return jnp.abs(jnp.linalg.eigvals(matrix)).max()


def _units(A: Array, Q: Array) -> tuple[Array, Array, Array]:
    """Coordinates in which the covariance that noise builds up in dim_x steps is one, or zero: the matrix into them, the one back,
    and which of them noise reaches.
    """
    total = part = Q
    for _ in range(A.shape[-1] - 1):
        part = A @ part @ A.T
        total = total + part
    scale = jnp.sqrt(jnp.diagonal(total))
    scale = jnp.where(scale > 0, scale, 1.0)
    values, vectors = jnp.linalg.eigh(symmetric(total / scale[:, None] / scale))
    reached = values > 64 * values.size * jnp.finfo(values.dtype).eps * values.max()
    root = jnp.sqrt(jnp.where(reached, values, 1.0))
    return (vectors / root).T / scale, scale[:, None] * vectors * root, reached
