"""Benchmark of leave-future-out scores: importance weights against a refit at every step, in scores and in time.

Every step from a fifth of the series on is scored twice: by `leave_future_out`, which starts from the posterior of the whole series
and samples a prefix only where Pareto k-hat asks for it; and by brute force, a posterior of each prefix y_1:t by the same sampler
(NUTS, four chains). Compilation is left out of both. Printed: the largest difference of a single score in its standard errors, that
of the total, and the ratio of times, the sample of the whole series counted in.
"""

import time
from collections.abc import Callable
from typing import Any

import arviz_stats  # noqa: F401  (registers the accessor `.azstats`)
import jax
import numpy as np
import xarray as xr
from rich.console import Console
from rich.table import Table

from ppl_worldmodel import read, simulate
from ppl_worldmodel.comparisons.leave_future_out import default_first, leave_future_out, refitted
from ppl_worldmodel.models import nile, two_state_pomdp


def brute(terms: np.ndarray, t: int) -> tuple[float, float]:
    """The score of step t from draws that have seen y_1:t, and its standard error by ArviZ."""
    values = xr.DataArray(np.exp(terms[..., t]), dims=("chain", "draw"))
    mean = float(values.mean())
    return float(np.log(mean)), float(values.azstats.mcse(method="mean")) / mean


def measure(name: str, model: Callable, data: dict[str, Any], samples: int) -> list[str]:
    reading, steps = read(model, data), len(data["observations"])
    first = default_first(steps)
    refit = refitted(reading, jax.random.key(0), num_samples=samples)
    calls: list[int] = []

    def counted(n: int) -> np.ndarray:
        calls.append(n)
        return refit(n)

    refit(first)  # compiles
    started = time.perf_counter()
    scores = leave_future_out(counted, steps, first=first, whole=counted(steps))
    quick = time.perf_counter() - started
    started = time.perf_counter()
    slow = np.array([brute(refit(t), t) for t in range(first, steps)])
    took = time.perf_counter() - started
    differences = scores.elpd[first:] - slow[:, 0]
    z = differences / np.hypot(scores.error[first:], slow[:, 1])
    total = differences.sum() / np.hypot(scores.total_error, np.sqrt((slow[:, 1] ** 2).sum()))
    return [
        name, str(steps - first), f"{scores.total:.3f}", f"{slow[:, 0].sum():.3f}", f"{total:.2f}", f"{np.abs(z).max():.2f}",
        f"{(np.abs(z) > 2).mean():.3f}", str(len(calls)), f"{quick:.1f}", f"{took:.1f}", f"{took / quick:.1f}",
    ]  # fmt: skip


def main(samples: int = 1000) -> None:
    symbols = simulate(two_state_pomdp.model, two_state_pomdp.truth, jax.random.key(0), num_steps=150)["observation"]
    columns = "model, scores, total, by refits, z of total, largest |z|, share above 2, samples, seconds, by refits: seconds, ratio"
    table = Table(*columns.split(", "))
    table.add_row(*measure("nile", nile.model, nile.data(), samples))
    table.add_row(*measure("two_state_pomdp", two_state_pomdp.model, {"observations": np.asarray(symbols)}, samples))
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
