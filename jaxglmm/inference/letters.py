"""Compact letter displays: which means differ, as letters that they share or do not."""

from __future__ import annotations

import numpy as np


def groups(different: np.ndarray) -> np.ndarray:
    """The smallest sets of means of which no two differ, by insertion and absorption.

    Piepho (2004), J. Comput. Graph. Statist. 13:456-466. Two means have a set in common if and
    only if they do not differ.

    Args:
        different: symmetric, bool; shape (mean, mean).

    Returns:
        Bool, shape (mean, set); sets in the order of their first means, then of the next.
    """
    k = len(different)
    sets = {frozenset(range(k))}
    for i in range(k):
        for j in range(i + 1, k):
            if different[i, j]:
                split = {s for s in sets if i in s and j in s}
                sets = _absorbed(sets - split | {s - {i} for s in split} | {s - {j} for s in split})
    ordered = sorted(sets, key=sorted)
    return np.array([[i in s for s in ordered] for i in range(k)], bool).reshape(k, -1)


def _absorbed(sets: set[frozenset[int]]) -> set[frozenset[int]]:
    """Without those that lie in another."""
    return {s for s in sets if not any(s < other for other in sets)}
