"""A third family of systems, registered here alone: filtered, checked against another engine, and drawn."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

from ppl_worldmodel import check, exact_engine, read, report
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.exact import FiniteState, finite
from ppl_worldmodel.exact.families import verbs
from ppl_worldmodel.exact.system import Structure
from ppl_worldmodel.models import two_state_pomdp

Y = np.array([0, 1, 1, 0, 1])


class Independent(NamedTuple):
    """Finite states that are drawn anew at every step: p(s_t) is the same for all t, and nothing is remembered."""

    probability: Float[Array, " state"]
    log_likelihood: Float[Array, "time state"]
    structure: Structure = Structure()

    num_states = property(lambda self: self.probability.shape[-1])
    dim_x = property(lambda self: None)
    steps = property(lambda self: self.log_likelihood.shape[0])
    entries = property(lambda self: self.log_likelihood.shape[0])
    proper = property(lambda self: True)


class Beliefs(NamedTuple):
    predicted: Array
    filtered: Array
    smoothed: Array


def _evidence(system: Independent) -> Array:
    return jax.scipy.special.logsumexp(jnp.log(system.probability) + system.log_likelihood, axis=-1)


def _smooth(system: Independent) -> Beliefs:
    predicted = jnp.broadcast_to(system.probability, system.log_likelihood.shape)
    joint = predicted * jnp.exp(system.log_likelihood)
    filtered = joint / joint.sum(axis=-1, keepdims=True)
    return Beliefs(predicted, filtered, filtered)


@verbs.register
def _(system: Independent) -> Any:
    return SimpleNamespace(
        ALGORITHM="Bayes' rule at every step", evidence=_evidence, smooth=_smooth, filter=_smooth,
        settled=lambda system, question: system, keeps_digits=lambda system: True,
    )  # fmt: skip


def reading_of(system: Any) -> Any:
    return replace(read(two_state_pomdp.model, {"observations": Y}, two_state_pomdp.truth), system=system)


def test_it_is_filtered_checked_and_drawn(tmp_path: Path) -> None:
    p, seen = np.array([0.3, 0.7]), np.log(np.asarray(two_state_pomdp.truth["O"])[:, Y].T)
    by_rule = exact_engine()(reading_of(Independent(jnp.array(p), jnp.array(seen))), 0)
    # The same as a chain whose rows of T are all alike: another family, another recursion.
    chain = FiniteState(jnp.array(p), jnp.array([p, p]), jnp.array(seen))
    by_recursion = exact_engine()(reading_of(chain), 0)
    np.testing.assert_allclose(by_rule["beliefs"]["filtered"], finite.filter(chain).filtered, rtol=1e-12)
    assert by_rule.attrs["log_evidence"] == pytest.approx(by_recursion.attrs["log_evidence"], abs=1e-12)
    assert (by_rule.attrs["family"], by_rule.attrs["algorithm"]) == ("Independent", "Bayes' rule at every step")
    again, other = (
        exact_engine()(reading_of(Independent(jnp.array(each), jnp.array(seen))), 1) for each in (p, p[::-1])
    )
    assert {row.verdict for row in check(again, against=by_rule)} == {"agrees"}
    assert "disagrees" in {row.verdict for row in check(other, against=by_rule)}
    page = report({"by rule": by_rule, "exact": by_recursion}, tmp_path / "page.html").read_text()
    assert "Bayes&#39; rule at every step" in page


def test_what_is_no_system_is_told() -> None:
    with pytest.raises(DataError, match="expected a system such as a FiniteState"):
        verbs({"T": np.eye(2)})


def test_text_about_a_system_is_not_compiled_for() -> None:
    system = read(two_state_pomdp.model, {"observations": Y}, two_state_pomdp.truth).system
    compiled = jax.jit(finite.evidence)
    for missing in ("none", "1", "2"):
        compiled(system._replace(structure=replace(system.structure, about=(("observation", missing),))))
    assert compiled._cache_size() == 1
