"""Exit statuses, signals and what is left on the disk, of real processes."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ppl_worldmodel.files import temporary
from ppl_worldmodel.files.writing import try_folder, write_whole

COMMAND = [sys.executable, "-m", "ppl_worldmodel.cli.main"]
NOISY = """
import os, sys
import numpyro, numpyro.distributions as dist
from numpyro.contrib.control_flow import scan
print("from the file")
os.system("echo from a shell")
def model(y=None, num_steps=5):
    print("from the program")
    if num_steps == 7:
        sys.exit(0)
    def step(x, y):
        x = numpyro.sample("x", dist.Normal(x, 1.0))
        numpyro.sample("y", dist.Normal(x, 1.0), obs=y)
        return x, None
    scan(step, 0.0, y, length=num_steps if y is None else None)
"""
# What is supervised: {work} is a Python expression.
SUPERVISED = """
import signal, sys, time
from pathlib import Path
from ppl_worldmodel.cli.supervisor import supervised
from ppl_worldmodel.files.writing import write_whole

def write(path):
    path.write_text("half")
    print("begun", flush=True)
    time.sleep(600)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background starts with Ctrl-C ignored
sys.exit(supervised(lambda: {work}))
"""
HELD = "print('begun', flush=True) or __import__('re').match('(a+)+$', 'a' * 60 + 'b')"  # keeps Python's lock for ever
HALF = "write_whole(Path('x.txt'), write)"


def run(folder: Path, *arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, **settings)
    assert "Traceback" not in done.stderr
    return done


def start(folder: Path, work: str) -> subprocess.Popen[str]:
    """A supervised process whose work has begun."""
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISED.format(work=work)],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGINT, 130, "worldmodel: interrupted"), (signal.SIGTERM, 143, "worldmodel: terminated")],
)
@pytest.mark.parametrize("work", [HELD, HALF])
@pytest.mark.parametrize("everyone", [False, True])
def test_stopped(tmp_path: Path, number: signal.Signals, status: int, said: str, work: str, everyone: bool) -> None:
    """Also while Python's lock is held, also as a terminal does it (a signal to all), and no half-written file is left."""
    process = start(tmp_path, work)
    (os.killpg if everyone and number == signal.SIGINT else os.kill)(process.pid, number)
    try:
        _, stderr = process.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == status
    assert stderr == f"{said}; no file is left half written\n"
    assert not list(tmp_path.iterdir())


def test_the_work_ends_with_its_supervisor(tmp_path: Path) -> None:
    process = start(tmp_path, HALF)
    process.kill()
    process.communicate(timeout=60)  # the pipes are closed when the work has ended, too
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    mine = temporary.beside(tmp_path / "x.txt")
    left, running = (Path(str(mine).replace(str(os.getpid()), number)) for number in (gone.stdout.strip(), "1"))
    left.touch()
    running.touch()
    write_whole(tmp_path / "x.txt", lambda name: name.write_text("whole"))
    assert {path.name for path in tmp_path.iterdir()} == {"x.txt", running.name}


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def full(name: Path) -> None:
        name.write_text("half")
        raise OSError(28, "No space left on device")

    (tmp_path / "x.txt").write_text("as it was")
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "x.txt", full)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["as it was"]


def test_a_folder_that_can_be_written_to_is_tried_without_a_trace(tmp_path: Path) -> None:
    try_folder(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Exception, match="cannot be written to"):
        try_folder(tmp_path / "file" / "b")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.slow
def test_of_the_machine(tmp_path: Path) -> None:
    """A full disk and a killed process are nobody's verdict."""
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, "models"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 70
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    (tmp_path / "kills.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    killed = run(tmp_path, "simulate", "kills.py")
    assert killed.returncode == 70
    assert "most likely the machine ran out of memory" in killed.stderr


def test_a_reader_that_is_gone(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*COMMAND, "models"], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.slow
def test_what_a_program_prints_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(NOISY)
    done = run(tmp_path, "simulate", "noisy.py", "--json")
    assert done.returncode == 0
    assert set(json.loads(done.stdout)) == {"time", "x", "y"}
    assert {"from the file", "from a shell", "from the program"} <= set(done.stderr.splitlines())


@pytest.mark.slow
def test_a_program_cannot_set_the_status(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(NOISY)
    ends = run(tmp_path, "simulate", "noisy.py", "--steps", "7")
    assert (ends.returncode, ends.stdout) == (2, "")
    assert "the program in 'noisy.py' ends Python at line 10 (sys.exit(0))" in ends.stderr
    (tmp_path / "exits.py").write_text("import sys\nsys.exit(0)\n")
    exits = run(tmp_path, "simulate", "exits.py")
    assert exits.returncode == 2
    assert "'exits.py' ends Python when it is imported, line 2: sys.exit(0)" in exits.stderr


def test_a_fault_of_ours_says_where_and_what_to_report(tmp_path: Path) -> None:
    (tmp_path / "breaks.py").write_text(f'{NOISY}\nsys.modules["ppl_worldmodel.program.simulate"]._emitted = None\n')
    done = run(tmp_path, "simulate", "breaks.py")
    assert done.returncode == 70
    assert "a fault of ours, not of your program: TypeError: 'NoneType' object is not callable" in done.stderr
    assert "simulate.py:" in done.stderr
    assert '"jax": ' in done.stderr


@pytest.mark.nightly
def test_fifty_interrupts(tmp_path: Path) -> None:
    """At random moments of a check, counted from when the work has its supervisor, and of a calibration."""
    moments = random.Random(0)
    for number in range(50):
        what = ("check", "two_state_pomdp", "--known", "--fast") if number % 2 else ("calibrate", "two_state_pomdp")
        process = subprocess.Popen([*COMMAND, *what], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not children.read_text():
            time.sleep(0.001)
        time.sleep(moments.uniform(0.0, 1.0) ** 2 * 12.0)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 130, (number, stderr)
        assert time.monotonic() - began < 2.0
        assert stderr.count("interrupted") == 1
        assert "Traceback" not in stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
