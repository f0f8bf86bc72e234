"""Does a comparison keep what it has when a part fails, say first what cannot be trusted, and refuse what has no common unit?"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr
from numpyro.contrib.control_flow import scan

from ppl_worldmodel.checks.check import from_dataset
from ppl_worldmodel.cli.commands.compare import kept
from ppl_worldmodel.cli.output import status_of_comparison
from ppl_worldmodel.comparisons import compare as module
from ppl_worldmodel.comparisons.compare import compare
from ppl_worldmodel.comparisons.diagnostics import doubts
from ppl_worldmodel.comparisons.score import score
from ppl_worldmodel.errors import DataError
from ppl_worldmodel.program.reading import read

pytestmark = pytest.mark.slow
COUNTS = np.array([3, 5, 4, 8, 12, 9, 11, 2, 3, 4, 5, 10, 12, 13, 3, 2, 4, 4, 9, 11], float)
KEY = jax.random.key(1)


def regimes(y: Any = None, poisson: bool = True, high: float = 10.0) -> None:
    """Two rates that are known, and a chance to stay that is known, too: nothing is learned."""
    T, rate = jnp.array([[0.8, 0.2], [0.3, 0.7]]), jnp.array([4.0, high])

    def step(s: Any, y: Any) -> Any:
        s = numpyro.sample("s", dist.Categorical(T[s]))
        numpyro.sample("y", dist.Poisson(rate[s]) if poisson else dist.Normal(rate[s], 2.0), obs=y)
        return s, None

    scan(step, numpyro.sample("s0", dist.Categorical(jnp.array([0.5, 0.5]))), y, length=20)


@pytest.fixture(scope="module")
def found() -> tuple[Any, dict[str, xr.DataTree]]:
    """Two programs without parameters, one of which fails in its test of sufficiency, and one that cannot be learned."""
    ready: dict[str, xr.DataTree] = {}

    def broken(y: Any = None, **settings: Any) -> None:
        if len(ready) == 2:
            raise RuntimeError("not today")
        regimes(y, **settings)

    data = {"one": {"y": COUNTS}, "other": {"y": COUNTS, "high": 11.0}, "broken": {"y": COUNTS}}
    result = compare(
        {"one": regimes, "other": regimes, "broken": broken},
        data,
        KEY,
        windows=False,
        fast=True,
        ready=ready.__setitem__,
    )
    return result, ready


def test_programs_without_parameters_are_compared(found: Any) -> None:
    rows = {row.model: row for row in found[0].rows}
    assert set(rows) == {"one", "other"}
    assert all(row.parameters == 0 and row.method == "exact" and np.isfinite(row.evidence) for row in rows.values())


def test_what_fails_is_a_row_with_its_reason_and_the_rest_is_kept(found: Any) -> None:
    result, ready = found
    rows = from_dataset(result.tree["checks"].to_dataset())
    assert [(row.candidate, row.verdict) for row in rows if row.quantity == "run"] == [("broken", "undecided")]
    assert "not today" in rows[-1].why
    assert list(ready) == ["one", "other"]
    assert doubts(result.tree["checks"].to_dataset()) == [f"broken: {rows[-1].why}"]
    assert status_of_comparison(result.tree) != 0


def test_each_result_is_a_file_as_soon_as_it_is_there(found: Any, tmp_path: Path) -> None:
    kept(tmp_path, "own width=2.0", found[1]["one"])
    (path,) = (tmp_path / "models").iterdir()
    assert path.name == "own_width=2.0.nc"
    with xr.open_datatree(path, engine="h5netcdf") as again:
        assert again.attrs["engine"] == "exact"


def test_a_part_of_a_score_that_fails_leaves_the_others(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise ValueError("All tail values are the same")

    monkeypatch.setattr("ppl_worldmodel.comparisons.score.criteria", fails)
    fitted = module.fit(read(regimes, {"y": COUNTS}), KEY)
    scored = score(fitted, KEY, first=10, classic=True)
    assert scored.criteria is None
    assert str(scored.failed["classic criteria"]) == "All tail values are the same"
    assert np.isfinite(scored.evidence.log_evidence)


def test_a_probability_and_a_density_are_not_compared() -> None:
    data = {"counts": {"y": COUNTS}, "sizes": {"y": COUNTS, "poisson": False}}
    with pytest.raises(DataError, match=r"'counts' gives each observation of 'y' a probability, 'sizes' .* a density"):
        compare({"counts": regimes, "sizes": regimes}, data, KEY)


def test_draws_that_have_not_converged_are_said_and_are_no_success(found: Any) -> None:
    tree = found[0].tree.copy()
    rows = from_dataset(tree["checks"].to_dataset())
    apart = rows[-1]._replace(
        candidate="one", quantity="convergence", about="chains", verdict="disagrees", why="R-hat 1.6"
    )
    tree["checks"] = xr.DataTree(module.as_dataset((apart,)))
    tree.attrs |= {"ahead_by_evidence": "one", "ahead_by_prediction": "one"}
    assert doubts(tree["checks"].to_dataset()) == ["one: the draws have not converged: R-hat 1.6"]
    assert status_of_comparison(tree) == 1
    tree["checks"] = xr.DataTree(module.as_dataset(()))
    assert status_of_comparison(tree) == 0
