"""Is a program that nobody thought of read exactly?  Random programs, against oracles that know their log density only."""

from collections.abc import Callable, Mapping
from typing import Any

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume
from numpyro.infer.util import log_density

from ppl_worldmodel import marginalize, read
from ppl_worldmodel.exact import FiniteState, LinearGaussian, finite, gaussian

from ..agreement import assert_covariances_close, assert_logs_close, assert_means_close, assert_probabilities_close
from ..references.enumeration import enumerate_program
from ..references.quadratic import solve_program
from .grammar import Program, tidy
from .grammar_finite import FiniteShape, finite_shapes
from .grammar_finite_programs import finite_program
from .grammar_gaussian import GaussianShape, gaussian_shapes
from .grammar_gaussian_programs import gaussian_program

EXAMPLES, NIGHTLY = 4, 250  # of these few, the marginal of one in four, which takes as long again
passed: dict[Any, int] = {}


def random_programs(count: int) -> Callable:
    """The same programs in every run, each of them once."""
    return hypothesis.settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        print_blob=False,
        phases=[Phase.generate, Phase.shrink],  # to explain a failure, it would be run many times over
        suppress_health_check=list(HealthCheck),
    )


def once(check: Callable, shape: Any, **options: Any) -> None:
    """Check a program that has not passed yet."""
    assume(shape not in passed)
    named(check, shape, **options)
    passed[shape] = len(passed)
    if len(passed) % 20 == 0:  # every program is compiled, and none of them again
        jax.clear_caches()


def named(check: Callable, shape: Any, **options: Any) -> None:
    """Check a program, and say how it is written if it fails."""
    try:
        check(shape, **options)
    except Exception as error:
        error.add_note(f"The program is written like this:\n{tidy(shape)}")
        raise


@pytest.mark.slow
@random_programs(EXAMPLES)
@hypothesis.given(finite_shapes)
def test_finite_programs(shape: FiniteShape) -> None:
    once(check_finite, shape, marginal=shape.seed % 4 == 0)


@pytest.mark.slow
@random_programs(EXAMPLES)
@hypothesis.given(gaussian_shapes)
def test_gaussian_programs(shape: GaussianShape) -> None:
    once(check_gaussian, shape, marginal=shape.seed % 4 == 0)


@pytest.mark.nightly
@random_programs(NIGHTLY)
@hypothesis.given(finite_shapes)
def test_many_finite_programs(shape: FiniteShape) -> None:
    once(check_finite, shape)


@pytest.mark.nightly
@random_programs(NIGHTLY)
@hypothesis.given(gaussian_shapes)
def test_many_gaussian_programs(shape: GaussianShape) -> None:
    once(check_gaussian, shape)


def check_finite(
    shape: FiniteShape, other: Callable[[dict[str, Any]], dict[str, Any]] = dict, marginal: bool = True
) -> None:
    """Beliefs, evidence and, if asked for, the marginal; the oracle is given `other(data)`."""
    program = finite_program(shape)
    system = read(program.model, program.data, program.parameters).system
    assert isinstance(system, FiniteState)
    assert (system.structure.order == "emission first") == program.sees_old
    assert system.structure.sequences == program.sequences
    axis = -1 if program.sequences and program.alone else None
    listed = enumerate_program(
        program.model,
        other(program.data),
        program.parameters,
        program.latents,
        sequence_axis=axis,
        integer_data=program.integers,
    )
    found = finite.smooth(system)
    terms = np.asarray(found.log_predictive)
    assert_logs_close(terms.sum(axis=0) if program.sequences else terms, listed.log_predictive, "log predictive")
    for n, alone in enumerate(listed.sequences):
        assert_logs_close(terms[n], alone.log_predictive, f"log predictive of sequence {n}")
    series = range(program.sequences) if program.sequences else [None]
    for kind in ("predicted", "filtered", "smoothed"):
        beliefs = np.asarray(getattr(found, kind))
        for n in series:
            for t, joint in enumerate(getattr(listed, kind)):
                expected = _of_the_state(joint, system.structure.labels, program, n)
                assert_probabilities_close(beliefs[t] if n is None else beliefs[n, t], expected, f"{kind} {t}")
    if marginal:
        assert_density_of_the_marginal(program, listed.log_evidence)


