"""Every test of a finite verb runs with the recursion that its size chooses, and (slow) with the recursion in probabilities."""

from dataclasses import replace
from typing import Any

import pytest

from ppl_worldmodel.exact import finite
from ppl_worldmodel.exact.system import FiniteState


class InProbabilities:
    """The verbs of `exact.finite`, on a system whose structure asks for probabilities, whatever its size."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(finite, name)
        if not callable(found):
            return found

        def verb(first: Any, *arguments: Any, **settings: Any) -> Any:
            if isinstance(first, FiniteState):
                first = first._replace(structure=replace(first.structure, recursion="probabilities"))
            return found(first, *arguments, **settings)

        return verb


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Both recursions for the modules that test finite verbs, but for the one that chooses for itself."""
    if getattr(metafunc.module, "finite", None) is finite and not hasattr(metafunc.module, "RECURSIONS"):
        both = ["by size", pytest.param("probabilities", marks=pytest.mark.slow)]
        metafunc.parametrize("recursion", both, indirect=True)


@pytest.fixture(autouse=True)
def recursion(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which recursion the verbs that the test's module calls `finite` use."""
    asked = getattr(request, "param", "by size")
    if asked == "probabilities":
        monkeypatch.setattr(request.module, "finite", InProbabilities())
    return asked
