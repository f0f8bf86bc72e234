"""A workbench for Bayesian world models: the program is the model, and the exact answer is read off it.

Importing this package switches JAX to float64; every result says its dtype.
"""

import numpyro

numpyro.enable_x64()

from ppl_worldmodel.program import given, marginalize, read, simulate  # noqa: E402

__version__ = "0.1.0"
__all__ = ["given", "marginalize", "read", "simulate"]
