"""How often is a verdict of `check` wrong?  Measured: false alarms on correct runs, and planted faults that are found or missed.

Every run is a new data set, simulated from the program, and a new key. False alarms: a correct engine on the right program, against
the recursion or against independent draws from the exact posterior of the parameters; `disagrees` in any finding is one. Power:
each fault of `tests/faults`, whose true size is known exactly, at the engines' default numbers of draws. Expected: at most one
false alarm in a hundred correct runs; of the faults above 0.02 in total variation (or half a posterior standard deviation) 99 in
a hundred found; and no run called right whose true difference exceeds the tolerance.

    python -m tests.faults.verdict_rates [--seeds 100]    writes out/verdict_rates.json
"""

import argparse
import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

SOUND = (
    ("two_state_pomdp", "gibbs, with prefixes"), ("earthquakes", "gibbs, with prefixes"), ("machine", "gibbs, with prefixes"),
    ("two_state_pomdp", "smc"), ("earthquakes", "smc"), ("tiger", "smc"), ("autoregression", "nuts"),
    ("letters", "gibbs, learned"), ("regimes", "gibbs, learned"), ("letters", "nuts, learned"),
)  # fmt: skip
FIRST_DATA, FIRST_KEY = 1000, 77


def _verdicts(result: Any, reference: Any) -> list[dict[str, Any]]:
    from ppl_worldmodel import check

    return [
        {name: getattr(finding, name) for name in ("quantity", "verdict", "p", "distance", "unit", "why")}
        for finding in check(result, against=reference)
    ]


def sound_runs(model: str, engine: str, seeds: int) -> dict[str, Any]:
    """Correct runs of an engine: the findings of each."""
    from tests.faults.planted import results, right_answers
    from tests.faults.programs import cases

    started = time.perf_counter()
    asked = cases(model, range(FIRST_DATA, FIRST_DATA + seeds))
    references = right_answers(model, asked, learned="learned" in engine)
    pairs = zip(results(engine, model, asked, FIRST_KEY), references, strict=True)
    found = [_verdicts(*pair) for pair in pairs]
    return {"model": model, "engine": engine, "findings": found, "seconds": time.perf_counter() - started}


