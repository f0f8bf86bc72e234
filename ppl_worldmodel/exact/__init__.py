"""Exact inference on arrays: `finite` (hidden Markov models, POMDPs) and `gaussian` (Kalman), the same functions in both."""

from ppl_worldmodel.exact import finite, gaussian
from ppl_worldmodel.exact.complete_data import Path, log_joint
from ppl_worldmodel.exact.system import FiniteState, LinearGaussian, Structure

__all__ = ["FiniteState", "LinearGaussian", "Path", "Structure", "finite", "gaussian", "log_joint"]
