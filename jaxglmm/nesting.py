"""Which grouping factors are nested in which: index maps, on the host."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def nesting(codes: Sequence[np.ndarray], num_levels: Sequence[int]) -> tuple[np.ndarray, ...]:
    """The parent of each level, where every factor is nested in the next one; else nothing.

    A level without rows has the parent 0.
    """
    parents = []
    for inner, outer, levels in zip(codes, codes[1:], num_levels, strict=False):
        parent = np.zeros(levels, np.int32)
        parent[inner] = outer
        if not np.array_equal(parent[inner], outer):
            return ()
        parents.append(parent)
    return tuple(parents)
