"""Coordinates of a process in time or space: each distinct position is a column of its term."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import check_dense
from jaxglmm.frontend.model import INTERCEPT
from jaxglmm.frontend.random_terms import RandomTerm

if TYPE_CHECKING:
    from jaxglmm.frontend.encode import Encoded

_SAME = 1e-12  # coordinates this close, relative to the largest, are one: rounding (0.1 + 0.2)


@dataclass(frozen=True, eq=False)
class Positions:
    """The distinct positions of a process, in the order of its columns.

    text: the term as it was typed; ticks: of each coordinate its distinct values, ascending;
    points: (dim, coordinate) int64, the places among the ticks, sorted.
    """

    text: str
    ticks: tuple[np.ndarray, ...]
    points: np.ndarray

    def codes(self, coordinates: np.ndarray) -> np.ndarray:
        """(n,) int64 position of each row of (n, coordinate), -1 for one that was not seen."""
        columns = zip(self.ticks, coordinates.T, strict=True)
        places = np.stack([_nearest(ticks, values) for ticks, values in columns], axis=1)
        index = {point: i for i, point in enumerate(map(tuple, self.points.tolist()))}
        found = (index.get(place, -1) for place in map(tuple, places.tolist()))
        return np.fromiter(found, np.int64, len(places))

    def indicators(self, coordinates: np.ndarray) -> np.ndarray:
        """(n, dim) columns: 1 at the position of the row; all zero where it was not seen."""
        codes = self.codes(coordinates)
        columns = np.zeros((len(codes), len(self.points)))
        seen = np.flatnonzero(codes >= 0)
        columns[seen, codes[seen]] = 1.0
        return columns

    def values(self) -> np.ndarray:
        """(dim, coordinate) float64."""
        columns = zip(self.ticks, self.points.T, strict=True)
        return np.stack([ticks[places] for ticks, places in columns], axis=1)

    def labels(self) -> tuple[str, ...]:
        """`3`, or `(0.5, 2)` for several coordinates."""
        shown = [", ".join(f"{v + 0.0:.12g}" for v in point) for point in self.values().tolist()]
        return tuple(shown if len(self.ticks) == 1 else (f"({text})" for text in shown))

    def distances(self) -> np.ndarray:
        """(dim, dim) Euclidean distances."""
        squares = np.zeros((len(self.points),) * 2)
        for column in self.values().T:
            squares += np.subtract.outer(column, column) ** 2
        return np.sqrt(squares)


def fit_positions(term: RandomTerm, encoded: Encoded, rows: np.ndarray) -> Positions:
    """The positions over the rows used, from the coordinates that the term names."""
    _check_coordinates(term, encoded)
    coordinates = encoded.matrix
    ticks = tuple(map(_ticks, coordinates.T))
    columns = zip(ticks, coordinates.T, strict=True)
    places = np.stack([_nearest(t, values) for t, values in columns], axis=1)
    points = np.unique(places, axis=0)
    if len(points) < 2:
        raise InputError(
            f"{term.text}: all {len(rows)} rows used are at one position, so a process has nothing "
            "to connect. Remove this random term."
        )
    check_dense(term.text, len(rows), len(points))
    return Positions(term.text, ticks, points)


def _check_coordinates(term: RandomTerm, encoded: Encoded) -> None:
    names, kinds = encoded.names, encoded.is_categorical
    asks = f"{term.text}: '{term.structure}' needs coordinates, columns of numbers,"
    factors = [name for name, categorical in kinds.items() if categorical]
    if factors:
        raise InputError(
            f"{asks} but '{factors[0]}' holds categories. Give it as numbers; for the levels of a "
            f"factor in order use ar1(0 + {factors[0]} | {':'.join(term.factors)})."
        )
    if INTERCEPT in names:
        also = " and got none" if len(names) == 1 else " without an intercept"
        raise InputError(
            f"{asks}{also}. Write {term.structure}(time | group)"
            + ("." if term.structure == "ou" else f" or {term.structure}(x + y | group).")
        )
    if term.structure == "ou" and len(names) > 1:
        raise InputError(
            f"{term.text}: 'ou' is a process in time and takes one coordinate, but there are "
            f"{len(names)} ({', '.join(names)}). Use exp(...) for several."
        )


def _ticks(values: np.ndarray) -> np.ndarray:
    """The distinct values, ascending; those that differ by rounding alone are one."""
    found = np.unique(values)
    apart = np.diff(found) > _SAME * np.abs(found).max()
    return found[np.append(True, apart)]


def _nearest(ticks: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(n,) place of each value among the ticks, -1 for none."""
    right = np.minimum(np.searchsorted(ticks, values), len(ticks) - 1)
    left = np.maximum(right - 1, 0)
    near = np.where(values - ticks[left] < ticks[right] - values, left, right)
    close = np.abs(values - ticks[near]) <= 2 * _SAME * np.abs(ticks).max()
    return np.where(close, near, -1)
