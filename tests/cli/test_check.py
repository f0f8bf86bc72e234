"""Does the command line help?  One clear message and status 2 for a wrong call, nothing half written, and the promised output."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ppl_worldmodel.cli.main import main

OWN_MODEL = '''
"""A flow with a slow level."""
import numpyro, numpyro.distributions as dist
from numpyro.contrib.control_flow import scan

def model(observations=None, num_steps=20):
    scale = numpyro.sample("scale", dist.HalfNormal(2.0))
    def step(level, y):
        level = numpyro.sample("level", dist.Normal(level, scale))
        numpyro.sample("flow", dist.Normal(level, 1.0), obs=y)
        return level, None
    start = numpyro.sample("start", dist.Normal(0.0, 5.0))
    scan(step, start, observations, length=num_steps if observations is None else len(observations))
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN_MODEL)
    (tmp_path / "own.csv").write_text(
        "year,flow\n" + "\n".join(f"{1900 + i},{np.sin(i / 3):.3f}" for i in range(20)) + "\n"
    )
    return tmp_path


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a wrong call: status 2, one message on standard error, nothing on standard output, nothing written."""
    before = set(Path.cwd().rglob("*"))
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert not [path for path in set(Path.cwd().rglob("*")) - before if "__pycache__" not in path.parts]
    return captured.err


def test_help_is_quick_and_has_examples() -> None:
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ppl_worldmodel.cli.main", "--help"], capture_output=True, text=True
    )
    assert "jax" not in shown.stderr  # what makes it slow is not imported
    from ppl_worldmodel.cli.main import EXAMPLES

    assert "worldmodel check nile" in EXAMPLES


@pytest.mark.parametrize("command", ["check", "simulate", "report", "models"])
def test_every_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert "examples:" in capsys.readouterr().out


def test_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert "nile" in capsys.readouterr().out
    assert main(["models", "--json"]) == 0
    assert {entry["name"] for entry in json.loads(capsys.readouterr().out)} >= {"nile", "tiger", "tracker"}


