"""`worldmodel report`: the page of a saved result, drawn again."""

import argparse
import json
from pathlib import Path

import xarray as xr

from ppl_worldmodel.checks.check import from_dataset
from ppl_worldmodel.cli.commands import json_value, status_of, summary
from ppl_worldmodel.cli.compare import show, status
from ppl_worldmodel.errors import WorldModelError
from ppl_worldmodel.files.writing import try_file
from ppl_worldmodel.reports.comparison_page import comparison_report
from ppl_worldmodel.reports.report import report as draw
from ppl_worldmodel.terminal import out, print_result


def report(options: argparse.Namespace) -> int:
    """Draw the page of a `check` or of a `compare`, and print what was found again."""
    path = Path(options.result)
    if not path.is_file():
        raise WorldModelError(
            f"there is no file '{path}': give the result.nc of `worldmodel check` or the comparison.nc of `worldmodel compare`"
        )
    try:
        tree = xr.open_datatree(path, engine="h5netcdf").load()
    except (OSError, ValueError) as error:
        raise WorldModelError(f"'{path}' cannot be read as NetCDF: {error}") from error
    page_at = Path(options.out or path.parent / ("comparison.html" if "scores" in tree.children else "report.html"))
    try_file(page_at)
    if "scores" in tree.children and "models" in tree.children:
        page = comparison_report(tree, page_at)
        show(tree, json_too=options.json, files={"report": str(page)})
        return status(tree)
    if "checks" not in tree.children or "engines" not in tree.children:
        raise WorldModelError(
            f"'{path}' is not the result of `worldmodel check` or `worldmodel compare`: it has the groups "
            f"{', '.join(tree.children) or 'none'}"
        )
    page = draw(tree, page_at)
    findings = from_dataset(tree["checks"].to_dataset())
    if options.json:
        rows = [{key: json_value(value) for key, value in row._asdict().items()} for row in findings]
        print_result(json.dumps({"report": str(page), "checks": rows}, indent=2))
    else:
        out.print(f"{summary(findings)}\nreport  {page}", markup=False, soft_wrap=True)
    return status_of(findings)
