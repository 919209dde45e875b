"""Averages over the cells of a grid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxglmm.errors import InputError

WEIGHTS = ("equal", "proportional", "outer", "cells", "flat")

Nests = Mapping[int, tuple[int, ...]]


class Averages(NamedTuple):
    """Averages of the cells of a grid.

    Attributes:
        rows: shape (mean, cell); NaN where all weights of a mean are zero.
        means: numbers of these means among all combinations of what is kept, those of no cell left
            out; (mean,).
    """

    rows: np.ndarray
    means: np.ndarray


def averaging(
    shape: tuple[int, ...],
    kept: tuple[int, ...],
    weights: Any,
    frequencies: np.ndarray,
    nests: Nests | None = None,
) -> Averages:
    """Averages over all axes of a grid that are not `kept`; of its cells the last axis is fastest.

    Cells with no rows in the combination of a nested axis and those around it do not exist. "equal"
    and "outer" weights of a nested axis are those of its values within the axes around it.

    Args:
        shape: of the grid.
        kept: axes whose combinations have a row each, the first of them changing fastest.
        weights: "equal"; "proportional" to the frequencies of what is averaged over; "outer",
            products of its margins; "cells", of each cell; "flat", equal where there are rows;
            or numbers, one a combination of what is averaged over, its first axis fastest.
        frequencies: of the cells, of the grid's shape.
        nests: {axis: all axes that it is nested in}.
    """
    nests = nests or {}
    over = tuple(axis for axis in range(len(shape)) if axis not in kept)
    there = _there(shape, frequencies, nests)
    weight = _weights(shape, over, weights, frequencies, nests) * there
    means = tuple(shape[axis] for axis in kept)
    place = np.zeros(shape, np.int64)
    for axis, stride in zip(kept, np.cumprod((1, *means))[:-1], strict=True):
        place += stride * np.indices(shape)[axis]
    matrix = np.zeros((math.prod(means), math.prod(shape)))
    matrix[place.ravel(), np.arange(matrix.shape[1])] = weight.ravel()
    found = np.unique(place[there])
    with np.errstate(invalid="ignore"):
        return Averages((matrix / np.sum(matrix, axis=1, keepdims=True))[found], found)


def _there(shape: tuple[int, ...], frequencies: np.ndarray, nests: Nests) -> np.ndarray:
    """Which cells exist, of the grid's shape."""
    there = np.ones(shape, bool)
    for axis, around in nests.items():
        there = there & (_margin(frequencies, (axis, *around)) > 0)
    return there


def _margin(frequencies: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Summed over all others, which are kept with one entry."""
    others = tuple(a for a in range(frequencies.ndim) if a not in axes)
    return np.sum(frequencies, axis=others, keepdims=True)


def first_fastest(sizes: Sequence[int]) -> np.ndarray:
    """(axis, combination) places of all combinations, those of the first axis changing fastest."""
    return np.indices(sizes[::-1]).reshape(len(sizes), -1)[::-1]


def _weights(
    shape: tuple[int, ...],
    over: tuple[int, ...],
    weights: Any,
    frequencies: np.ndarray,
    nests: Nests,
) -> np.ndarray:
    """Of each cell, of the grid's shape."""
    if not isinstance(weights, str):
        return _given(shape, over, weights)
    if weights not in WEIGHTS:
        known = ", ".join(f"'{w}'" for w in WEIGHTS)
        raise InputError(f"weights='{weights}' is not known; choose one of {known}, or numbers.")
    if not over:
        return np.ones(shape)
    if weights in ("cells", "flat"):
        return frequencies if weights == "cells" else (frequencies > 0).astype(float)
    if weights == "proportional":
        return np.broadcast_to(_margin(frequencies, over), shape)
    product = np.ones(shape)
    for axis in over:
        own = _margin(frequencies, (axis, *nests.get(axis, ())))
        if weights == "equal":
            own = (own > 0).astype(float) if axis in nests else np.ones_like(own)
        if axis in nests:
            whole = np.sum(own, axis=axis, keepdims=True)
            own = own / np.where(whole > 0, whole, 1.0)
        product = product * own
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
