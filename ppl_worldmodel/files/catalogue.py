"""The models that come with the package, read from the text of their files alone, which is quick."""

import ast
from importlib.resources import files
from typing import NamedTuple


class Entry(NamedTuple):
    """A shipped model: its name, the first sentence of its docstring, and whether its data are real or simulated."""

    name: str
    data: str
    about: str


def shipped() -> list[str]:
    """Names of the models that come with the package: the files of its folder."""
    names = (entry.name for entry in files("ppl_worldmodel.models").iterdir())
    return sorted(name.removesuffix(".py") for name in names if name.endswith(".py") and name != "__init__.py")


def catalogue() -> list[Entry]:
    """All shipped models."""
    return [_entry(name) for name in shipped()]


def _entry(name: str) -> Entry:
    tree = ast.parse((files("ppl_worldmodel.models") / f"{name}.py").read_text(encoding="utf-8"))
    about = (ast.get_docstring(tree) or "").split("\n\n")[0].replace("\n", " ")
    real = any(isinstance(node, ast.FunctionDef) and node.name == "data" for node in tree.body)
    return Entry(name, "real data" if real else "simulated", about)
