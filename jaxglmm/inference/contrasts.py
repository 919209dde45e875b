"""Coefficients of contrasts of k means, one a row: (contrast, k)."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations

import numpy as np


def pairwise(k: int) -> np.ndarray:
    """mean_i - mean_j for i < j."""
    pairs = list(combinations(range(k), 2))
    matrix = np.zeros((len(pairs), k))
    for row, (i, j) in enumerate(pairs):
        matrix[row, i], matrix[row, j] = 1.0, -1.0
    return matrix


def against(k: int, control: int) -> np.ndarray:
    """mean_i - mean_control for every other i."""
    matrix = np.eye(k)
    matrix[:, control] -= 1.0
    return np.delete(matrix, control, axis=0)


def effects(k: int, *, others: bool = False) -> np.ndarray:
    """Each mean less that of all means, or of the `others`."""
    size = k - 1 if others else k
    matrix = np.eye(k) - 1.0 / size
    if others:
        np.fill_diagonal(matrix, 1.0)
    return matrix


def consecutive(k: int) -> np.ndarray:
    """mean_(i+1) - mean_i."""
    return np.diff(np.eye(k), axis=0)


def mean_changes(k: int) -> np.ndarray:
    """Average of the means behind place i less that of those up to it."""
    i = np.arange(1, k)[:, None]
    return np.where(np.arange(k) < i, -1.0 / i, 1.0 / (k - i))


def polynomial(k: int, degree: int) -> np.ndarray:
    """Orthogonal polynomials of degrees 1 to `degree` at equally spaced places, in the smallest
    whole numbers, positive at the last (Fisher & Yates' tables)."""
    found: list[list[Fraction]] = [[Fraction(1)] * k]
    for power in range(1, degree + 1):
        values = [Fraction(i) ** power for i in range(k)]
        for other in found:
            along = sum((a * b for a, b in zip(values, other, strict=True)), Fraction(0))
            share = along / sum((b * b for b in other), Fraction(0))
            values = [a - share * b for a, b in zip(values, other, strict=True)]
        found.append(values)
    return np.array([_whole(values) for values in found[1:]]).reshape(-1, k)


def _whole(values: list[Fraction]) -> list[float]:
    scale = math.lcm(*(v.denominator for v in values))
    numbers = [int(v * scale) for v in values]
    divisor = math.gcd(*numbers)
    return [float(n // divisor) for n in numbers]
