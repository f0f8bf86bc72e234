"""Label switching: how often the chains permuted the states' labels, and whether relabelling could undo it.

Only for a result that was relabelled (it has a group `alignment`), that is, for a program in which the labels are exchangeable.
There chains in different labellings are no fault, and averages are right after relabelling, as long as the labels are clear.
"""

import numpy as np
import xarray as xr

from ppl_worldmodel.checks.verdict import Finding, Verdict

UNCLEAR = 0.05  # share of draws; above it averages depend on how ties were broken


def findings(candidate: xr.DataTree) -> list[Finding]:
    """One finding about the labels of the states; none where nothing was relabelled."""
    if "alignment" not in candidate.children:
        return []
    said, margin = candidate["alignment"].attrs, candidate["alignment"].to_dataset()["margin"]
    unclear, symmetry = float(said["unclear"]), str(said.get("symmetry", ""))
    used = "the factors of every draw were rotated to those of a reference"
    if "labellings" in said:
        what = {"": "labellings", "signs": "choices of signs"}.get(symmetry, "orders of the factors")
        labellings, switches = _numbers(said["labellings"]), _numbers(said["switches"])
        used = f"{labellings} {what} in the chains, {switches} switches within them"
    before, after = float(said["rhat_before"]), float(said["rhat_after"])
    # A single chain, such as that of a fitted guide, has no R-hat.
    why = f"{used}; R-hat {before:.3f} as drawn, {after:.3f} relabelled" if np.isfinite([before, after]).all() else used
    verdict: Verdict = "agrees"
    if not unclear <= UNCLEAR:  # a NaN share is not clear, either
        verdict = "undecided"
        rivals = np.ravel(said.get("rivals", ()))
        cannot = (
            f"states {rivals[0]} and {rivals[1]} cannot be told apart"
            if rivals.size
            else f"the {'directions' if symmetry == 'rotations' else symmetry} of the factors are unclear"
        )
        why = (
            f"{cannot} in {100 * unclear:.0f} % of the draws, so that averages over draws say nothing about them: look at "
            f"quantities that need no names; {used}"
        )
    return [
        Finding(
            candidate=candidate.attrs["engine"], reference="itself", quantity="labels", about="labels", n=int(margin.size),
            distance=unclear, tolerance=UNCLEAR, unit="share of unclear draws", verdict=verdict, why=why,
        )
    ]  # fmt: skip


def _numbers(values: np.ndarray | list[int]) -> str:
    return ", ".join(str(int(value)) for value in np.ravel(values))
