"""Random linear-Gaussian programs with one operation hidden anywhere, which is nonlinear in most of them.

A `Hidden` says what the operation is, what it is applied to (the old state, a noise, the new state, or an input: then the program
is linear), where its result enters, what switches it on, and inside of what it stands. `hidden_program` writes the program
and, where it is linear, its matrices.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.contrib.control_flow import scan

from .hidden_operations import INSIDE, OPERATIONS, Operation, linear

STEPS = 5
A = np.array([[0.9, 0.3], [-0.2, 0.7]])
C = np.array([[1.0, -0.5]])
FIXED = 0.8  # the second operand where the first one is an input


PLACES = ("move", "carry", "sensor", "noise", "blur", "factor", "start", "linked start")
SWITCHES = ("always", "input", "later input", "parameter", "time", "literal zero", "closed branch")


class Hidden(NamedTuple):
    """operation  its number in OPERATIONS; of  "state", "noise" of the move or "input"; inside  a key of INSIDE
    place      where it enters: the mean of the move, the computed new state, the mean of what is seen, one of the two scales,
               the log density of a factor, the computed first state, or the mean of one of its two sites given the other
    switch     what it is multiplied with
    computed   is the new state computed from a noise, or a site itself?
    emission_first  does the carried state emit?
    """

    operation: int
    of: str
    inside: str
    place: str
    switch: str
    computed: bool
    emission_first: bool
    seed: int


class HiddenProgram(NamedTuple):
    """A program, and what is right: the names of which one must be in its refusal; or its matrices, as of the dense joint."""

    model: Callable
    data: dict[str, Any]
    parameters: dict[str, Any]
    refused: tuple[str, ...]
    matrices: dict[str, Any]
    log_factor: float


def draw(seed: int) -> Hidden:
    """The random choices of a number."""
    rng = np.random.default_rng(seed)
    place, inside = str(rng.choice(PLACES)), str(rng.choice(list(INSIDE)))
    computed = bool(rng.integers(2)) or place == "carry"
    starts = place in ("start", "linked start")
    of = str(rng.choice(["state", "state", "state", "noise", "input"]))
    if of == "noise" and (not computed or place in ("move", "noise") or starts):
        of = "state"
    switch = str(rng.choice(["always", "parameter"] if starts else SWITCHES))
    operation = int(rng.integers(len(OPERATIONS)))
    if inside == "while" and OPERATIONS[operation].function is linear:
        inside = "scan"  # the oracle differentiates in reverse, which JAX cannot do through a while loop
    return Hidden(operation, of, inside, place, switch, computed, bool(rng.integers(2)), seed)


def hidden_program(hidden: Hidden) -> HiddenProgram:
    """The program with these choices."""
    rng = np.random.default_rng(hidden.seed)
    operation, place, switch = OPERATIONS[hidden.operation], hidden.place, hidden.switch
    make, times = INSIDE[hidden.inside]
    apply = make(operation.function)
    u = rng.uniform(0.5, 1.5, STEPS)
    gates = np.where(np.arange(STEPS) < 2, 0.0, 0.7) if switch == "later input" else rng.uniform(0.3, 0.8, STEPS)
    weight = 0.6

    def model(y: Any, u: Any, gates: Any) -> Any:
        k = numpyro.sample("weight", dist.LogNormal(0.0, 1.0)) if switch == "parameter" else None
        start = numpyro.sample("start", dist.Normal(jnp.array([0.5, -0.3]), 0.9).to_event(1))
        first: Any = start
        strength = 1.0 if k is None else k
        if place == "linked start":
            given = (first[0], first[1]) if hidden.of == "state" else (u[0], FIXED)
            second = numpyro.sample("second", dist.Normal(0.5 * first[1] + strength * apply(*given), 0.7))
            first = jnp.stack([first[0], second])
        elif place == "start":
            given = (first[0], first[1]) if hidden.of == "state" else (u[0], FIXED)
            first = jnp.stack([first[0], first[1] + strength * apply(*given)])

        def step(carry: Any, inputs: Any) -> Any:
            x, time = carry
            y, u, gate = inputs
            w = numpyro.sample("w", dist.Normal(jnp.zeros(2), 1.0).to_event(1)) if hidden.computed else None

            def term(value: Any) -> Any:
                operands = {"state": value, "noise": w, "input": (u, FIXED)}[hidden.of]
                found = apply(operands[0], operands[1])
                if switch == "closed branch":
                    return jnp.where(False, found, 0.0)
                scale = {"always": 1.0, "parameter": k, "time": jnp.where(time >= 2, 1.0, 0.0), "literal zero": 0.0}
                return scale.get(switch, gate) * found

            def emit(x: Any) -> None:
                mean = C @ x + (term(x) if place == "sensor" else 0.0)
                blur = 0.5 + (0.1 * term(x) if place == "blur" else 0.0)
                numpyro.sample("y", dist.Normal(mean, blur).to_event(1), obs=y)
                if place == "factor":
                    numpyro.factor("cost", -0.2 * term(x))

            if hidden.emission_first:
                emit(x)
            mean = A @ x + (term(x) if place == "move" else 0.0) * jnp.array([0.0, 1.0])
            size = 0.8 + (0.1 * term(x) if place == "noise" else 0.0)
            if w is None:
                new = numpyro.sample("x", dist.Normal(mean, size).to_event(1))
            else:
                new = mean + size * w + (term(x) if place == "carry" else 0.0) * jnp.array([0.0, 1.0])
            if not hidden.emission_first:
                emit(new)
            return (new, time + 1), new

        return scan(step, (first, 0), (y, u, gates))[1]

    parameters = {"weight": np.array(weight)} if switch == "parameter" else {}
    data = {"y": rng.normal(size=(STEPS, 1)), "u": u, "gates": gates}
    factors = {
        "always": 1.0,
        "parameter": weight,
        "time": np.arange(STEPS) >= 2,
        "literal zero": 0.0,
        "closed branch": 0.0,
    }
    each = np.broadcast_to(factors.get(switch, gates), STEPS) * np.array([_repeated(operation, v, times) for v in u])
    matrices, log_factor = _matrices(hidden, each)
    return HiddenProgram(model, data, parameters, _refused(hidden), matrices, log_factor)


def _repeated(operation: Operation, v: float, times: int) -> float:
    """The operation on an input, applied as often as it is in what it stands inside of."""
    for _ in range(times):
        v = operation.on_numbers(v, FIXED)
    return float(v)


def _refused(hidden: Hidden) -> tuple[str, ...]:
    """The names of which one must be in the refusal; empty if the program is linear-Gaussian as it is written."""
    names = OPERATIONS[hidden.operation].names
    if hidden.of == "input" or hidden.switch == "closed branch":
        return ()
    if names:
        return names
    if hidden.inside == "custom_jvp":
        return ("custom_jvp",)
    return ("depends on the state",) if hidden.place in ("noise", "blur", "factor") else ()


def _matrices(hidden: Hidden, terms: np.ndarray) -> tuple[dict[str, Any], float]:
    """What the dense joint is made of, if the operation is applied to an input (or switched off for good)."""
    place, down = hidden.place, np.array([0.0, 1.0])
    mean, covariance = np.array([0.5, -0.3]), 0.81 * np.eye(2)
    moves = terms if place in ("move", "carry") else np.zeros(STEPS)
    size = 0.8 + 0.1 * (terms if place == "noise" else np.zeros(STEPS))
    blur = 0.5 + 0.1 * (terms if place == "blur" else np.zeros(STEPS))
    first = terms[0] if hidden.switch in ("always", "parameter") else 0.0
    if place == "start":
        mean = mean + first * down
    elif place == "linked start":
        mean = np.array([0.5, -0.15 + first])
        covariance = np.diag([0.81, 0.25 * 0.81 + 0.49])
    matrices = {
        "initial_mean": mean,
        "initial_covariance": covariance,
        "A": [A] * STEPS,
        "b": moves[:, None] * down,
        "Q": size[:, None, None] ** 2 * np.eye(2),
        "C": [C] * STEPS,
        "d": (terms if place == "sensor" else np.zeros(STEPS))[:, None],
        "R": blur[:, None, None] ** 2 * np.eye(1),
        "emission_first": hidden.emission_first,
    }
    return matrices, float(-0.2 * terms.sum()) if place == "factor" else 0.0
