"""Does the house keep its shape?  Small files, imports that go one way, and no path of anybody's machine."""

import ast
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ppl_worldmodel"

# What a folder may import from: itself and what stands before it.
ARROW = ["exact", "program", "files", "infer", "checks", "comparisons", "reports"]


def tracked(pattern: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", pattern], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).exists()]


def test_no_file_is_long() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in tracked("*.py")}
    assert lengths
    assert not {path: length for path, length in lengths.items() if length > 350}


def test_imports_go_one_way() -> None:
    wrong = []
    for place, folder in enumerate(ARROW):
        for path in (PACKAGE / folder).rglob("*.py"):
            for name in imported(path):
                match = re.match(r"ppl_worldmodel\.(\w+)", name)
                if match and match[1] in ARROW[place + 1 :]:
                    wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


def imported(path: Path) -> list[str]:
    """Modules imported at the top of a file."""
    tree = ast.parse(path.read_text())
    plain = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
    return plain + [node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)]


def test_exact_knows_no_numpyro() -> None:
    for path in (PACKAGE / "exact").glob("*.py"):
        assert not [name for name in imported(path) if name.startswith("numpyro")], path


def test_the_references_share_no_code_with_the_package() -> None:
    for name in ("paths", "dense", "rational"):
        assert "ppl_worldmodel" not in (ROOT / "tests" / "references" / f"{name}.py").read_text()


def test_every_module_says_what_it_is_for() -> None:
    for path in [*tracked("ppl_worldmodel/*.py"), *tracked("models/*.py"), *tracked("analyses/*.py")]:
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_no_path_of_a_machine_and_no_registry() -> None:
    for path in tracked("*"):
        if (
            path.suffix in (".py", ".md", ".toml", ".html", ".css", "")
            and path.is_file()
            and path.name != "test_house.py"
        ):
            text = path.read_text(errors="ignore")
            assert not re.search(r"/(home|root|Users)/\w", text), path
            assert "pypi.org" not in text, path