def faulty_runs(number: int, seeds: int) -> dict[str, Any]:
    """Runs of one planted fault, by its number in the list: its true size in each data set, and the findings."""
    from tests.faults.planted import PLANTED, WEAK, results, right_answers, sizes
    from tests.faults.programs import cases

    started, planted = time.perf_counter(), (*WEAK, *PLANTED)[number]
    # The SVI engine compiles anew for every data set: a quarter as many.
    asked = cases(
        planted.model, range(FIRST_DATA, FIRST_DATA + (max(1, seeds // 4) if planted.engine == "svi" else seeds))
    )
    references = right_answers(planted.model, asked, learned=planted.learns)
    wrong = results(planted.engine, planted.model, [planted.question(case) for case in asked], FIRST_KEY)
    found = [_verdicts(planted.afterwards(each), there) for each, there in zip(wrong, references, strict=True)]
    said = {"fault": planted.fault, "model": planted.model, "engine": planted.engine}
    return said | {"sizes": sizes(planted, asked), "findings": found, "seconds": time.perf_counter() - started}


def false_alarms(run: dict[str, Any]) -> dict[str, Any]:
    """How many runs have a finding that disagrees, or is undecided; and by quantity whether its p-values are uniform."""
    verdicts = [[finding["verdict"] for finding in findings] for findings in run["findings"]]
    p_values: dict[str, list[float]] = {}
    for finding in (finding for findings in run["findings"] for finding in findings):
        if np.isfinite(finding["p"]):
            p_values.setdefault(finding["quantity"], []).append(finding["p"])
    return {
        "runs": len(verdicts),
        "alarms": sum("disagrees" in each for each in verdicts),
        "undecided": sum("undecided" in each for each in verdicts),
        "smallest p": min(min(values) for values in p_values.values()),
        "uniform": {quantity: float(stats.kstest(values, "uniform").pvalue) for quantity, values in p_values.items()},
        "below": {
            str(level): float(np.mean([p < level for values in p_values.values() for p in values])) for level in (0.1, 0.01)
        },
    }  # fmt: skip


def power(run: dict[str, Any]) -> dict[str, Any]:
    """How many faults of a size that counts were found, and how many runs beyond the tolerance were called right.

    The true size of a stopped chain is that of the run: its largest distance. It counts as found when not converged, too.
    """
    stopped = "stopped" in run["engine"]
    units = {f["unit"] for findings in run["findings"] for f in findings if f["quantity"] != "convergence"}
    smallest, tolerance = (
        (0.02, 0.05) if units & {"total variation"} and "learned" not in run["engine"] else (0.5, 0.25)
    )
    beyond = [
        max(f["distance"] for f in findings if "beliefs" in f["quantity"]) if np.isnan(size) else size
        for size, findings in zip(run["sizes"], run["findings"], strict=True)
    ]
    verdicts = [[finding["verdict"] for finding in findings] for findings in run["findings"]]
    caught = [set(each) != {"agrees"} if stopped else "disagrees" in each for each in verdicts]
    called_right = [set(each) == {"agrees"} for each in verdicts]
    counts = np.array(beyond) > smallest
    return {
        "runs": len(verdicts),
        "size": [float(np.quantile(beyond, q)) for q in (0.0, 0.5, 1.0)],
        "counting": int(counts.sum()),
        "found": int((counts & caught).sum()),
        "found of all": int(np.sum(caught)),
        "called right beyond tolerance": int(((np.array(beyond) > tolerance) & called_right).sum()),
    }


def main(out: str | Path = "out", *, seeds: int = 100, processes: int = 2, only: str = "") -> Path:
    """Measure all rates; returns the path of the JSON file. `only` keeps the runs whose description contains it."""
    from tests.faults.planted import PLANTED, WEAK

    path = Path(out) / "verdict_rates.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    tasks: list[tuple[Any, ...]] = [(sound_runs, *task) for task in SOUND if only in ", ".join(("sound", *task))]
    for number, p in enumerate((*WEAK, *PLANTED)):
        kind = "weak" if number < len(WEAK) else "planted"
        tasks += [(faulty_runs, number)] if only in f"{kind}, {p.fault}, {p.model}, {p.engine}" else []
    done: list[dict[str, Any]] = []
    for run in _each(tasks, seeds, processes):
        done.append(run | {"rates": power(run) if "fault" in run else false_alarms(run)})
        path.write_text(json.dumps(done, indent=1))  # what is measured is kept, should the rest be cut short
        Console(stderr=True).print(
            f"{run.get('fault', 'sound')}, {run['model']}, {run['engine']}: {run['seconds']:.0f} s"
        )
    _print([run for run in done if "fault" not in run], [run for run in done if "fault" in run])
    return path


def _each(tasks: list[tuple[Any, ...]], seeds: int, processes: int) -> Iterator[dict[str, Any]]:
    if processes == 1:
        yield from (function(*arguments, seeds) for function, *arguments in tasks)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(function, *arguments, seeds) for function, *arguments in tasks]
        yield from (future.result() for future in as_completed(waiting))


def _print(sound: list[dict[str, Any]], faulty: list[dict[str, Any]]) -> None:
    table = Table(
        "model", "engine", "runs", "disagrees", "undecided", "smallest p", "p < 0.1", "p < 0.01", "p uniform?", title="Correct runs"
    )  # fmt: skip
    for run in sound:
        rates = run["rates"]
        uniform = ", ".join(f"{quantity.split()[0]} {p:.2g}" for quantity, p in rates["uniform"].items())
        below = (f"{rates['below'][level]:.3f}" for level in ("0.1", "0.01"))
        table.add_row(
            run["model"], run["engine"], str(rates["runs"]), str(rates["alarms"]), str(rates["undecided"]),
            f"{rates['smallest p']:.1e}", *below, uniform,
        )  # fmt: skip
    runs, alarms = (sum(run["rates"][name] for run in sound) for name in ("runs", "alarms"))
    table.caption = f"{alarms} false alarms in {runs} runs; expected at most one in 100"
    Console(width=150).print(table)
    table = Table(
        "fault", "model", "engine", "runs", "true size: least, median, largest", "that count", "of these found", "called right",
        title="Planted faults",
    )  # fmt: skip
    for run in sorted(faulty, key=lambda run: (run["fault"], run["model"])):
        rates = run["rates"]
        table.add_row(
            run["fault"], run["model"], run["engine"], str(rates["runs"]), ", ".join(f"{size:.2g}" for size in rates["size"]),
            str(rates["counting"]), str(rates["found"]), str(rates["called right beyond tolerance"]),
        )  # fmt: skip
    Console(width=150).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure the error rates of the verdicts.")
    parser.add_argument("--seeds", type=int, default=100, help="runs of each kind (default 100)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="", help="only runs described so: sound, planted, weak, a model, an engine")
    chosen = parser.parse_args()
    main(seeds=chosen.seeds, processes=chosen.processes, only=chosen.only)
