"""Averages over the cells of a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxglmm.errors import InputError

WEIGHTS = ("equal", "proportional", "outer", "cells", "flat")


def averaging(
    shape: tuple[int, ...],
    kept: tuple[int, ...],
    weights: Any,
    frequencies: np.ndarray,
) -> np.ndarray:
    """Rows that average the cells of a grid, the last axis fastest, over all axes not `kept`.

    Args:
        shape: of the grid.
        kept: axes whose combinations have a row each, the first of them changing fastest.
        weights: "equal"; "proportional" to the frequencies of what is averaged over; "outer",
            products of its margins; "cells", of each cell; "flat", equal where there are rows;
            or numbers, one a combination of what is averaged over, its first axis fastest.
        frequencies: of the cells, of the grid's shape.

    Returns:
        Shape (mean, cell); NaN where all weights of a mean are zero.
    """
    over = tuple(axis for axis in range(len(shape)) if axis not in kept)
    weight = _weights(shape, over, weights, frequencies)
    means = tuple(shape[axis] for axis in kept)
    place = np.zeros(shape, np.int64)
    for axis, stride in zip(kept, np.cumprod((1, *means))[:-1], strict=True):
        place += stride * np.indices(shape)[axis]
    matrix = np.zeros((math.prod(means), math.prod(shape)))
    matrix[place.ravel(), np.arange(matrix.shape[1])] = weight.ravel()
    with np.errstate(invalid="ignore"):
        return matrix / np.sum(matrix, axis=1, keepdims=True)


def first_fastest(sizes: Sequence[int]) -> np.ndarray:
    """(axis, combination) places of all combinations, those of the first axis changing fastest."""
    return np.indices(sizes[::-1]).reshape(len(sizes), -1)[::-1]


def _weights(
    shape: tuple[int, ...], over: tuple[int, ...], weights: Any, frequencies: np.ndarray
) -> np.ndarray:
    """Of each cell, of the grid's shape."""
    if not isinstance(weights, str):
        return _given(shape, over, weights)
    if weights not in WEIGHTS:
        known = ", ".join(f"'{w}'" for w in WEIGHTS)
        raise InputError(f"weights='{weights}' is not known; choose one of {known}, or numbers.")
    if weights == "equal" or not over:
        return np.ones(shape)
    if weights in ("cells", "flat"):
        return frequencies if weights == "cells" else (frequencies > 0).astype(float)
    kept = tuple(axis for axis in range(len(shape)) if axis not in over)
    margin = np.sum(frequencies, axis=kept, keepdims=True)
    if weights == "proportional":
        return np.broadcast_to(margin, shape)
    product = np.ones(shape)
    for axis in over:
        others = tuple(a for a in range(len(shape)) if a != axis)
        product = product * np.sum(frequencies, axis=others, keepdims=True)
    return product


def _given(shape: tuple[int, ...], over: tuple[int, ...], weights: Any) -> np.ndarray:
    try:
        values = np.asarray(weights, float)
    except (TypeError, ValueError):
        values = np.full((0, 0), np.nan)
    sizes = tuple(shape[axis] for axis in over)
    number = math.prod(sizes)
    if values.shape != (number,) or not np.all(np.isfinite(values)) or np.any(values < 0):
        raise InputError(
            f"weights: expected {number} numbers, zero or more, one for each combination that is "
            "averaged over (the first variable changing fastest), or one of "
            f"{', '.join(WEIGHTS)}."
        )
    own = values.reshape(sizes, order="F")
    places = [size if axis in over else 1 for axis, size in enumerate(shape)]
    return np.broadcast_to(own.reshape(places), shape)
