"""Bayesian vector autoregression (VAR): a stateless baseline for real-valued series, with all parameters integrated out.

In units u = (y - location) / scale: u_t = B' z_t + e_t, z_t = (1, u_t-1, ..., u_t-order, indicators of the action), e_t ~ N(0, S).
Order 0 means independent draws. The prior is a finite mixture, over fractions f, of conjugate ones:

    S ~ inverse Wishart with mean f^2 I and dim_y + 2 degrees of freedom,    B | S ~ matrix normal(0, I / f^2, S)

so that, on average, each entry of B has mean 0 and standard deviation 1: the intercept lies within about `scale` of `location`,
coefficients are shrunk to zero, and the noise is a fraction of `scale`. A single conjugate prior would tie the noise to `scale`
itself, although the noise is far smaller where the past predicts well. The mixture over f costs the evidence log 6 nats at most.
Given f the one-step predictive is a multivariate Student t.

Missing values: the observed part of a row is predicted (the marginal of the Student t), but only whole rows update B and S. Among
the regressors a missing value is replaced by `location`. The predictives are those of a model of the observed values that does so.

Source: Karlsson (2013), Handbook of Economic Forecasting 2B, chapter 15, section 3.2 (the conjugate prior and its Student t);
Gelman et al. (2013), Bayesian Data Analysis, section 3.6.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.special import gammaln, logsumexp

FRACTIONS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)


def reals(
    observed: Float[np.ndarray, "time dim_y"],
    *,
    order: int,
    location: Float[np.ndarray, " dim_y"],
    scale: Float[np.ndarray, " dim_y"],
    actions: Int[np.ndarray, " time"] | None = None,
    fractions: tuple[float, ...] = FRACTIONS,
) -> Float[np.ndarray, " time"]:
    """log p(y_t | y_1:t-1, actions), in nats, of a vector autoregression; 0 where a whole row is missing.

    order            how many rows back it looks; 0: independent draws
    location, scale  of each component: its prior location and scale
    actions          whole numbers; each has an intercept of its own beside the common one
    fractions        of `scale` that the noise may have, equally likely a priori
    """
    units = (observed - location) / scale
    regressors = _regressors(units, order, actions)
    each = np.array([_student_t(units, regressors, fraction) for fraction in fractions])
    until = logsumexp(np.cumsum(each, axis=1), axis=0) - np.log(len(fractions))
    return np.diff(until, prepend=0.0) - np.where(np.isnan(observed), 0.0, np.log(scale)).sum(axis=1)


def _regressors(units: np.ndarray, order: int, actions: np.ndarray | None) -> np.ndarray:
    """z_t, (time, regressor); zeros where the past is missing or before the start."""
    steps = len(units)
    early = np.concatenate([np.zeros((order, units.shape[1])), np.nan_to_num(units)])
    past = [early[order - lag : order - lag + steps] for lag in range(1, order + 1)]
    chosen = [] if actions is None else [actions[:, None] == np.unique(actions)]
    return np.concatenate([np.ones((steps, 1)), *past, *chosen], axis=1)


def _student_t(units: np.ndarray, z: np.ndarray, fraction: float) -> np.ndarray:
    """log p(u_t | u_1:t-1) under the conjugate prior of one fraction, all steps at once.

    With P_t the precision of B's rows, each whole row adds z z' to P and e e' / (1 + z' P^-1 z) to the inverse Wishart's scale,
    where e is its prediction error: sums of positive terms, in which nothing cancels.
    """
    dim_y, size = units.shape[1], z.shape[1]
    seen = ~np.isnan(units)
    whole = seen.all(axis=1)
    filled = np.where(seen, units, 0.0)

    precision = fraction**2 * np.eye(size) + _before(np.einsum("ti,tj->tij", z, z) * whole[:, None, None])
    B = np.linalg.solve(precision, _before(np.einsum("ti,tj->tij", z, filled) * whole[:, None, None]))
    error = np.where(seen, filled - np.einsum("tij,ti->tj", B, z), 0.0)
    spread = 1.0 + np.einsum("ti,ti->t", z, np.linalg.solve(precision, z[..., None])[..., 0])
    learned = np.einsum("ti,tj->tij", error, error) * (whole / spread)[:, None, None]
    freedom = 3.0 + _before(whole.astype(float))  # of the Student t: those of the inverse Wishart less dim_y - 1
    scatter = fraction**2 * np.eye(dim_y) + _before(learned)

    # The marginal of the observed entries: a missing one gets a scale of one of its own, and no error.
    both = seen[:, :, None] & seen[:, None, :]
    shape = np.where(both, scatter * (spread / freedom)[:, None, None], np.eye(dim_y))
    distance = np.einsum("ti,ti->t", error, np.linalg.solve(shape, error[..., None])[..., 0])
    number = seen.sum(axis=1)
    return (
        gammaln((freedom + number) / 2.0)
        - gammaln(freedom / 2.0)
        - 0.5 * number * np.log(np.pi * freedom)
        - 0.5 * np.linalg.slogdet(shape)[1]
        - 0.5 * (freedom + number) * np.log1p(distance / freedom)
    )


def _before(terms: np.ndarray) -> np.ndarray:
    """At each step the sum of the terms of all earlier steps."""
    return np.cumsum(np.concatenate([np.zeros_like(terms[:1]), terms[:-1]]), axis=0)
