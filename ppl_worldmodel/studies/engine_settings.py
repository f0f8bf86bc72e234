"""Engines by name, and the numbers of draws with which they run by default."""

from collections.abc import Callable
from typing import Any

from ppl_worldmodel import memory
from ppl_worldmodel.infer.exact import exact_engine
from ppl_worldmodel.infer.gibbs import gibbs
from ppl_worldmodel.infer.nuts import nuts
from ppl_worldmodel.infer.result_tree import Engine
from ppl_worldmodel.infer.smc import smc
from ppl_worldmodel.infer.svi import svi

WORTH_TELLING = 1_000_000_000  # bytes
ENGINES = ("exact", "nuts", "svi", "svi_full_rank", "gibbs", "smc")


def engines_at(
    known: bool,
    size: Callable[[int], int] = lambda number: number,
    *,
    prefixes: bool = False,
    progress: bool = False,
    entries: int = 1,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Callable[[], Engine]]:
    """{name: makes the engine}, for states at given parameters (`known`) or to learn the parameters.

    size      of a number of draws or steps, how many to take
    prefixes  sample the filtered and predicted beliefs of every time step, and not of a few
    entries   numbers in the states of the whole series: very many of them get fewer draws, as memory and patience have it
    say       is told about memory where it matters
    """

    def kept(name: str, asked: int, warmup: int, few: int, work: int) -> memory.Size:
        found = memory.of_states(entries, asked, warmup, few, work=work)
        if found.bytes > WORTH_TELLING:
            say(memory.told(name, found, asked, few))
        return found

    def of_gibbs() -> Engine:
        if not known:
            return gibbs(num_samples=size(8000), num_warmup=size(500))
        # With every prefix the draws are those of as many posteriors as steps: fewer of each.
        few = 0 if prefixes else 5
        found = kept("gibbs", size(8000 if prefixes else 10_000), size(500), few, size(memory.WORK))
        return gibbs(
            num_samples=found.draws, num_warmup=found.warmup,
            prefixes=True if prefixes else found.prefixes,
        )  # fmt: skip

    def of_nuts() -> Engine:
        lengths: dict[str, Any] = {"num_warmup": size(500), "num_samples": size(1000)}
        if known:
            few = 0 if prefixes else 3
            found = kept("nuts", lengths["num_samples"], lengths["num_warmup"], few, memory.NO_LIMIT)
            lengths["num_samples"] = found.draws
        return nuts(progress=progress, prefixes=(True if prefixes else 3) if known else 0, **lengths)

    def of_smc() -> Engine:
        found = memory.of_particles(entries, size(2000))
        if found.bytes > WORTH_TELLING:
            say(memory.told("smc", found, size(2000)))
        return smc(num_particles=found.draws, progress=progress)

    return {
        "exact": exact_engine,
        "gibbs": of_gibbs,
        "nuts": of_nuts,
        "svi": lambda: svi(num_steps=size(5000), progress=progress),
        "svi_full_rank": lambda: svi(
            guide="full_rank", num_steps=size(5000), progress=progress
        ),
        "smc": of_smc,
    }  # fmt: skip
