"""Study: one model, one data set, several engines, every check; what `worldmodel check` runs, for a bare function, too.

Everything is in one DataTree that can be saved:
engines/<name>   the result of each engine, as ArviZ has it
checks           the findings, dimension `row`
identifiability  what the data can tell of learned parameters (see `identifiability.learned`)
Attributes: name, mode ("known" or "learned"), source, about, data_from, parameters_from, coords, seed, command, created, versions,
commit, seconds. `report` draws the page from such a tree alone.
"""

import json
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
import xarray as xr

from ppl_worldmodel.checks.check import as_dataset, check
from ppl_worldmodel.checks.failed import row
from ppl_worldmodel.checks.prior_predictive import prior_predictive
from ppl_worldmodel.checks.verdict import Finding
from ppl_worldmodel.errors import WRONG_CALL, NotExactlySolvable
from ppl_worldmodel.failure import told
from ppl_worldmodel.files.coordinate_labels import labelled
from ppl_worldmodel.files.load import Loaded, default_data, is_real, load, of_function
from ppl_worldmodel.identifiability.learned import learnable
from ppl_worldmodel.infer.engine_spec import Budget
from ppl_worldmodel.infer.engine_spec import engines as engine_specs
from ppl_worldmodel.infer.exact import exact_engine
from ppl_worldmodel.labels.aligned_results import in_one_labelling
from ppl_worldmodel.program.arguments import check_call, random_key
from ppl_worldmodel.program.reading import read
from ppl_worldmodel.program.unread import entries_unread
from ppl_worldmodel.provenance import provenance
from ppl_worldmodel.studies.applicable_engines import answering, asked_at, centre, same_observations
from ppl_worldmodel.studies.result import Result

NO_REFERENCE = (
    "no exact reference exists: the engines only run the program, and are compared with each other, filtered beliefs with filtered "
    "ones"
)


def study(
    model: Callable | str | Loaded,
    data: Mapping[str, Any] | None = None,
    *,
    known: bool = False,
    parameters: Mapping[str, Any] | None = None,
    engines: Sequence[str] = (),
    key: int | jax.Array = 0,
    fast: bool = False,
    prefixes: bool = False,
    truth: Mapping[str, Any] | None = None,
    simulated: bool = False,
    coords: Mapping[str, Any] | None = None,
    units: Mapping[str, str] | None = None,
    data_from: str = "given by the caller",
    progress: bool = False,
    say: Callable[[str], None] = lambda line: None,
    command: str = "",
) -> Result:
    """Run the engines on one model and data set, check them against each other, and return everything: `worldmodel check`.

    model       a NumPyro program, a shipped model's name, the path of a model file, or what `load` returned
    data        the keyword arguments that the program takes; None: the model's own, else simulated from its truth
    known       False: the parameters are learned, and NUTS is the reference of SVI; True: they are given (by `parameters`, else
                the truth, else the posterior mean of a NUTS run), and the exact recursion is the reference
    parameters  values of the parameters that are given; this implies `known`
    engines     names of engines (`infer.engine_spec.engines` lists them), or "auto", the fewest that answer well; none: those that
                apply
    fast        a tenth of the draws: to see that it runs, not to decide anything
    prefixes    at given parameters, sample the filtered and predicted beliefs of every time step, not of a few
    truth, coords, units  of a bare function, what a model file says: parameter values, labels of dimensions and units
    simulated   the data come from the truth, so that learned parameters are checked against it
    data_from, command  for the page; say: is told what happens; progress: bars on the terminal
    """
    engines = [engines] if isinstance(engines, str) else engines
    loaded = load(model) if isinstance(model, str) else model
    if not isinstance(loaded, Loaded):
        check_call(loaded, {} if data is None else data)
        loaded = of_function(loaded, truth=truth, coords=coords, units=units)
    if data is None:
        seed = key if isinstance(key, int) else 0
        data, data_from = default_data(loaded, seed)
        simulated = not is_real(loaded)
    return Result(_run(
        loaded, data, known=known or parameters is not None, parameters=parameters, engines=engines, key=random_key(key),
        fast=fast, prefixes=prefixes, simulated=simulated, data_from=data_from, progress=progress, say=say, command=command,
        seed=key if isinstance(key, int) else json.dumps(np.asarray(jax.random.key_data(random_key(key))).tolist()),
    ))  # fmt: skip


