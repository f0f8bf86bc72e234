"""`worldmodel report`: the page of a saved result, drawn again."""

import argparse
from pathlib import Path

ORDER = 60
HELP = "draw the page of a saved result again"
EXAMPLES = """  worldmodel report out/nile/result.nc
  worldmodel report out/nile/result.nc --out nile.html"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("result", metavar="RESULT.nc", help="a result.nc or comparison.nc that was written before")
    parser.add_argument(
        "--out", metavar="FILE.html", help="the page to write (default: report.html or comparison.html beside it)"
    )


def run(options: argparse.Namespace) -> int:
    """Draw the page of a `check` or of a `compare`, and print what was found again."""
    import xarray as xr

    from ppl_worldmodel.cli.output import show_comparison, show_study
    from ppl_worldmodel.errors import WorldModelError
    from ppl_worldmodel.files.writing import try_file
    from ppl_worldmodel.reports.comparison_page import comparison_report
    from ppl_worldmodel.reports.report import report

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
        return show_comparison(tree, json_too=options.json, files={"report": str(page)})
    if "checks" not in tree.children or "engines" not in tree.children:
        raise WorldModelError(
            f"'{path}' is not the result of `worldmodel check` or `worldmodel compare`: it has the groups "
            f"{', '.join(tree.children) or 'none'}"
        )
    return show_study(tree, json_too=options.json, files={"report": str(report(tree, page_at))})
