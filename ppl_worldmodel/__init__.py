"""A workbench for Bayesian world models: the program is the model, and the exact answer is read off it.

Importing this package switches JAX to float64 (unless JAX_ENABLE_X64 says otherwise); every result says its dtype. The names
below are loaded when they are first used, so that the command line answers at once.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

if "jax" in sys.modules:
    sys.modules["jax"].config.update("jax_enable_x64", os.environ.get("JAX_ENABLE_X64", "1") not in ("0", "false"))
else:
    os.environ.setdefault("JAX_ENABLE_X64", "1")

if TYPE_CHECKING:
    from ppl_worldmodel.checks.check import check
    from ppl_worldmodel.comparisons.compare import compare
    from ppl_worldmodel.files.load import load
    from ppl_worldmodel.infer.exact import exact_engine
    from ppl_worldmodel.infer.gibbs import gibbs
    from ppl_worldmodel.infer.nuts import nuts
    from ppl_worldmodel.infer.smc import smc
    from ppl_worldmodel.infer.svi import svi
    from ppl_worldmodel.program.marginalize import marginalize
    from ppl_worldmodel.program.parameters import given
    from ppl_worldmodel.program.reading import read
    from ppl_worldmodel.program.simulate import simulate
    from ppl_worldmodel.reports.report import report
    from ppl_worldmodel.studies.calibrate import calibrate
    from ppl_worldmodel.studies.result import load_result
    from ppl_worldmodel.studies.study import study

__version__ = "0.1.0"

_HOME = {
    "calibrate": "studies.calibrate",
    "check": "checks.check",
    "compare": "comparisons.compare",
    "exact_engine": "infer.exact",
    "gibbs": "infer.gibbs",
    "given": "program.parameters",
    "load": "files.load",
    "load_result": "studies.result",
    "marginalize": "program.marginalize",
    "nuts": "infer.nuts",
    "read": "program.reading",
    "report": "reports.report",
    "simulate": "program.simulate",
    "smc": "infer.smc",
    "study": "studies.study",
    "svi": "infer.svi",
}
__all__ = [
    "calibrate", "check", "compare", "exact_engine", "gibbs", "given", "load", "load_result", "marginalize", "nuts", "read",
    "report", "simulate", "smc", "study", "svi",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ppl_worldmodel' has no attribute '{name}'; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"ppl_worldmodel.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
