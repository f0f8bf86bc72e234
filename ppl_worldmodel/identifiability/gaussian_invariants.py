"""Invariants of a linear-Gaussian system under a change of state coordinates: modes, steady innovations, spectrum.

With x~ = M x for any invertible M the likelihood is the same. A, Q and C of two posteriors, or of two draws, therefore cannot be
compared. These can: how an innovation moves the forecasts, the size of innovations, the spectrum, and the eigenvalues of A. Offsets
(b, d) and the first state matter for the evidence alone.

Source: Anderson & Moore (1979), Optimal Filtering, chapters 4 (the steady filter) and 9 (innovations); Hannan & Deistler (1988),
The Statistical Theory of Linear Systems, chapter 1.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ppl_worldmodel.exact import LinearGaussian, Structure, gaussian
from ppl_worldmodel.exact.sequences import each_sequence
from ppl_worldmodel.identifiability import eigenvalues, riccati

NEEDS = {
    **dict.fromkeys(("persistence", "angle", "half_life", "period"), "A"),
    **dict.fromkeys(("innovation_covariance", "gain", "response", "spectrum", "autocovariance"), "AQCR"),
}
DIMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("persistence", "angle", "half_life", "period"), ("mode",)),
    **dict.fromkeys(("innovation_covariance", "gain"), ("dim_y", "dim_y_bis")),
    **dict.fromkeys(("response", "autocovariance"), ("lag", "dim_y", "dim_y_bis")),
    "spectrum": ("frequency", "dim_y"),
}
ROUNDING = 1e-7  # of a double eigenvalue


def undefined(structure: Structure) -> dict[str, str]:
    """The names that `invariants` leaves out, with the reason."""
    changing = {name: "".join(sorted(structure.varying & set(needed))) for name, needed in NEEDS.items()}
    return {
        name: f"{', '.join(matrices)} {'vary' if len(matrices) > 1 else 'varies'} in time"
        for name, matrices in changing.items()
        if matrices
    }


@each_sequence
def invariants(system: LinearGaussian, *, horizon: int = 20, num_frequencies: int = 64) -> dict[str, Array]:
    """Quantities of a system that do not depend on the coordinates of its state.

    persistence            moduli of the eigenvalues of A, in falling order (mode,); above 1: explosive
    angle                  of the same eigenvalues, in radians per step (see `Modes`)
    half_life              steps until half of a mode is left; infinite for a unit root (a modulus above 1 - 1e-7)
    period                 steps in which it turns once; infinite if it does not turn (an angle below 1e-7), 2 if it alternates
    innovation_covariance  C P C' + R of the steady filter, (dim_y, dim_y)
    gain                   C K, the share of an innovation that enters the estimate of C x, (dim_y, dim_y)
    response               C A^k K, how an innovation of one moves the expected observation k = 0 ... horizon steps later (impulse
                           response); column: the component of the innovation, (lag, dim_y, dim_y)
    autocovariance         cov(y_t+k, y_t | x_0) for large t and k = 0 ... horizon, (lag, dim_y, dim_y)
    spectrum               its sum over all k, weighted by e^(-iwk), of each component at `frequencies(num_frequencies)`,
                           (frequency, dim_y); defined for unit roots, too
    log_evidence           log p(y_1:T)

    NaN: innovation_covariance, gain and response where the filter has no steady state, because a mode that noise drives neither
    decays nor is observed (or because a mode without noise explodes); autocovariance where the variance grows without bound.
    Quantities that need a matrix that varies in time are left out; `undefined` says why. The modes of a state's `extra`
    coordinates, which only repeat parts of it, are zero.
    """
    found, varying = {"log_evidence": gaussian.log_evidence(system).sum()}, system.structure.varying
    if "A" not in varying:
        found |= _of_motion(system.A)
    if not varying & set("AQCR"):
        found |= _from_outside(system.A, system.Q, system.C, system.R, horizon, num_frequencies)
    return found


def frequencies(count: int) -> Float[Array, " frequency"]:
    """`count` frequencies in radians per step: the midpoints of equal parts of [0, pi], none of them at 0, the pole of a trend."""
    return jnp.pi * (jnp.arange(count) + 0.5) / count


@jax.jit
def _of_motion(A: Array) -> dict[str, Array]:
    modulus, angle = eigenvalues.falling(jnp.linalg.eigvals(A))
    half_life, period = jnp.log(2.0) * eigenvalues.relaxation(modulus, ROUNDING), eigenvalues.period(angle, ROUNDING)
    return {"persistence": modulus, "angle": angle, "half_life": half_life, "period": period}


@partial(jax.jit, static_argnums=(4, 5))
def _from_outside(A: Array, Q: Array, C: Array, R: Array, horizon: int, num_frequencies: int) -> dict[str, Array]:
    P, S = riccati.predicted(A, C, Q, R), riccati.settled(A, Q)
    innovation = C @ P @ C.T + R
    gain = jnp.linalg.solve(innovation, C @ P).T
    response = _through(A, C, gain, horizon)
    of_noise = jnp.zeros((horizon + 1, *R.shape)).at[0].set(R)
    return {
        "innovation_covariance": innovation,
        "gain": response[0],
        "response": response,
        "autocovariance": _through(A, C, S @ C.T, horizon) + of_noise,
        "spectrum": _spectrum(A, Q, C, R, frequencies(num_frequencies)),
    }


def _through(A: Array, C: Array, start: Array, horizon: int) -> Array:
    """C A^k start for k = 0 ... horizon."""
    return lax.scan(lambda state, _: (A @ state, C @ state), start, length=horizon + 1)[1]


def _spectrum(A: Array, Q: Array, C: Array, R: Array, at: Array) -> Array:
    """The diagonals of C (e^iw I - A)^-1 Q (...)^H C' + R."""

    def one(frequency: Array) -> Array:
        turned = jnp.exp(1j * frequency) * jnp.eye(A.shape[-1]) - A
        transfer = jnp.linalg.solve(turned.T, C.T + 0j).T
        return jnp.einsum("yi,ij,yj->y", transfer, Q, transfer.conj()).real + jnp.diagonal(R)

    return jax.vmap(one)(at)
