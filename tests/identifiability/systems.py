"""Linear-Gaussian systems whose state is stationary, and the steady Kalman filter by hand."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from ppl_worldmodel.exact.system import LinearGaussian, Order

from ..exact.systems import random_gaussian


def stationary(seed: int, order: Order = "emission first", steps: int = 7) -> LinearGaussian:
    """A random system, scaled to a largest eigenvalue of 0.9."""
    system = random_gaussian(seed, order, steps=steps)
    return system._replace(A=0.9 * system.A / np.abs(np.linalg.eigvals(system.A)).max())


def matrices(system: LinearGaussian) -> tuple[np.ndarray, ...]:
    """A, C, Q, R."""
    return tuple(np.asarray(getattr(system, name)) for name in "ACQR")


def filtered_by_hand(A: Any, C: Any, Q: Any, R: Any, steps: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """The predicted covariance after many textbook steps, and the gain of the last one."""
    P = np.eye(len(A))
    for _ in range(steps):
        gain = P @ C.T @ np.linalg.inv(C @ P @ C.T + R)
        P = A @ (P - gain @ C @ P) @ A.T + Q
    return P, P @ C.T @ np.linalg.inv(C @ P @ C.T + R)


def of(A: Any, C: Any, Q: Any, R: Any) -> LinearGaussian:
    """A system written down by its matrices (numbers count as such), with seven observations of zero."""
    A, C, Q, R = (np.atleast_2d(matrix) for matrix in (A, C, Q, R))
    arrays = [jnp.asarray(matrix, float) for matrix in (A, np.zeros(len(A)), Q, C, np.zeros(len(R)), R)]
    return LinearGaussian(jnp.zeros(len(A)), jnp.eye(len(A)), *arrays, observations=jnp.zeros((7, len(R))))


def change_basis(system: LinearGaussian, M: np.ndarray) -> LinearGaussian:
    """The same system in the coordinates M x of its state."""
    back = np.linalg.inv(M)
    return system._replace(
        initial_mean=system.initial_mean @ M.T,
        initial_covariance=M @ system.initial_covariance @ M.T,
        A=M @ system.A @ back,
        b=system.b @ M.T,
        Q=M @ system.Q @ M.T,
        C=system.C @ back,
    )
