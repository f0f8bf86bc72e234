"""Information criteria: AIC, BIC, DIC, and PSIS-LOO of the one-step terms.

They stand beside leave-future-out scores and evidence, and do not replace them. AIC and BIC use one point, the maximum of the
likelihood, and count parameters; where a parameter lies on its boundary, or states may exchange names, their count is wrong. DIC
takes the posterior mean of the log density for its centre, which has no meaning where the posterior has several modes. LOO leaves
out one term but learns from the FUTURE of that term: it measures how well a gap is filled in, not how well the next step is
predicted.

The terms of LOO are smoothed by ArviZ (`infer.psis`); its `loo` asks for a tree, and here there are arrays at hand.

Source: Akaike (1974), IEEE Trans. Automatic Control 19; Schwarz (1978), Annals of Statistics 6; Spiegelhalter et al. (2002), J.
Royal Statistical Society B 64, with the variance form of Gelman, Hwang & Vehtari (2014), Statistics and Computing 24, equation 10;
Vehtari, Gelman & Gabry (2017), Statistics and Computing 27.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy import optimize

from ppl_worldmodel.infer.psis import psis
from ppl_worldmodel.program.coordinates import Coordinates


class Criteria(NamedTuple):
    """max_log_likelihood  in nats; aic, bic, dic on the deviance scale (twice the nats, smaller is better)
    loo  expected log density in nats; loo_bad: number of steps whose Pareto k-hat is above 0.7
    """

    parameters: int
    max_log_likelihood: float
    aic: float
    bic: float
    dic: float
    loo: float
    loo_bad: int


def criteria(
    space: Coordinates, draws: Float[np.ndarray, "chain draw size"], terms: Float[np.ndarray, "chain draw time"]
) -> Criteria:
    """All criteria of a model.

    draws, terms  of the posterior: vectors z of `space`, and their one-step terms log p(y_t | y_1:t-1, z)
    """
    observed = np.abs(terms).max(axis=(0, 1)) > 0  # a step at which nothing was seen has terms of exactly zero
    total = terms.sum(axis=-1)
    highest = _maximum(space, draws[np.unravel_index(int(total.argmax()), total.shape)])
    seen = int(observed.sum())
    scores = [_left_out(terms[..., t]) for t in np.flatnonzero(observed)]
    return Criteria(
        parameters=space.size,
        max_log_likelihood=highest,
        aic=2.0 * space.size - 2.0 * highest,
        bic=space.size * float(np.log(seen)) - 2.0 * highest,
        dic=-2.0 * float(total.mean()) + 2.0 * float(total.var()) if total.size > 1 else -2.0 * highest,
        loo=float(sum(score for score, _ in scores)),
        loo_bad=sum(k > 0.7 for _, k in scores),
    )


def _maximum(space: Coordinates, start: Float[np.ndarray, " size"]) -> float:
    """The largest log likelihood that a quasi-Newton search from the best draw finds."""

    def negative(z: jax.Array) -> jax.Array:
        return -space.density(z).terms.sum()

    if not space.size:
        return -float(negative(jnp.zeros(0)))
    found = optimize.minimize(jax.jit(jax.value_and_grad(negative)), start, jac=True, method="L-BFGS-B")
    return -float(min(found.fun, negative(jnp.asarray(start))))


def _left_out(terms: Float[np.ndarray, "chain draw"]) -> tuple[float, float]:
    log_weight, k = psis(-terms)
    return float(np.logaddexp.reduce((log_weight + terms).ravel())), k
