"""Do two answers agree to 1e-10, on the scale that each quantity has?"""

from typing import Any

import numpy as np

RTOL = 1e-10


def assert_probabilities_close(found: Any, expected: Any, what: str, rtol: float = RTOL) -> None:
    """Every entry to `rtol` of itself, however small it is; a zero must be a zero."""
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=rtol, atol=0.0, err_msg=what)


def assert_logs_close(found: Any, expected: Any, what: str, rtol: float = RTOL) -> None:
    """Log probabilities, to `rtol` of themselves or, near zero, of a probability of one; -inf must be -inf."""
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=rtol, atol=rtol, err_msg=what)


def assert_means_close(found: Any, expected: Any, covariance: Any, what: str, rtol: float = RTOL) -> None:
    """Every component to `rtol` of its own size plus its own standard deviation (a mean may well be zero)."""
    found, expected = np.asarray(found), np.asarray(expected)
    size = np.abs(expected) + _sd(covariance)
    _assert_within(found - expected, size, what, rtol)


def assert_covariances_close(found: Any, expected: Any, left: Any, right: Any, what: str, rtol: float = RTOL) -> None:
    """Every entry to `rtol` of the two standard deviations that it belongs to, from the covariances `left`, `right`.

    A state that is known has none: there the entry must vanish up to rounding (1e-25).
    """
    found, expected = np.asarray(found), np.asarray(expected)
    _assert_within(found - expected, _sd(left)[..., :, None] * _sd(right)[..., None, :], what, rtol)


def _sd(covariance: Any) -> np.ndarray:
    return np.sqrt(np.maximum(np.diagonal(np.asarray(covariance), axis1=-2, axis2=-1), 0.0))


def _assert_within(error: np.ndarray, size: np.ndarray, what: str, rtol: float) -> None:
    np.testing.assert_allclose(error / np.maximum(size, 1e-15), 0.0, atol=rtol, rtol=0.0, err_msg=what)


def law_of(engine: str) -> str:
    """The law that an engine of this name draws from, for results that are written by hand."""
    laws = {"exact": "exact", "smc": "particles", "svi": "approximation", "svi_full_rank": "approximation"}
    return laws.get(engine, "chains")
