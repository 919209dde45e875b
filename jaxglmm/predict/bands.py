"""Limits of predictions: pointwise and simultaneous, on a scale where errors are about normal."""

from __future__ import annotations

import numpy as np

from jaxglmm.links.base import Range


def dimension(*parts: np.ndarray) -> int:
    """The number of independent columns (of [parts], shape (obs, ...) each) over all rows."""
    matrix = np.concatenate(parts, axis=1)
    matrix = matrix[np.all(np.isfinite(matrix), axis=1)]
    if 0 in matrix.shape:
        return 0
    largest = np.max(np.abs(matrix), axis=0)
    return int(np.linalg.matrix_rank(matrix[:, largest > 0] / largest[largest > 0]))


def limits(
    estimate: np.ndarray, std_error: np.ndarray, width: float, range_: Range
) -> tuple[np.ndarray, np.ndarray]:
    """estimate -+ width se, formed where means have no ends: of positive ones on the scale of their
    logarithms, of those between 0 and 1 on that of their logits, by the delta method."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        if range_ == "positive":
            factor = np.exp(width * std_error / estimate)
            return estimate / factor, estimate * factor
        if range_ == "unit":
            odds = estimate / (1.0 - estimate)
            factor = np.exp(width * std_error / (estimate * (1.0 - estimate)))
            return odds / (odds + factor), odds / (odds + 1.0 / factor)
        return estimate - width * std_error, estimate + width * std_error
