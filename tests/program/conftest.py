"""Programs are compiled once and run once here, so that XLA's optimisations only cost time; tests/exact has them on."""

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(autouse=True, scope="package")
def compile_quickly() -> Iterator[None]:
    """Compile without most optimisations while the tests of this folder run."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
