"""Ten programs of NumPyro's own documentation and tests: read where an exact reader can, refused by name where it cannot.

The referee of a finite state is NumPyro's own enumeration through funsor, which shares no code with this package. It sums
over the values of masked latents too; `log_masked_values` of each example says by how much that raises the log evidence. The
referee of a Gaussian state is the joint normal distribution of all observations, written down by hand.
"""

import importlib
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import handlers
from numpyro.contrib.funsor import config_enumerate, enum
from numpyro.contrib.funsor import log_density as enumerated_log_density
from numpyro.infer.util import log_density
from scipy.stats import multivariate_normal

from ppl_worldmodel import marginalize, read
from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.exact.system import FiniteState, LinearGaussian

from . import examples
from .contract import draw_parameters
from .examples import carried_sum, gaussian_chain, plated_vectors
from .test_written_finite import some

EXAMPLES = {
    name: importlib.import_module(f"{examples.__name__}.{name}")
    for _, name, _ in pkgutil.iter_modules(examples.__path__)
}


def named(status: str) -> list[str]:
    return [name for name, example in EXAMPLES.items() if example.STATUS.startswith(status)]


def evidence_of_the_chain() -> float:
    """y_t is the start, t moves and a noise, all standard normal: cov(y_s, y_t) = 1 + min(s, t), and 1 more on the diagonal."""
    y = gaussian_chain.data()["y"]
    time = np.arange(1, len(y) + 1)
    return multivariate_normal.logpdf(y, cov=1.0 + np.minimum.outer(time, time) + np.eye(len(y)))


def evidence_of_the_sum() -> float:
    """The shocks, the start first, reach x by powers of phi, and x reaches mu by powers of beta; y is mu and a noise."""
    data = carried_sum.data()
    y = np.append(data["y_0"], data["y"])
    lag = np.subtract.outer(np.arange(len(y)), np.arange(len(y)))
    powers = [np.where(lag >= 0, factor ** np.maximum(lag, 0), 0.0) for factor in (carried_sum.BETA, carried_sum.PHI)]
    reach = powers[0] @ powers[1]
    covariance = carried_sum.Q**2 * reach @ reach.T + carried_sum.R**2 * np.eye(len(y))
    return multivariate_normal.logpdf(y, cov=covariance)


def evidence_of_the_vectors() -> float:
    """Every component is a draw of its own and a noise: variance 2."""
    y = plated_vectors.data()["y"].ravel()
    return multivariate_normal.logpdf(y, cov=2.0 * np.eye(len(y)))


BY_HAND = {
    "gaussian_chain": evidence_of_the_chain,
    "carried_sum": evidence_of_the_sum,
    "plated_vectors": evidence_of_the_vectors,
}


def test_there_are_ten_and_each_says_what_it_is() -> None:
    assert len(EXAMPLES) == 10
    assert len(named("read: finite") + named("read: linear-Gaussian") + named("refused: ")) == 10
    assert set(named("read: linear-Gaussian")) == set(BY_HAND)
    assert all(example.SOURCE.startswith("NumPyro's ") for example in EXAMPLES.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_an_ordinary_program(name: str) -> None:
    """It runs in NumPyro itself and returns the states to judge, with a leading axis time where there is a scan."""
    example = EXAMPLES[name]
    returned = handlers.seed(example.model, 0)(**example.data())
    assert all(np.isfinite(leaf).all() and 4 <= len(leaf) <= 6 for leaf in jax.tree.leaves(returned))


@pytest.mark.slow
@pytest.mark.parametrize("name", named("read: "))
def test_read_as_its_status_says(name: str) -> None:
    example = EXAMPLES[name]
    kind = {"read: finite": FiniteState, "read: linear-Gaussian": LinearGaussian}[example.STATUS]
    assert isinstance(read(example.model, example.data()).system, kind)


@pytest.mark.parametrize("name", named("refused: "))
def test_refused_for_the_reason_in_its_status(name: str) -> None:
    example = EXAMPLES[name]
    with pytest.raises(NotExactlySolvable, match=example.REFUSAL):
        read(example.model, example.data())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("name", [some(name, {"hmm_enum_2", "hmm_enum_6"}) for name in named("read: finite")])
def test_evidence_is_that_of_numpyros_enumeration(name: str, seed: int) -> None:
    """Both are log p(data, parameters), the states summed out; the enumeration also counts the values of masked latents."""
    example = EXAMPLES[name]
    data = example.data()
    drawn = draw_parameters(example.model, data, (), seed)
    parameters = {name: jnp.asarray(value) for name, value in drawn.items()}
    enumerated = enum(config_enumerate(example.model), first_available_dim=example.FREE_DIM)
    expected = enumerated_log_density(enumerated, (), data, parameters)[0] - example.log_masked_values()
    found = log_density(marginalize(example.model), (), data, parameters)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", named("read: linear-Gaussian"))
def test_evidence_is_that_of_the_joint_normal(name: str) -> None:
    example = EXAMPLES[name]
    found = log_density(marginalize(example.model), (), example.data(), {})[0]
    np.testing.assert_allclose(found, BY_HAND[name](), rtol=1e-9, atol=1e-9)
