"""What every test has: JAX in float64, and the shapes in the package's annotations checked while the tests run."""

import os

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_enable_x64", True)
os.environ["WORLDMODEL_CACHE"] = (
    "off"  # processes that a test starts compile anew, and write nothing in a home directory
)
# Before the package is imported for the first time, here or in any test module.
install_import_hook("ppl_worldmodel", "beartype.beartype")
