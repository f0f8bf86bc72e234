"""Does NumPyro still send `scan` through its handlers the way that `program/numpyro_internals.py` expects?

These are the assumptions about an inner interface; the message of each assertion says which one has changed.
"""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro import handlers
from numpyro.contrib.control_flow import cond, scan
from numpyro.contrib.control_flow.scan import scan_wrapper
from numpyro.ops.pytree import PytreeTrace
from numpyro.primitives import Messenger

from ppl_worldmodel.program.start import starting_sites

CHANGED = "NumPyro's inner interface for scan has changed (see ppl_worldmodel/program/numpyro_internals.py): "


class Spy(Messenger):
    """Write down control_flow messages, and answer them if there is an answer."""

    def __init__(self, fn: Any, answer: Any = None):
        super().__init__(fn)
        self.messages: list[dict[str, Any]] = []
        self.answer = answer

    def process_message(self, msg: dict[str, Any]) -> None:
        if msg["type"] == "control_flow":
            self.messages.append(dict(msg))
            if self.answer is not None:
                msg["value"], msg["stop"] = self.answer, True


def step(state: Any, y: Any) -> Any:
    new = numpyro.sample("state", dist.Normal(state, 1.0))
    numpyro.sample("seen", dist.Normal(new, 1.0), obs=y)
    return new, 2 * new


def model(y: Any = None) -> Any:
    return scan(step, numpyro.sample("first", dist.Normal(0.0, 1.0)), y, length=3)


def message(program: Any) -> dict[str, Any]:
    with handlers.seed(rng_seed=0):
        spy = Spy(program)
        spy(jnp.zeros(3))
    assert len(spy.messages) == 1, CHANGED + f"one scan sent {len(spy.messages)} messages of the type 'control_flow'"
    return spy.messages[0]


def test_scan_sends_a_control_flow_message() -> None:
    msg = message(model)
    assert msg["fn"] is scan_wrapper, CHANGED + "msg['fn'] is no longer `scan_wrapper`, by which scan is told from cond"
    names = list(inspect.signature(scan_wrapper).parameters)[:5]
    assert names == ["f", "init", "xs", "length", "reverse"], CHANGED + f"scan_wrapper takes {names} first"
    assert len(msg["args"]) == 5, CHANGED + f"msg['args'] has {len(msg['args'])} entries"
    f, init, xs, length, reverse = msg["args"]
    assert f is step, CHANGED + "msg['args'][0] is not the step function as the user wrote it"
    assert jnp.shape(init) == (), CHANGED + "msg['args'][1] is not the initial carry"
    assert jnp.shape(xs) == (3,), CHANGED + "msg['args'][2] are not the scanned inputs"
    assert (length, reverse) == (3, False), CHANGED + "msg['args'][3:] are not length and reverse"
    assert msg["value"] is None, CHANGED + "the message arrives with a value"


def test_handlers_leave_their_values_in_the_substitute_stack() -> None:
    values = {"seen": jnp.zeros(3)}
    for kind, handler in (("condition", handlers.condition), ("substitute", handlers.substitute)):
        # Handlers inside of the spy have been through the message before it gets there.
        stack = message(handler(model, data=values))["kwargs"]["substitute_stack"]
        assert [entry[0] for entry in stack] == [kind], CHANGED + f"`{kind}` does not push (kind, values) on the stack"
        assert stack[0][1] is values, CHANGED + f"`{kind}` pushes something else than its data"


def test_a_message_that_is_answered_is_not_run() -> None:
    answer = ((3, None, jnp.array(7.0)), (PytreeTrace({}), jnp.arange(3)))
    with handlers.seed(rng_seed=0), handlers.trace() as trace:
        carry, outputs = Spy(model, answer)(None)
    assert carry == 7.0, CHANGED + "the value is not ((length, key, carry), (trace, outputs)): the carry is lost"
    np.testing.assert_array_equal(outputs, [0, 1, 2], err_msg=CHANGED + "the value's outputs are lost")
    assert set(trace) == {"first"}, CHANGED + "the scan ran although it was answered"


def test_the_value_of_a_scan_that_ran() -> None:
    class Last(Messenger):
        def postprocess_message(self, msg: dict[str, Any]) -> None:
            if msg["type"] == "control_flow":
                self.value = msg["value"]

    last = Last(None)
    with handlers.seed(rng_seed=0), last:
        carry, outputs = model()
    (length, _, inner), (trace, ys) = last.value
    assert length == 3, CHANGED + "value[0][0] is not the length"
    assert inner == carry, CHANGED + "value[0][2] is not the carry"
    assert set(trace.trace) == {"state", "seen"}, CHANGED + "value[1][0].trace does not hold the step's sites"
    np.testing.assert_array_equal(ys, outputs, err_msg=CHANGED + "value[1][1] are not the outputs")


def test_cond_sends_another_function() -> None:
    def branch(x: Any) -> Any:
        return numpyro.sample("z", dist.Normal(x, 1.0))

    with handlers.seed(rng_seed=0):
        spy = Spy(lambda: cond(jnp.array(True), branch, branch, 0.0))
        spy()
    assert spy.messages[0]["fn"] is not scan_wrapper, CHANGED + "cond and scan can no longer be told apart"


@pytest.mark.parametrize("nested", [False, True])
def test_the_initial_state_is_found_by_identity(nested: bool) -> None:
    def step(carry: Any, y: Any) -> Any:
        state = numpyro.sample("state", dist.Normal(carry[1]["x"] if nested else carry, 1.0))
        return ((0.0, {"x": state}) if nested else state), None

    def program(y: Any) -> None:
        other = numpyro.sample("other", dist.Normal(0.0, 1.0))
        first = numpyro.sample("first", dist.Normal(other, 1.0))
        scan(step, (0.0, {"x": first}) if nested else first, y)

    found = starting_sites(program, {"y": jax.numpy.zeros(2)})
    assert (found.sites, found.leaves) == (("first",), {int(nested): {"first"}}), (
        CHANGED + "a value is no longer handed on as it is"
    )
