"""Cells: the pairs of a level of the leading factor and a level of another that rows have."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxglmm.arrays import AnyArray
from jaxglmm.layout import bucket
from jaxglmm.pattern.base import AbstractPattern


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cells:
    """Distinct pairs of the leading factor and one other, by leading level, then by the other.

    Attributes:
        of_row: cell of each row; shape (obs,), or (slot, chunk) in a layout.
        lead: level of the leading factor; shape (cell,).
        level: level of the other factor; shape (cell,).
    """

    of_row: AnyArray
    lead: AnyArray
    level: AnyArray

    def gathered(self, rows: AnyArray, xp: Any) -> Cells:
        """`of_row` in the order of a layout."""
        return dataclasses.replace(self, of_row=xp.asarray(self.of_row)[rows])

    def padded(self, num_lead: int, num_level: int) -> Cells:
        """Cells without rows at the last levels fill up the shape; there is one at least."""
        more = (0, bucket(len(self.lead) + 1) - len(self.lead))
        lead = np.pad(self.lead, more, constant_values=num_lead - 1)
        return Cells(self.of_row, lead, np.pad(self.level, more, constant_values=num_level - 1))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Iterative(AbstractPattern):
    """Crossed factors too large for a dense Schur complement: the cells of each inner factor."""

    cells: tuple[Cells, ...]

    def gathered(self, rows: AnyArray, xp: Any) -> Iterative:
        return Iterative(tuple(c.gathered(rows, xp) for c in self.cells))

    def padded(self, num_levels: tuple[int, ...]) -> Iterative:
        pairs = zip(self.cells, num_levels[1:], strict=True)
        return Iterative(tuple(c.padded(num_levels[0], levels) for c, levels in pairs))


def find_cells(codes: Sequence[np.ndarray], num_levels: Sequence[int]) -> tuple[Cells, ...]:
    """The cells of each factor but the first with that one."""
    return tuple(
        _find(codes[0], other, levels)
        for other, levels in zip(codes[1:], num_levels[1:], strict=True)
    )


def _find(lead: np.ndarray, other: np.ndarray, num_levels: int) -> Cells:
    keys, of_row = np.unique(lead.astype(np.int64) * num_levels + other, return_inverse=True)
    at, level = np.divmod(keys, num_levels)
    return Cells(of_row.astype(np.int32), at.astype(np.int32), level.astype(np.int32))
