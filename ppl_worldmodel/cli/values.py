"""Values on the command line: settings of a program, and the values of its parameters."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ppl_worldmodel.errors import DataError, WorldModelError
from ppl_worldmodel.program.site_names import dotted


def settings_of(pairs: list[str]) -> dict[str, Any]:
    """{argument: value} of the ARGUMENT=VALUE of --set, or of a model's name in `compare`."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise WorldModelError(f"--set {pair}: expected ARGUMENT=VALUE, such as num_states=2")
        try:
            read = json.loads(value)
            settings[name] = np.asarray(read) if isinstance(read, list) else read
        except json.JSONDecodeError as error:
            raise WorldModelError(f"--set {pair}: '{value}' is not a number, a list, true, false or null") from error
    return settings


def parameters_of(given: str | None) -> dict[str, np.ndarray] | None:
    """{parameter: value} of --parameters, which is JSON or the path of a file that holds it."""
    if given is None:
        return None
    text = given if given.lstrip().startswith("{") else Path(given).read_text()
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f'--parameters is not valid JSON ({error}): expected {{"name": value, ...}}') from error
    if not isinstance(values, dict):
        raise DataError('--parameters must be a JSON object: {"name": value, ...}')
    return {dotted(name): np.asarray(value) for name, value in values.items()}