def _run(
    loaded: Loaded,
    data: Mapping[str, Any],
    *,
    known: bool,
    parameters: Mapping[str, Any] | None,
    engines: Sequence[str],
    key: jax.Array,
    fast: bool,
    prefixes: bool,
    simulated: bool,
    data_from: str,
    progress: bool,
    say: Callable[[str], None],
    command: str,
    seed: int | str,
) -> xr.DataTree:
    """The tree of a study."""
    started = time.perf_counter()
    reading = read(loaded.model, data, exactly=not known)
    exactly = reading.system is not None
    said = repr(reading) if exactly else f"{reading!r}\n{NO_REFERENCE}"
    say(said)
    for name in same_observations(reading) if exactly else ():
        count = reading.structure.sequences
        say(f"all {count} series have the same observations of site '{name}': is a column missing for each?")
    if not known and not reading.parameters:
        say("the program has no parameters to learn: its states are checked")
        known = True
    chosen = answering(engines, known, reading, say)
    # By name, so that a further engine changes no other's draws.
    specs = engine_specs()
    keys = {name: jax.random.fold_in(key, zlib.crc32(name.encode())) for name in specs}

    asked, parameters_from = reading, "learned"
    if known:
        learner = specs["nuts"].make(Budget(known=False, fast=fast, progress=progress))
        values, parameters_from = asked_at(loaded, reading, parameters, learner, keys["nuts"], say)
        asked = reading.given(values)
    entries = asked.system.entries if asked.system is not None else entries_unread(asked)
    budget = Budget(known, entries, fast=fast, prefixes=prefixes, progress=progress, say=say)

    def with_names(result: xr.DataTree) -> xr.DataTree:
        return labelled(result, loaded.coords, loaded.units)

    results: dict[str, xr.DataTree] = {}
    failed: list[Finding] = []

    def attempt(what: str, work: Callable[[], Any], otherwise: Any = None) -> Any:
        """What `work` returns; where it fails, a row says so, and the rest goes on."""
        try:
            return work()
        except Exception as error:
            failed.append(row(what, error))
            say(f"{what} {failed[-1].why}")
            return otherwise

    keys_of_data = jax.random.fold_in(keys["exact"], 1)
    prior_rows = []
    if exactly:
        prior_rows = attempt("data", lambda: prior_predictive(asked, keys_of_data), [])
    for name in chosen:
        say(f"{name} ...")
        try:
            results[name] = with_names(specs[name].make(budget)(asked, keys[name]))
        except Exception as error:
            if isinstance(error, NotExactlySolvable) and name not in engines:
                say(f"{name} does not apply: {str(error).splitlines()[0]}")
                continue
            # Before anything is answered a wrong call ends the run, and so does what leaves nothing to go on with.
            if not results and (told(error)[0] == WRONG_CALL or name == chosen[-1]):
                raise
            failed.append(row(name, error))
            say(f"{name} {failed[-1].why}")
            continue
        say(f"{name}: {results[name].attrs['algorithm']}, {results[name].attrs['seconds']:.1f} s")
    reference = "exact" if known and exactly else "nuts"
    truth = loaded.truth if simulated and not known else None
    if not known:
        one = attempt("labels", lambda: in_one_labelling(reading, results, truth))
        if one is not None and (not engines or "exact" in engines):
            at, parameters_from = centre(loaded, reading, one, simulated)
            if at is not None:
                exact = attempt("exact", lambda: exact_engine()(reading.given(at), keys["exact"]))
                with_exact = ({} if exact is None else {"exact": exact}) | one
                one = in_one_labelling(reading, with_exact, truth)
        one = results if one is None else one
        results = {name: with_names(result) for name, result in one.items()}
    findings = [
        finding
        for name, result in results.items()
        if name != "exact"
        for finding in attempt(
            f"checks of {name}",
            partial(check, result, against=results.get(reference) if name != reference else None, truth=truth),
            (),
        )
    ]
    found = None
    if not known:
        found = attempt("identifiability", lambda: learnable(reading, results, truth, keys["exact"]))
    tree = xr.DataTree.from_dict({"checks": as_dataset((*prior_rows, *findings, *failed))})
    for name, result in results.items():
        tree[f"engines/{name}"] = result
    if found is not None:
        tree["identifiability"] = xr.DataTree(found)
    tree.attrs = {
        "name": loaded.name,
        "mode": "known" if known else "learned",
        "source": loaded.source,
        "about": loaded.about,
        "structure": said,
        "data_from": data_from,
        "parameters_from": parameters_from,
        "truth": json.dumps({name: np.asarray(value).tolist() for name, value in (truth or {}).items()}),
        "coords": json.dumps(loaded.coords, default=_plain),
        "seed": seed,
        "fast": int(fast),
        "command": command,
        "dtype": str(jax.numpy.zeros(()).dtype),
        "seconds": time.perf_counter() - started,
        **provenance(),
    }
    return tree


def _plain(labels: object) -> object:
    """Labels of a file as JSON has them: numbers, or text."""
    array = np.asarray(labels)
    return (array if array.dtype.kind in "iuf" else array.astype(str)).tolist()
