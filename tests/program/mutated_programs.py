"""Programs with one or two faults of the kinds that people make, from the sources of the shipped models and of the examples.

    python -m tests.program.mutated_programs --number 2000 --seed 0

reads each and counts what came of it. A mutant may be read, or refused in words; anything else is a fault of ours.
"""

import argparse
import ast
import collections
import copy
import importlib
import pkgutil
import sys
import traceback
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

import ppl_worldmodel.models as shipped
from ppl_worldmodel import read
from ppl_worldmodel.errors import WorldModelError
from ppl_worldmodel.files.load import default_data, load
from ppl_worldmodel.program.system import log_predictive

from . import examples

STEPS = 3
NAMES = (
    "Categorical",
    "Bernoulli",
    "Normal",
    "Poisson",
    "Gamma",
    "Binomial",
    "StudentT",
    "MultivariateNormal",
    "Delta",
    "Dirichlet",
)
NUMBERS = (0, 1, -1, 2, 3, 0.5, -0.3, 1e10, float("nan"), float("inf"))
WRAPS = ("jnp.abs", "jnp.exp", "jnp.round", "jnp.sum", "jnp.sqrt", "jnp.sort", "jnp.atleast_2d", "float", "int", "bool")
OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.MatMult, ast.Mod)


class Program(NamedTuple):
    """A source with a function `model`, and its data."""

    name: str
    source: str
    data: dict[str, Any]


class Mutant(NamedTuple):
    """What was read, and how."""

    name: str
    source: str
    data: dict[str, Any]
    kinds: tuple[str, ...]


def programs() -> list[Program]:
    """The shipped models and the examples, on a few steps of data."""
    found = []
    for _, name, _ in pkgutil.iter_modules(shipped.__path__):
        if name == "data":
            continue
        loaded = load(name)
        data = {key: _short(value) for key, value in default_data(loaded, 0)[0].items()}
        found.append(Program(name, _source(importlib.import_module(f"ppl_worldmodel.models.{name}")), data))
    for _, name, _ in pkgutil.iter_modules(examples.__path__):
        module = importlib.import_module(f"{examples.__name__}.{name}")
        found.append(Program(name, _source(module), module.data()))
    return found


def _short(value: Any) -> Any:
    return value[:STEPS] if isinstance(value, (np.ndarray, jax.Array)) and np.ndim(value) else value


def _source(module: types.ModuleType) -> str:
    path = module.__file__
    assert path is not None
    with open(path) as file:
        return file.read()


def mutants(number: int, seed: int) -> Iterator[Mutant]:
    """So many mutants, in turn of all programs."""
    rng = np.random.default_rng(seed)
    every = programs()
    for count in range(number):
        program = every[count % len(every)]
        kinds: list[str] = []
        tree = _without_annotations(ast.parse(program.source))
        data = dict(program.data)
        for _ in range(int(rng.integers(1, 3))):
            if rng.random() < 0.2:
                kinds.append(_mutate_data(data, rng))
            else:
                kinds.append(_mutate(tree, rng))
        yield Mutant(f"{program.name} {seed}:{count}", ast.unparse(ast.fix_missing_locations(tree)), data, tuple(kinds))


