"""Pairs of cells: which inner levels share a leading level, and so an entry of its elimination."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxglmm.arrays import AnyArray
from jaxglmm.layout import bucket
from jaxglmm.pattern.base import AbstractPattern
from jaxglmm.pattern.cells import Cells


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Links:
    """The entries of the Schur complement between two inner factors, and the pairs they sum over.

    Attributes:
        left, right: cells of either factor with a common leading level; shape (pair,). Within one
            factor each unordered pair is there once, the left cell having the higher level.
        entry: entry that the pair adds to; shape (pair,).
        row, column: levels of either factor of each entry, ascending; shape (entry,).
        of_row: entry of each row's own two levels; shape (obs,), or (slot, chunk) in a layout.
        diagonal: entry of each level with itself, (level,); of no length between two factors.
        factors: numbers of the two factors among the inner ones, the first not the smaller, static.
    """

    left: AnyArray
    right: AnyArray
    entry: AnyArray
    row: AnyArray
    column: AnyArray
    of_row: AnyArray
    diagonal: AnyArray
    factors: tuple[int, int] = dataclasses.field(metadata={"static": True})

    def gathered(self, rows: AnyArray, xp: Any) -> Links:
        """`of_row` in the order of a layout."""
        return dataclasses.replace(self, of_row=xp.asarray(self.of_row)[rows])

    def padded(self, num_cells: tuple[int, int], num_levels: tuple[int, int]) -> Links:
        """Pairs of empty cells and entries beyond the matrix fill up the shapes.

        The row and column of an added entry are `num_levels`: out of bounds on purpose, so that
        nothing is written there. A level added has its diagonal entry among them.
        """
        pairs = bucket(len(self.left)) - len(self.left)
        levels = num_levels[0] - len(self.diagonal) if len(self.diagonal) else 0
        entries = bucket(len(self.row) + levels)
        beyond = entries - len(self.row) - levels
        fresh = np.arange(num_levels[0] - levels, num_levels[0], dtype=np.int32)

        def extend(values: np.ndarray, past: int) -> np.ndarray:
            return np.concatenate([values, fresh, np.full(beyond, past, np.int32)])

        return dataclasses.replace(
            self,
            left=np.pad(self.left, (0, pairs), constant_values=num_cells[0] - 1),
            right=np.pad(self.right, (0, pairs), constant_values=num_cells[1] - 1),
            entry=np.pad(self.entry, (0, pairs), constant_values=entries - 1),
            row=extend(self.row, num_levels[0]),
            column=extend(self.column, num_levels[1]),
            diagonal=np.concatenate(
                [self.diagonal, len(self.row) + np.arange(levels, dtype=np.int32)]
            ),
        )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Paired(AbstractPattern):
    """Crossed factors of which few levels meet: cells by inner factor, links by pair of them."""

    cells: tuple[Cells, ...]
    links: tuple[Links, ...]

    def gathered(self, rows: AnyArray, xp: Any) -> Paired:
        return Paired(
            tuple(c.gathered(rows, xp) for c in self.cells),
            tuple(link.gathered(rows, xp) for link in self.links),
        )

    def padded(self, num_levels: tuple[int, ...]) -> Paired:
        inner = num_levels[1:]
        cells = tuple(
            c.padded(num_levels[0], levels) for c, levels in zip(self.cells, inner, strict=True)
        )

        def pad(link: Links) -> Links:
            m, k = link.factors
            return link.padded((len(cells[m].lead), len(cells[k].lead)), (inner[m], inner[k]))

        return Paired(cells, tuple(pad(link) for link in self.links))


def find_pairs(
    codes: Sequence[np.ndarray], num_levels: Sequence[int], cells: tuple[Cells, ...]
) -> Paired:
    """Every pair of cells with a common leading level."""
    inner = range(len(cells))
    links = [_link(codes, num_levels, cells, m, k) for m in inner for k in range(m + 1)]
    return Paired(cells, tuple(links))


def count_pairs(cells: tuple[Cells, ...], num_lead: int) -> int:
    """How many pairs `find_pairs` would list."""
    counts = [np.bincount(c.lead, minlength=num_lead).astype(float) for c in cells]
    within = sum(float(np.sum(n * (n + 1) / 2)) for n in counts)
    total = np.sum(counts, axis=0)
    return int(within + (np.sum(total**2) - sum(float(np.sum(n**2)) for n in counts)) / 2)


def _link(
    codes: Sequence[np.ndarray],
    num_levels: Sequence[int],
    cells: tuple[Cells, ...],
    m: int,
    k: int,
) -> Links:
    first, counts = _within(cells[m]) if m == k else _between(cells[m], cells[k], num_levels[0])
    left, right = _expand(first, counts)
    height, width = num_levels[m + 1], num_levels[k + 1]
    tops = np.repeat(cells[m].level.astype(np.int64) * width, counts)
    keys = tops + cells[k].level.take(right)
    # Levels without rows have a diagonal entry all the same.
    loops = np.arange(height if m == k else 0, dtype=np.int64) * (width + 1)
    # A map of the whole matrix is shorter than sorting the pairs, which stay by leading level:
    # what they gather lies close together then.
    met = np.zeros(height * width, bool)
    met[keys] = met[loops] = True
    entries = np.flatnonzero(met)
    number = np.zeros(met.shape, np.int32)
    number[entries] = np.arange(len(entries), dtype=np.int32)
    own = codes[m + 1].astype(np.int64) * width + codes[k + 1]
    return Links(
        left=left,
        right=right,
        entry=number[keys],
        row=(entries // width).astype(np.int32),
        column=(entries % width).astype(np.int32),
        of_row=number[own],
        diagonal=number[loops],
        factors=(m, k),
    )


def _within(cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    """The partners of each cell: itself and those before it at the same leading level.

    They lie in a row: the first of them, and how many there are.
    """
    num = len(cells.lead)
    first = np.searchsorted(cells.lead, cells.lead)
    return first, np.arange(num) - first + 1


def _between(a: Cells, b: Cells, num_lead: int) -> tuple[np.ndarray, np.ndarray]:
    """The same of cells of a: all of b at the same leading level."""
    ends = np.cumsum(np.bincount(b.lead, minlength=num_lead))
    starts = np.concatenate([[0], ends[:-1]])
    return starts[a.lead], (ends - starts)[a.lead]


def _expand(first: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cell i with `counts[i]` partners from `first[i]` on."""
    left = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    before = np.cumsum(counts) - counts
    shift = np.repeat((first - before).astype(np.int32), counts)
    return left, np.arange(len(left), dtype=np.int32) + shift
