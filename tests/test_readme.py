"""Does the README's example run as it is printed, and say what the README says?"""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.slow
def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    assert "smoothed beliefs" in capsys.readouterr().out


def test_the_models_and_files_it_names_exist() -> None:
    from ppl_worldmodel.files.catalogue import shipped

    for name in shipped():
        assert f"`{name}`" in README
    for path in re.findall(r"`((?:analyses|models)/[\w/.]+)`", README):
        assert (Path(__file__).parents[1] / path).exists(), path