def _without_annotations(tree: ast.Module) -> ast.Module:
    """Types are no part of what a program does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
    return tree


def _mutate(tree: ast.Module, rng: np.random.Generator) -> str:
    """One fault somewhere in the function `model`."""
    (model,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "model")
    kinds = list(MUTATIONS)
    for index in rng.permutation(len(kinds)):
        if MUTATIONS[kinds[index]](model, rng):
            return kinds[index]
    raise AssertionError("a program without anything to mutate")


def _some(nodes: list[Any], rng: np.random.Generator) -> Any:
    return nodes[int(rng.integers(len(nodes)))] if nodes else None


def _of(model: ast.AST, kind: Any) -> list[Any]:
    return [node for node in ast.walk(model) if isinstance(node, kind)]


def _operator(model: ast.AST, rng: np.random.Generator) -> bool:
    node = _some(_of(model, ast.BinOp), rng)
    if node is not None:
        node.op = _some(list(OPERATORS), rng)()
    return node is not None


def _number(model: ast.AST, rng: np.random.Generator) -> bool:
    node = _some(
        [n for n in _of(model, ast.Constant) if isinstance(n.value, (int, float)) and n.value is not True], rng
    )
    if node is not None:
        node.value = _some(list(NUMBERS), rng)
    return node is not None


def _statement(model: ast.AST, rng: np.random.Generator) -> bool:
    """A statement that is not there, or there twice."""
    blocks = [node.body for node in _of(model, (ast.FunctionDef, ast.With)) if len(node.body) > 1]
    block = _some(blocks, rng)
    if block is not None:
        at = int(rng.integers(len(block)))
        if rng.random() < 0.5:
            del block[at]
        else:
            block.insert(at, copy.deepcopy(block[at]))
    return block is not None


def _distribution(model: ast.AST, rng: np.random.Generator) -> bool:
    node = _some([n for n in _of(model, ast.Attribute) if n.attr in NAMES], rng)
    if node is not None:
        node.attr = _some(list(NAMES), rng)
    return node is not None


def _keyword(model: ast.AST, rng: np.random.Generator) -> bool:
    node = _some([n for n in _of(model, ast.Call) if n.keywords], rng)
    if node is not None:
        del node.keywords[int(rng.integers(len(node.keywords)))]
    return node is not None


def _wrapped(model: ast.AST, rng: np.random.Generator) -> bool:
    node = _some([n for n in _of(model, ast.Call) if n.args], rng)
    if node is not None:
        at = int(rng.integers(len(node.args)))
        node.args[at] = ast.Call(ast.parse(_some(list(WRAPS), rng), mode="eval").body, [node.args[at]], [])
    return node is not None


def _name(model: ast.AST, rng: np.random.Generator) -> bool:
    used = [n for n in _of(model, ast.Name) if isinstance(n.ctx, ast.Load)]
    one, other = _some(used, rng), _some(used, rng)
    if one is not None:
        one.id = other.id
    return one is not None


def _arguments(model: ast.AST, rng: np.random.Generator) -> bool:
    node = _some([n for n in _of(model, ast.Call) if len(n.args) > 1], rng)
    if node is not None:
        node.args.reverse()
    return node is not None


def _returned(model: ast.AST, rng: np.random.Generator) -> bool:
    node = _some([n for n in _of(model, ast.Tuple) if n.elts and isinstance(n.ctx, ast.Load)], rng)
    if node is not None:
        del node.elts[int(rng.integers(len(node.elts)))]
    return node is not None


MUTATIONS: dict[str, Callable[[ast.AST, np.random.Generator], bool]] = {
    "operator": _operator, "number": _number, "statement": _statement, "distribution": _distribution, "keyword": _keyword,
    "wrapped": _wrapped, "name": _name, "arguments": _arguments, "returned": _returned,
}  # fmt: skip


def _mutate_data(data: dict[str, Any], rng: np.random.Generator) -> str:
    arrays = [name for name, value in data.items() if isinstance(value, (np.ndarray, jax.Array)) and np.ndim(value)]
    if not arrays:
        return "nothing"
    name = _some(arrays, rng)
    kind = _some(["gap", "shorter", "axis", "text", "none", "huge"], rng)
    value = np.asarray(data[name])
    if kind == "gap":
        value = value.astype(float)
        value.flat[int(rng.integers(value.size))] = np.nan
    elif kind == "huge":
        value = value.astype(float) * 1e200
    data[name] = {
        "gap": value,
        "huge": value,
        "shorter": value[:-1],
        "axis": value[:, None],
        "text": "text",
        "none": None,
    }[kind]
    return f"data: {kind}"


def outcome(mutant: Mutant) -> str:
    """What comes of reading it, in a word; our own faults start with FAULT."""
    space: dict[str, Any] = {"__name__": "mutant"}
    try:
        exec(compile(mutant.source, f"mutants/{mutant.name}.py", "exec"), space)
        system = read(space["model"], mutant.data).system
        terms = np.asarray(log_predictive(system))
    except WorldModelError as error:
        return type(error).__name__ if str(error).strip() else f"FAULT no words: {type(error).__name__}"
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        return f"FAULT {type(error).__name__} at {frames[-1].name}: {str(error).splitlines()[0][:100] if str(error) else ''}"
    return "FAULT evidence is NaN" if np.isnan(terms).any() else f"read: {type(system).__name__}"


def main() -> int:
    """Print the counts, and each fault with its program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    counts: collections.Counter[str] = collections.Counter()
    for mutant in mutants(options.number, options.seed):
        found = outcome(mutant)
        counts[found.split(":")[0] if found.startswith("FAULT") else found] += 1
        if found.startswith("FAULT"):
            print(f"{mutant.name} ({', '.join(mutant.kinds)}): {found}", flush=True)
        if sum(counts.values()) % 50 == 0:
            jax.clear_caches()
            print(sum(counts.values()), dict(counts), file=sys.stderr, flush=True)
    for what, count in counts.most_common():
        print(f"{count:6d}  {what}")
    return int(any(what.startswith("FAULT") for what in counts))


if __name__ == "__main__":
    sys.exit(main())