def _of_the_state(joint: Mapping[tuple, float], labels: Any, program: Program, sequence: int | None) -> np.ndarray:
    """The belief about one sequence's state from that about all new and all old ones; a state not listed is impossible."""
    values = np.zeros(len(labels))
    index = {tuple(label): k for k, label in enumerate(labels)}
    for both, probability in joint.items():
        new, old = both[: len(both) // 2], both[len(both) // 2 :]
        state = old if program.sees_old else new
        if sequence is not None:
            state = state[sequence :: program.sequences]
        values[index[state]] += probability
    return values


def check_gaussian(
    shape: GaussianShape, other: Callable[[dict[str, Any]], dict[str, Any]] = dict, marginal: bool = True
) -> None:
    """The same, against the Hessian of the log density."""
    program = gaussian_program(shape)
    system = read(program.model, program.data, program.parameters).system
    assert isinstance(system, LinearGaussian)
    assert (system.structure.order == "emission first") == program.sees_old
    assert system.structure.sequences == program.sequences
    expected = solve_program(program.model, other(program.data), program.parameters, program.latents)
    count = max(1, program.sequences)
    found = {
        name: np.asarray(value) if program.sequences else np.asarray(value)[None]
        for name, value in gaussian.smooth(system)._asdict().items()
    }
    terms = found["log_predictive"].sum(axis=0)
    if system.diffuse is not None:  # nothing is said until all sequences are determined
        first = int(np.argmax(expected.log_predictive != 0))
        terms[: first + 1] = np.where(np.arange(first + 1) == first, terms[: first + 1].sum(), 0.0)
    assert_logs_close(terms, expected.log_predictive, "log predictive")
    size = expected.filtered_mean.shape[-1] // count // 2
    for kind in ("predicted", "filtered", "smoothed"):
        for n in range(count):
            at = (count if program.sees_old else 0) * size + n * size
            mean = getattr(expected, f"{kind}_mean")[:, at : at + size]
            covariance = getattr(expected, f"{kind}_covariance")[:, at : at + size, at : at + size]
            known = np.isfinite(mean).all(axis=-1)
            assert known.any()
            if count == 1 and shape.gaps != "ended":  # the oracle is silent about what no density depends on
                np.testing.assert_array_equal(np.isfinite(found[kind][n]).all(axis=-1), known, f"{kind}: determined")
            assert_means_close(found[kind][n][known, :size], mean[known], covariance[known], f"{kind} mean")
            spread = covariance[known]
            assert_covariances_close(
                found[f"{kind}_covariance"][n][known, :size, :size], spread, spread, spread, f"{kind} covariance"
            )
    if marginal:
        assert_density_of_the_marginal(program, expected.log_evidence)


def assert_density_of_the_marginal(program: Program, log_evidence: float) -> None:
    """The density of the marginalised program is that of its parameters times the evidence."""
    marginal = marginalize(program.model)
    density = jax.jit(lambda values: log_density(marginal, (), program.data, values)[0])
    found = density({name: jnp.asarray(value) for name, value in program.parameters.items()})
    assert_logs_close(found, program.log_prior() + log_evidence, "log density of the marginal")


FINITE = FiniteShape(
    seed=1,
    steps=3,
    sizes=(2,),
    law="probs",
    coupled=False,
    lags=1,
    counter="none",
    zeros=False,
    start="sampled",
    order="transition first",
    emission="Normal",
    second="none",
    last="none",
    covariate="none",
    gaps="none",
    beside="none",
    factor="none",
    sequences=0,
    own=False,
    carry="tuple",
)
GAUSSIAN = GaussianShape(
    seed=1,
    steps=3,
    dim=2,
    state="the sites",
    several=False,
    law="covariance",
    singular=False,
    delta=False,
    start="proper",
    order="transition first",
    emission="Normal",
    seen=1,
    last="none",
    covariate="none",
    gaps="none",
    scale="constant",
    beside="none",
    factor="none",
    sequences=0,
    own=False,
    carry="dict",
)
plain = pytest.mark.parametrize(("check", "shape"), [(check_finite, FINITE), (check_gaussian, GAUSSIAN)])


@pytest.mark.slow
@plain
def test_one_value_that_differs_is_noticed(check: Callable, shape: Any) -> None:
    """An oracle that is given a slightly different observation disagrees, and it is said how the program is written."""

    def other(data: dict[str, Any]) -> dict[str, Any]:
        y = np.array(data["y"])
        y[1] += 1e-8
        return data | {"y": y}

    check(shape)
    with pytest.raises(AssertionError) as caught:
        named(check, shape, other=other)
    assert "order = 'transition first'" in caught.value.__notes__[0]


@pytest.mark.slow
@plain
def test_a_factor_outside_of_the_plate(check: Callable, shape: Any) -> None:
    check(shape._replace(factor="outside", sequences=2))
