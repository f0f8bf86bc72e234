"""Rows on provenance: what is needed to reproduce a result."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ppl_worldmodel.reports.names import text, unpacked


def provenance(said: Mapping[Any, Any]) -> list[tuple[str, str]]:
    """What is needed to reproduce the result, as far as the tree says."""
    seconds = float(said.get("seconds", np.nan))
    truth = unpacked(said, "truth")
    every = {
        "data": text(said, "data_from"),
        "parameters": text(said, "parameters_from"),
        "truth": json.dumps(truth) if truth else "",
        "command": text(said, "command"),
        "seed": text(said, "seed"),
        "precision": text(said, "dtype"),
        "versions": ", ".join(f"{name} {version}" for name, version in unpacked(said, "versions").items()),
        "commit": text(said, "commit"),
        "created": text(said, "created"),
        "computing time": f"{seconds:.1f} s" if np.isfinite(seconds) else "",
    }
    return [(name, value) for name, value in every.items() if value]
