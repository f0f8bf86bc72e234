"""The shape of the house: files of one idea, imports that go one way, plain first lines, and no path of anybody's machine."""

import ast
import re
import subprocess
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ppl_worldmodel"

# What a folder may import from: itself and what stands before it. `base` are the files beside the folders.
ARROW = [
    "base", "exact", "program", "files", "infer", "checks", "labels", "identifiability", "comparisons", "control", "reports",
    "studies", "cli",
]  # fmt: skip
ENTRIES = {"__init__.py", "demo.py"}  # these only call what the folders have


def tracked(pattern: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", pattern], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).exists()]


def test_no_file_is_long() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in tracked("*.py")}
    assert lengths
    assert not {path: length for path, length in lengths.items() if length > 350}


@cache
def modules() -> dict[str, Path]:
    """{dotted name: file} of the package, entries left out."""
    found = {}
    for path in tracked("ppl_worldmodel/*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if path.relative_to(PACKAGE).as_posix() not in ENTRIES:
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def folder_of(module: str) -> str:
    return module.split(".")[0] if "." in module or module in ARROW else "base"


def imported(path: Path) -> set[str]:
    """Modules of the package that a file imports, at its top or inside its functions; for type checkers alone does not count."""
    tree, every = ast.parse(path.read_text()), modules()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    ours = {name.removeprefix("ppl_worldmodel.") for name in names if name.startswith("ppl_worldmodel.")}
    return {name for name in ours if name in every}


def test_imports_go_one_way() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, path in modules().items()
        for other in imported(path)
        if ARROW.index(folder_of(other)) > ARROW.index(folder_of(name))
    ]
    assert not wrong


def test_no_two_files_import_each_other() -> None:
    graph = {name: imported(path) - {name} for name, path in modules().items()}
    # A package's own file only says what stands in it, and may be imported with each of its modules.
    graph = {name: {other for other in found if not name.startswith(f"{other}.")} for name, found in graph.items()}
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError, with the circle


def test_the_wheel_has_every_folder() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent for path in tracked("ppl_worldmodel/*.py")}
    assert {".".join(folder.relative_to(ROOT).parts) for folder in folders} <= set(listed)


def test_exact_knows_no_numpyro() -> None:
    for path in (PACKAGE / "exact").glob("*.py"):
        assert not re.search(r"^\s*(from|import) numpyro", path.read_text(), re.MULTILINE), path


def test_the_references_share_no_code_with_the_package() -> None:
    for name in ("paths", "dense", "rational"):
        assert "ppl_worldmodel" not in (ROOT / "tests" / "references" / f"{name}.py").read_text()


def test_every_module_states_what_it_is() -> None:
    for path in [*tracked("ppl_worldmodel/*.py"), *tracked("models/*.py"), *tracked("analyses/*.py")]:
        text = ast.get_docstring(ast.parse(path.read_text()))
        assert text, path
        if not path.is_relative_to(ROOT / "analyses"):  # a script of the analyses asks a question, and answers it
            assert "?" not in text.splitlines()[0], f"{path}: {text.splitlines()[0]}"


def test_families_are_told_apart_where_they_are_defined_and_read_only() -> None:
    for name, path in modules().items():
        if folder_of(name) not in ("exact", "program"):
            assert not re.search(r"isinstance\(.*(FiniteState|LinearGaussian)", path.read_text()), path


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
