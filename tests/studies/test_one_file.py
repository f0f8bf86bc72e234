"""Is a new engine, a new check, a new section of the page each ONE new file, dropped into its folder?"""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ppl_worldmodel import study
from ppl_worldmodel.cli.main import main
from ppl_worldmodel.errors import WorldModelError
from ppl_worldmodel.files.saving import load

ENGINE = '''"""Paths by forward filtering and backward sampling, independent draws."""

import time

import jax
import numpy as np

from ppl_worldmodel.exact import finite
from ppl_worldmodel.infer import beliefs as belief
from ppl_worldmodel.infer import result_tree
from ppl_worldmodel.infer.engine_spec import EngineSpec
from ppl_worldmodel.program.arguments import random_key


def paths(*, num_samples):
    def engine(reading, key):
        started, key = time.perf_counter(), random_key(key)
        drawn = np.asarray(finite.sample_paths(reading.system, key, 4 * num_samples)).reshape(4, num_samples, -1)
        return result_tree.build(
            reading=reading, key=key, started=started, engine="paths", algorithm="backward sampling",
            question=result_tree.STATES, law="chains", beliefs_from=belief.FROM_STATES,
            beliefs=belief.of_state_draws("smoothed", drawn, reading.system.num_states), posterior={"state": drawn},
        )

    return engine


ENGINES = (EngineSpec("paths", lambda budget: paths(num_samples=budget.size(20_000)), states=("finite",)),)
'''

CHECK = '''"""Check that smoothed beliefs sum to one."""

import numpy as np

from ppl_worldmodel.checks.verdict import Finding


def findings(candidate, reference):
    off = float(np.abs(candidate["beliefs"]["smoothed"].sum("state") - 1.0).max())
    return [
        Finding(
            candidate=candidate.attrs["engine"], reference=reference.attrs["engine"], quantity="sum of beliefs", about="beliefs",
            verdict="agrees" if off < 1e-9 else "disagrees", why="beliefs sum to one", distance=off, tolerance=1e-9,
        )
    ]
'''

SECTION = '''"""Section "Who spoke": the engines of this run."""

ORDER = 35
TEMPLATE = """
<section id="spoke"><h2>Who spoke</h2><p>{{ names }}</p></section>
"""


def fill(page):
    return {"names": " & ".join(page.engines)}
'''


@pytest.fixture
def dropped_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The three files, each in a further folder of its package, as if it lay beside its neighbours."""
    for package, text in (("infer", ENGINE), ("checks", CHECK), ("reports.sections", SECTION)):
        folder = tmp_path / package
        folder.mkdir()
        (folder / "dropped_in.py").write_text(text)
        module = importlib.import_module(f"ppl_worldmodel.{package}")
        monkeypatch.setattr(module, "__path__", [*module.__path__, str(folder)])
    importlib.invalidate_caches()
    yield tmp_path
    for package in ("infer", "checks", "reports.sections"):
        sys.modules.pop(f"ppl_worldmodel.{package}.dropped_in", None)
        monkeypatch.delattr(f"ppl_worldmodel.{package}.dropped_in", raising=False)


def test_each_is_run_checked_and_drawn_by_the_command(dropped_in: Path, capsys: pytest.CaptureFixture) -> None:
    out = dropped_in / "out"
    call = [
        "check",
        "two_state_pomdp",
        "--known",
        "--fast",
        "--steps",
        "12",
        "--engines",
        "exact,paths",
        "--out",
        str(out),
    ]
    assert main(call) in (0, 1)
    said = capsys.readouterr().out
    assert "paths" in said
    assert "sum of beliefs" in said
    result = load(out / "result.nc")
    assert set(result["engines"].children) == {"exact", "paths"}
    rows = {str(name): str(verdict) for name, verdict in zip(
        result["checks"]["quantity"].values, result["checks"]["verdict"].values, strict=True
    )}  # fmt: skip
    assert rows["smoothed beliefs"] != "disagrees"
    assert rows["sum of beliefs"] == "agrees"
    page = (out / "report.html").read_text()
    assert '<section id="spoke"><h2>Who spoke</h2><p>exact &amp; paths</p></section>' in page
    assert page.index('id="beliefs"') < page.index('id="spoke"') < page.index('id="where"')
    assert "backward sampling" in page


def test_it_applies_where_it_says(dropped_in: Path) -> None:
    with pytest.raises(WorldModelError, match=r"the engine 'paths' does not answer about a continuous state at known"):
        study("nile", known=True, parameters={"level_scale": 38.3, "observation_scale": 122.9}, engines=("paths",))


def test_without_the_files_there_is_no_such_engine() -> None:
    with pytest.raises(WorldModelError, match="there is no engine 'paths': choose from exact, nuts, gibbs, smc, svi"):
        study("two_state_pomdp", {"observations": np.array([0, 1])}, known=True, engines=("paths",))
