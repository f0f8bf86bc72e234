"""`worldmodel models`: the catalogue of shipped models."""

import argparse
import json

ORDER = 10
HELP = "list the models that come with the package"
EXAMPLES = """  worldmodel models
  worldmodel models --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(options: argparse.Namespace) -> int:
    """Print name, kind of data and first line of each model."""
    from ppl_worldmodel.files.catalogue import catalogue
    from ppl_worldmodel.terminal import print_result

    rows = catalogue()
    if options.json:
        print_result(json.dumps([row._asdict() for row in rows], indent=2))
        return 0
    width = max(len(row.name) for row in rows)
    for row in rows:
        print_result(f"{row.name:<{width}}  {row.data:<10}  {row.about}")
    return 0
