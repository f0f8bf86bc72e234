"""Programs with one operation hidden anywhere: refused with the operation and its line, or right."""

import inspect

import jax
import numpy as np
import pytest

from ppl_worldmodel import read
from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.exact import LinearGaussian, gaussian

from ..references import dense
from ..references.quadratic import solve_program
from .hidden_nonlinearity import INSIDE, OPERATIONS, PLACES, SWITCHES, Hidden, HiddenProgram, draw, hidden_program

FEW, MANY = 24, 500


def check(hidden: Hidden) -> bool:
    """Is the program refused, as it must be?  Else it is read, and right."""
    program = hidden_program(hidden)
    operation = OPERATIONS[hidden.operation]
    if program.refused:
        with pytest.raises(NotExactlySolvable) as caught:
            read(program.model, program.data, program.parameters)
        text = str(caught.value).splitlines()[0]
        assert any(name in text for name in program.refused), text
        body = inspect.getsource(operation.function).splitlines()[-1].strip()
        if operation.names:
            line = inspect.getsourcelines(operation.function)[1] + 1
            assert f"hidden_operations.py:{line} (`{body}`)" in text, text
        return True
    system = read(program.model, program.data, program.parameters).system
    assert isinstance(system, LinearGaussian)
    np.testing.assert_allclose(
        float(gaussian.evidence(system).sum()), log_evidence(hidden, program), rtol=1e-8, atol=1e-8
    )
    return False


def log_evidence(hidden: Hidden, program: HiddenProgram) -> float:
    """From the matrices as they are known; where the operation is linear in the state, from the Hessian of the log density."""
    if hidden.of != "input" and hidden.switch != "closed branch":
        latents = ("start", *(["second"] if hidden.place == "linked start" else []), "w" if hidden.computed else "x")
        return solve_program(program.model, program.data, program.parameters, latents).log_evidence
    joint = dense.joint(**program.matrices)
    emission_first = bool(program.matrices["emission_first"])
    expected = dense.posterior(joint, program.data["y"], dim_x=2, emission_first=emission_first)
    return expected.log_evidence + program.log_factor


def check_named(hidden: Hidden) -> bool:
    """`check`, which says how the program is written if it fails."""
    try:
        return check(hidden)
    except BaseException as error:
        error.add_note(f"{hidden}, operation {OPERATIONS[hidden.operation].function.__name__}")
        raise


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(FEW))
def test_hidden_operations(seed: int) -> None:
    check_named(draw(seed))


@pytest.mark.nightly
def test_many_hidden_operations() -> None:
    refused = 0
    for seed in range(MANY):
        refused += check_named(draw(seed))
        if seed % 20 == 0:  # every program is compiled, and none of them again
            jax.clear_caches()
    assert 200 < refused < 400  # both kinds are there
    print(f"{MANY} programs: {refused} refused with the operation and its line, {MANY - refused} read and right")


def test_everything_is_drawn() -> None:
    drawn = [draw(seed) for seed in range(MANY)]
    assert {hidden.operation for hidden in drawn} == set(range(len(OPERATIONS)))
    assert {hidden.place for hidden in drawn} == set(PLACES)
    assert {hidden.inside for hidden in drawn} == set(INSIDE)
    assert {hidden.switch for hidden in drawn} == set(SWITCHES)
