"""Cells: the pairs of a level of one factor and a level of another that rows have."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxglmm.arrays import AnyArray
from jaxglmm.layout import bucket
from jaxglmm.pattern.base import AbstractPattern

_SEED = 2510  # of the probes: any number, but one


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cells:
    """Distinct pairs of one factor and another, by level of the one, then of the other.

    Attributes:
        of_row: cell of each row; shape (obs,), or (slot, chunk) in a layout.
        lead: level of the one factor, the leading one unless said otherwise; shape (cell,).
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
    """Crossed factors too large for a dense Schur complement.

    Attributes:
        cells: of each pair of factors, in the order of `pairs`.
        probes: signs +-1, int8, one (probe, column, level) array for each factor but the first.
    """

    cells: tuple[Cells, ...]
    probes: tuple[AnyArray, ...]

    def gathered(self, rows: AnyArray, xp: Any) -> Iterative:
        cells = tuple(c.gathered(rows, xp) for c in self.cells)
        return Iterative(cells, tuple(xp.asarray(p) for p in self.probes))

    def padded(self, num_levels: tuple[int, ...]) -> Iterative:
        cells = tuple(
            c.padded(num_levels[a], num_levels[b])
            for c, (a, b) in zip(self.cells, pairs(len(num_levels)), strict=True)
        )
        probes = tuple(
            np.pad(p, ((0, 0), (0, 0), (0, levels - p.shape[-1])), constant_values=1)
            for p, levels in zip(self.probes, num_levels[1:], strict=True)
        )
        return Iterative(cells, probes)


def pairs(num_factors: int) -> list[tuple[int, int]]:
    """Pairs of factors: those of the leading one with each other come first."""
    return list(itertools.combinations(range(num_factors), 2))


def find_cells(codes: Sequence[np.ndarray], num_levels: Sequence[int]) -> tuple[Cells, ...]:
    """The cells of each factor but the first with that one."""
    return tuple(
        _find(codes[0], other, levels)
        for other, levels in zip(codes[1:], num_levels[1:], strict=True)
    )


def find_iterative(
    codes: Sequence[np.ndarray],
    num_levels: Sequence[int],
    num_columns: Sequence[int],
    cells: tuple[Cells, ...],
    num_probes: int,
) -> Iterative:
    """The cells of all pairs, those of the first factor being known, and probes drawn once.

    The probes belong to the design: every evaluation, and every response fitted to it, has the
    same ones, so that the estimated log-determinant is a smooth function of the parameters.
    """
    inner = [_find(codes[a], codes[b], num_levels[b]) for a, b in pairs(len(codes))[len(cells) :]]
    counts = [np.bincount(c, minlength=n) for c, n in zip(codes[1:], num_levels[1:], strict=True)]
    return Iterative((*cells, *inner), _draw_probes(counts, num_columns[1:], num_probes))


def _draw_probes(
    counts: Sequence[np.ndarray], num_columns: Sequence[int], num_probes: int
) -> tuple[np.ndarray, ...]:
    """Random signs, balanced along the directions that carry most of the noise.

    Factors share their mean: the scaled Schur complement has an eigenvalue near zero for the
    vector v of the square roots of the levels' sizes. Over independent signs z the mean of
    (v'z)^2, which should be |v|^2, is far from it; here few signs are turned until v'z, column by
    column, is a random orthogonal set of numbers of that mean square.
    """
    rng, total = np.random.default_rng(_SEED), sum(num_columns)
    aims = rng.normal(size=(num_probes, total))
    if total <= num_probes:
        aims = np.sqrt(num_probes) * np.linalg.qr(aims)[0]
    probes, first = [], 0
    for count, q in zip(counts, num_columns, strict=True):
        v = np.sqrt(count)
        own = aims[:, first : first + q] * np.linalg.norm(v)
        probes.append(np.stack([[_signs(rng, v, aim) for aim in row] for row in own]))
        first += q
    return tuple(probes)


def _signs(rng: np.random.Generator, v: np.ndarray, aim: float) -> np.ndarray:
    """Random signs z, turned in random order while that takes v'z nearer to the aim."""
    z = (2 * rng.integers(0, 2, len(v)) - 1).astype(np.int8)
    excess = float(v @ z) - aim
    order = rng.permutation(np.flatnonzero(z * np.sign(excess) > 0))
    change = np.cumsum(2.0 * v[order])
    turned = np.argmin(np.abs(np.abs(excess) - np.concatenate([[0.0], change])))
    z[order[:turned]] *= -1
    return z


def _find(first: np.ndarray, other: np.ndarray, num_levels: int) -> Cells:
    keys, of_row = np.unique(first.astype(np.int64) * num_levels + other, return_inverse=True)
    at, level = np.divmod(keys, num_levels)
    return Cells(of_row.astype(np.int32), at.astype(np.int32), level.astype(np.int32))
