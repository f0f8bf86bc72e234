"""A `lax.scan` of the user's own inside a step, with constants, a carry and series: followed by each proof on the jaxpr."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax import lax
from numpyro.contrib.control_flow import scan

from ppl_worldmodel import read
from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.exact import gaussian
from ppl_worldmodel.program.jaxprs.affine import prove
from ppl_worldmodel.program.jaxprs.element_dependence import element_labels
from ppl_worldmodel.program.jaxprs.element_rules import MIXED
from ppl_worldmodel.program.jaxprs.entry_dependence import COMPUTED, MOVED, Entries

from ..agreement import assert_logs_close

W = jnp.array([0.5, 0.3, 0.1])


def weighted(constant: Any, start: Any, series: Any) -> Any:
    """start + constant * sum of the series, and the partial sums."""
    return lax.scan(lambda c, v: (c + constant * v, c), start, series)


def test_degrees() -> None:
    def degrees(function: Callable) -> Any:
        found = prove(function, jnp.ones(()), W).degrees
        return [0 if leaf is None else int(np.max(leaf)) for leaf in found]

    assert degrees(lambda x, w: weighted(x, 0.0, w)) == [1, 1]
    assert degrees(lambda x, w: weighted(0.5, x, w)) == [1, 1]
    assert degrees(lambda x, w: weighted(0.5, 0.0, x * w)) == [1, 1]
    assert degrees(lambda x, w: weighted(0.5, 0.0, w)) == [0, 0]
    assert min(degrees(lambda x, w: weighted(x, 0.0, x * w))) > 1


def test_entries() -> None:
    first = {0: np.array([True, False, False])}
    found = Entries(lambda y: (*weighted(0.5, 0.0, y), weighted(0.5, 0.0, y[1:])), W).reached(first).marks
    assert [int(np.max(mark)) for mark in found] == [COMPUTED, COMPUTED, 0, 0]
    count = Entries(lambda y: y[lax.scan(lambda c, _: (c + 1, None), -2, None, length=2)[0]], W)
    assert count.reached(first).marks[0] == MOVED


def test_labels_of_elements() -> None:
    labels = [np.array(0), np.array(1), np.array([2, 2, 2])]
    arguments = (jnp.ones(()), jnp.ones(()), W)
    last, partial = element_labels(weighted, labels, *arguments)
    assert last == MIXED
    assert (partial == MIXED).all()
    last, _ = element_labels(weighted, [None, None, labels[2]], *arguments)
    assert last == 2


@pytest.mark.slow
@pytest.mark.parametrize("missing", [False, True])
def test_a_step_with_a_loop_is_read_as_without_it(missing: bool) -> None:
    """Two series in a plate, whose last observation goes into the next mean; the loop is a sum."""

    def program(total: Callable[[Any, Any], Any]) -> Callable:
        def model(y: Any) -> None:
            def step(carry: Any, y: Any) -> Any:
                x, last = carry
                with numpyro.plate("series", 2):
                    x = numpyro.sample("x", dist.Normal(total(0.9 * x, W), 1.0))
                    last = numpyro.sample("y", dist.Normal(x + total(0.2 * last, W), 0.5), obs=y)
                return (x, last), None

            scan(step, (jnp.zeros(2), jnp.ones(2)), y)

        return model

    y = np.array([[0.3, 0.5], [1.2, -0.4], [0.7, 0.1]])
    if missing:
        y[1, 0] = np.nan
    loop = read(program(lambda x, w: weighted(x, 0.0 * x, w)[0]), {"y": y}).system
    plain = read(program(lambda x, w: x * w.sum()), {"y": y}).system
    assert loop.structure.sequences == plain.structure.sequences == 2
    assert_logs_close(gaussian.evidence(loop), gaussian.evidence(plain), "log predictive")


def test_what_is_not_linear_in_a_loop_is_refused() -> None:
    def model(y: Any) -> None:
        def step(x: Any, y: Any) -> Any:
            x = numpyro.sample("x", dist.Normal(weighted(x, x, W * x)[0], 1.0))
            numpyro.sample("y", dist.Normal(x, 0.5), obs=y)
            return x, None

        scan(step, 0.3, y)

    with pytest.raises(NotExactlySolvable, match="mul"):
        read(model, {"y": np.array([0.3, 0.5])})
