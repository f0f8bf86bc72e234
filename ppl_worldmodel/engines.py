"""Which engines are there, and with how many draws do they run by default?"""

from collections.abc import Callable, Mapping
from typing import Any

from ppl_worldmodel.infer.exact import exact_engine
from ppl_worldmodel.infer.gibbs import gibbs
from ppl_worldmodel.infer.nuts import nuts
from ppl_worldmodel.infer.smc import smc
from ppl_worldmodel.infer.svi import svi

ENGINES = ("exact", "nuts", "svi", "svi_full_rank", "gibbs", "smc")


def engines_at(
    parameters: Mapping[str, Any] | None,
    size: Callable[[int], int] = lambda number: number,
    *,
    prefixes: bool = False,
    progress: bool = False,
) -> dict[str, Callable[[], Callable]]:
    """{name: makes the engine}, at the given parameters or (None) to learn them.

    size      of a number of draws or steps, how many to take
    prefixes  sample the filtered and predicted beliefs of every time step, and not of a few
    """
    known = parameters is not None

    def of_gibbs() -> Callable:
        # With every prefix the draws are those of as many posteriors as steps: fewer of each.
        number = 8000 if prefixes or not known else 10_000
        few = (True if prefixes else 5) if known else 0
        return gibbs(parameters=parameters, num_samples=size(number), num_warmup=size(500), prefixes=few)

    return {
        "exact": lambda: exact_engine(parameters=parameters),
        "gibbs": of_gibbs,
        "nuts": lambda: nuts(
            parameters=parameters, num_warmup=size(500), num_samples=size(1000), progress=progress,
            prefixes=(True if prefixes else 3) if known else 0,
        ),
        "svi": lambda: svi(parameters=parameters, num_steps=size(5000), progress=progress),
        "svi_full_rank": lambda: svi(
            guide="full_rank", parameters=parameters, num_steps=size(5000), progress=progress
        ),
        "smc": lambda: smc(parameters=parameters or {}, num_particles=size(2000), progress=progress),
    }  # fmt: skip
