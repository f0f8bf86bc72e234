"""Are names that were exchanged told, and names that cannot be told apart?"""

import numpy as np
import pytest
import xarray as xr

from ppl_worldmodel.checks.label_switching import findings


def result(unclear: float) -> xr.DataTree:
    tree = xr.DataTree.from_dict({"alignment": xr.Dataset({"margin": (("chain", "draw"), np.full((2, 5), 9.0))})})
    tree["alignment"].attrs = {
        "labellings": [1, 2], "switches": [0, 3], "unclear": unclear, "rivals": [0, 2], "rhat_before": 1.9, "rhat_after": 1.002,
    }  # fmt: skip
    tree.attrs = {"engine": "gibbs"}
    return tree


@pytest.mark.parametrize(("unclear", "verdict"), [(0.0, "agrees"), (0.04, "agrees"), (0.2, "undecided")])
def test_unclear_names_decide_nothing(unclear: float, verdict: str) -> None:
    (found,) = findings(result(unclear))
    assert found.verdict == verdict
    assert "1, 2 labellings" in found.why
    assert ("states 0 and 2 cannot be told apart" in found.why) == (verdict == "undecided")


def test_what_was_not_relabelled_has_no_such_row() -> None:
    assert findings(xr.DataTree()) == []
