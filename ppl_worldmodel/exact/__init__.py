"""Exact inference on arrays: `finite` (hidden Markov models, POMDPs) and `gaussian` (Kalman), the same verbs in both."""

from ppl_worldmodel.exact import finite, gaussian
from ppl_worldmodel.exact.system import FiniteState, LinearGaussian, Structure

__all__ = ["FiniteState", "LinearGaussian", "Structure", "finite", "gaussian"]
