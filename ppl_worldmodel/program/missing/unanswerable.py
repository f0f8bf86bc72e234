"""Unknowns, of missing observations that a program goes on to use, that cannot be integrated out: refused, naming the site."""

from collections.abc import Mapping

from numpyro.distributions import Distribution

from ppl_worldmodel.errors import NotExactlySolvable
from ppl_worldmodel.program.missing.masking import UNOBSERVED, Gaps
from ppl_worldmodel.program.sites import Sample
from ppl_worldmodel.program.sites import kind as law_of


def check_before(gaps: Gaps, starts: tuple[str, ...]) -> None:
    """Refuse an unknown before the scan that is not a part of the first state alone."""
    for unknown in gaps.unknown:
        if unknown.step is None and unknown.latent not in starts:
            raise NotExactlySolvable(
                f"{unknown.said()} beyond the first carry of the scan: only there can it be integrated out. Leave the gap out of "
                "the series"
            )


def check_unknown(gaps: Gaps, sites: Mapping[str, Sample]) -> None:
    """Refuse an unknown that cannot join the state: beside states of the other kind, or with infinitely many values to sum over."""
    for unknown in gaps.unknown:
        if unknown.latent not in sites:
            continue
        fn = sites[unknown.latent].fn
        others = {name: site for name, site in sites.items() if site.fn.support.is_discrete != fn.support.is_discrete}
        if others:
            name, site = next(iter(others.items()))
            what = ("discrete", "continuous") if fn.support.is_discrete else ("continuous", "discrete")
            raise NotExactlySolvable(
                f"{unknown.said()}: it is a further unknown, {what[0]} ({law_of(fn)}), beside the {what[1]} state '{name}' "
                f"({law_of(site.fn)}), and the number of terms of such a filter is multiplied with every step. Leave the gap out "
                "of the series (begin after it), or let the program use something that is known",
                "smc, a particle filter at given parameters",
            )
        if fn.support.is_discrete and not fn.has_enumerate_support:
            raise _endless(unknown.said(), fn)
    drawn = {unknown.latent for unknown in gaps.unknown}
    for name, site in sites.items():
        # NumPyro's own name of what `obs_mask` leaves out.
        discrete = site.fn.support.is_discrete and not site.fn.has_enumerate_support
        if name.endswith(UNOBSERVED) and name not in drawn and discrete:
            said = f"the observation of site '{name.removesuffix(UNOBSERVED)}' is missing where its obs_mask is False"
            raise _endless(f"{said}, and the program goes on to use it", site.fn)


def _endless(said: str, fn: Distribution) -> NotExactlySolvable:
    """The refusal of an unknown with infinitely many values."""
    return NotExactlySolvable(
        f"{said}: it is a further unknown whose values ({law_of(fn)}) cannot be listed. Leave the gap out of the series (begin "
        "after it), or let the program use something that is known",
        "smc, a particle filter at given parameters",
    )