def test_simulate_prints_a_csv(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "tracker", "--steps", "7", "--out", "track.csv"]) == 0
    table = pd.read_csv("track.csv")
    assert len(table) == 7
    assert {"time", "position_0", "position_1", "state_3"} <= set(table.columns)
    assert main(["simulate", "tiger", "--steps", "9"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "time,actions,reward,state,observation"


def test_wrong_models(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no shipped model 'nil'" in fails(capsys, "check", "nil")
    assert "there is no file 'gone.py'" in fails(capsys, "check", "gone.py")
    Path("broken.py").write_text("def model(:\n    pass\n")
    assert "not valid Python" in fails(capsys, "check", "broken.py")
    Path("raises.py").write_text("import numpy\nnumpy.no_such_thing\n")
    assert "fails when it is imported: AttributeError" in fails(capsys, "check", "raises.py")
    Path("nameless.py").write_text("def program(): pass\n")
    assert "has no function `model`" in fails(capsys, "check", "nameless.py")
    assert "neither data nor a truth" in fails(capsys, "check", "own.py")
    assert "has no `truth` to simulate from" in fails(capsys, "simulate", "own.py")


def test_a_program_that_fails_names_its_line(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.py").write_text(OWN_MODEL.replace("dist.Normal(level, 1.0)", "dist.Normal(level, undefined)"))
    message = fails(capsys, "check", "bad.py", "--data", "own.csv", "--column", "flow")
    assert "fails at line" in message
    assert "NameError" in message


def test_a_program_that_cannot_be_solved_is_refused(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bent = OWN_MODEL.replace("dist.Normal(level, scale)", "dist.Normal(level - 0.1 * level**3, scale)")
    Path("bent.py").write_text(bent)
    message = fails(capsys, "check", "bent.py", "--data", "own.csv", "--column", "flow")
    assert "the mean of site 'level' is not affine in the state" in message


def test_wrong_data(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "has no column 'flo'" in fails(
        capsys, "check", "own.py", "--data", "own.csv", "--column", "observations=flo"
    )
    assert "no column 'volume'" in fails(capsys, "check", "nile", "--data", "own.csv")
    assert "takes no argument 'obs'" in fails(capsys, "check", "own.py", "--data", "own.csv", "--column", "obs=flow")
    assert "say which is which" in fails(capsys, "check", "own.py", "--data", "own.csv")
    assert "cannot read 'gone.csv'" in fails(capsys, "check", "own.py", "--data", "gone.csv")
    Path("words.csv").write_text("flow\n1.0\nmuch\n")
    assert "holds 'much' in row 3" in fails(capsys, "check", "own.py", "--data", "words.csv", "--column", "flow")
    Path("category.csv").write_text("observation\n0\n1\n2\n")
    assert "time step 2" in fails(
        capsys, "check", "two_state_pomdp", "--data", "category.csv", "--column", "observation"
    )
    Path("actions.csv").write_text("heard,did\n0,0\n1,\n0,0\n")
    arguments = ("check", "tiger", "--data", "actions.csv", "--column", "observations=heard", "--column", "actions=did")
    assert "actions" in fails(capsys, *arguments)


@pytest.mark.slow
def test_wrong_parameters(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = ("check", "two_state_pomdp", "--known", "--parameters")
    O = [[0.8, 0.2], [0.3, 0.7]]
    message = fails(capsys, *known, json.dumps({"T": [[0.9, 0.2], [0.1, 0.9]], "O": O}))
    assert "parameter 'T' at row [0]" in message
    assert "sums to 1.1" in message
    assert "parameter 'T' (2, 2) is missing" in fails(capsys, *known, json.dumps({"O": O}))
    assert "did you mean 'T'" in fails(capsys, *known, json.dumps({"T": np.eye(2).tolist(), "O": O, "TT": 1}))
    assert "not valid JSON" in fails(capsys, *known, "{T: 1}")
    assert "add --known" in fails(capsys, "check", "two_state_pomdp", "--parameters", "{}")


@pytest.mark.slow
def test_wrong_engines(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no engine 'nutz'" in fails(capsys, "check", "nile", "--engines", "nutz")
    assert "'smc' does not answer about a continuous state" in fails(capsys, "check", "nile", "--engines", "smc")
    assert "cannot draw the parameter 'level_scale'" in fails(capsys, "check", "nile", "--engines", "gibbs")
    assert "add --known" in fails(capsys, "check", "nile", "--prefixes")


def test_a_row_of_T_in_the_program_that_does_not_sum_to_one(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("rows.py").write_text(
        '"""Two states."""\nimport jax.numpy as jnp, numpyro, numpyro.distributions as dist\n'
        "from numpyro.contrib.control_flow import scan\n"
        "T = jnp.array([[0.9, 0.2], [0.1, 0.9]])\n"
        "def model(observations=None):\n"
        "    def step(s, y):\n"
        "        s = numpyro.sample('s', dist.Categorical(T[s]))\n"
        "        numpyro.sample('y', dist.Normal(s, 1.0), obs=y)\n"
        "        return s, None\n"
        "    scan(step, numpyro.sample('s0', dist.Categorical(jnp.ones(2) / 2)), observations)\n"
    )
    message = fails(capsys, "check", "rows.py", "--data", "own.csv", "--column", "flow")
    assert "the transition of site 's' does not sum to one: row [0] sums to 1.1" in message


@pytest.mark.slow
def test_check_writes_a_page_and_a_result(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(
        [
            "check",
            "own.py",
            "--data",
            "own.csv",
            "--column",
            "flow",
            "--fast",
            "--engines",
            "nuts,svi",
            "--json",
            "--seed",
            "1",
        ]
    )
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    verdicts = {row["verdict"] for row in result["checks"]}
    assert status == (0 if verdicts == {"agrees"} else 1)
    assert result["mode"] == "learned"
    assert Path(result["report"]).stat().st_size > 10_000
    assert "LinearGaussian" in captured.err
    assert main(["report", result["result"], "--out", "again.html", "--json"]) == status
    assert json.loads(capsys.readouterr().out)["checks"] == result["checks"]
    assert Path("again.html").exists()


def test_wrong_results(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no file 'gone.nc'" in fails(capsys, "report", "gone.nc")
    Path("text.nc").write_text("not NetCDF")
    assert "cannot be read as NetCDF" in fails(capsys, "report", "text.nc")


def test_where_it_is_written_must_fit(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder").mkdir()
    assert "'folder' is a folder" in fails(capsys, "simulate", "tracker", "--steps", "3", "--out", "folder")
    Path("file").write_text("mine")
    assert "'file' is a file" in fails(capsys, "check", "nile", "--fast", "--out", "file")
    assert Path("file").read_text() == "mine"


@pytest.mark.slow
def test_one_engine_that_fails_is_a_row(
    own: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call = ["check", "two_state_pomdp", "--steps", "6", "--known", "--fast", "--json", "--engines"]
    monkeypatch.setattr("ppl_worldmodel.infer.smc.bootstrap", None)
    assert main([*call, "exact,gibbs,smc"]) == 70
    captured = capsys.readouterr()
    rows = {row["candidate"]: row for row in json.loads(captured.out)["checks"]}
    assert {"gibbs", "smc"} <= set(rows)
    assert rows["smc"]["verdict"] == "undecided"
    assert "a fault of ours, not of your program: TypeError: 'NoneType' object is not callable" in rows["smc"]["why"]
    assert "infer/smc.py:" in rows["smc"]["why"]
    assert "is not callable" in Path("out/two_state_pomdp_known/report.html").read_text()
    assert main(["report", "out/two_state_pomdp_known/result.nc"]) == 70
    assert "Traceback" not in captured.err
    # Without another engine there is nothing to write; and where none was asked, nothing was checked.
    monkeypatch.setattr("ppl_worldmodel.infer.exact.verbs", None)
    assert main([*call, "exact"]) == 70
    monkeypatch.undo()
    capsys.readouterr()
    assert main([*call, "exact", "--out", str(own / "exact")]) == 1
    assert [row for row in json.loads(capsys.readouterr().out)["checks"] if row["candidate"] != "data"] == []


def test_what_cannot_be_calibrated_is_no_success(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bent = OWN_MODEL.replace("dist.Normal(level, scale)", "dist.Normal(level - 0.1 * level**3, scale)")
    Path("bent.py").write_text(bent)
    message = fails(capsys, "calibrate", "bent.py", "--replications", "20")
    assert "no engine can be calibrated on 'bent'" in message
    assert "nuts: " in message
    assert "gibbs: " in message


def test_a_warning_is_told_once_with_its_line(
    own: Path, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    warns = OWN_MODEL.replace("    def step", '    warnings.warn("mind  the\\n gap")\n    def step')
    Path("warns.py").write_text("import warnings\nwarnings.simplefilter('always')\n" + warns)
    assert main(["simulate", "warns.py", "--parameters", '{"scale": 1.0}']) == 0
    said = capsys.readouterr().err
    assert said.count("warning:") == said.count("warning: mind the gap (warns.py:10)") == 1


def test_an_interrupt(own: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("ppl_worldmodel.cli.commands.models.run", interrupted)
    assert main(["models"]) == 130
    assert capsys.readouterr().err == "worldmodel: interrupted; no file is left half written\n"
