"""Factors nested in each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from jaxglmm.arrays import AnyArray
from jaxglmm.pattern.base import AbstractPattern


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Nested(AbstractPattern):
    """Every factor lies in the next: the level of the next that each level lies in, (level,)."""

    parents: tuple[AnyArray, ...]

    def ancestors(self, k: int, m: int) -> AnyArray:
        """Level of factor m that each level of factor k is nested in, m > k; shape (level,)."""
        found = self.parents[k]
        for parent in self.parents[k + 1 : m]:
            found = parent[found]
        return found

    def padded(self, num_levels: tuple[int, ...]) -> Nested:
        pairs = zip(self.parents, num_levels, strict=False)
        return Nested(tuple(np.pad(p, (0, levels - len(p))) for p, levels in pairs))


def find_nesting(codes: Sequence[np.ndarray], num_levels: Sequence[int]) -> Nested | None:
    """The parent of each level, where every factor is nested in the next one; else None.

    A level without rows has the parent 0.
    """
    parents = []
    for inner, outer, levels in zip(codes, codes[1:], num_levels, strict=False):
        parent = np.zeros(levels, np.int32)
        parent[inner] = outer
        if not np.array_equal(parent[inner], outer):
            return None
        parents.append(parent)
    return Nested(tuple(parents))
