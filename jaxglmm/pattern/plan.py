"""Which pattern serves a design best: the cheapest that fits in memory.

Costs are those of one factorisation with its inverse on two CPU cores, in seconds: products of
dense matrices run at some 1e11 operations a second, a pair of cells takes 5 ns for each entry of
its small product (gathers and a scatter).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxglmm.pattern.base import AbstractPattern, Crossed, Independent
from jaxglmm.pattern.cells import Cells, find_cells, find_iterative
from jaxglmm.pattern.nested import find_nesting
from jaxglmm.pattern.paired import count_pairs, find_pairs

CHOICES = ("auto", "crossed", "paired", "iterative")

_PAIR, _PRODUCT = 5e-9, 1e-11
MAX_INNER = 6_000  # random effects of a dense Schur complement: 0.3 GB, 3 s an evaluation
MAX_PAIRS = 100_000_000
PROBES = 16
MAX_BORDER = 50_000_000  # numbers of a dense border; some four of it are alive at once


def plan(
    codes: Sequence[np.ndarray],
    num_levels: Sequence[int],
    num_columns: Sequence[int],
    wanted: str = "auto",
    num_probes: int = PROBES,
) -> AbstractPattern:
    """The pattern of a design; `wanted` overrides the choice between those for crossed factors.

    Args:
        codes: level of each row, (obs,) for each factor, the one to be eliminated first.
        num_levels, num_columns: of each factor.
        wanted: one of `CHOICES`.
        num_probes: random vectors of an iterative factorisation.
    """
    if len(codes) < 2:
        return Independent()
    nested = find_nesting(codes, num_levels)
    if wanted == "auto" and nested is not None:
        return nested
    cells = find_cells(codes, num_levels)
    choice = _cheapest(cells, num_levels, num_columns) if wanted == "auto" else wanted
    if choice == "paired":
        return find_pairs(codes, num_levels, cells)
    if choice == "crossed":
        return Crossed()
    return find_iterative(codes, num_levels, num_columns, cells, num_probes)


def _cheapest(
    cells: tuple[Cells, ...], num_levels: Sequence[int], num_columns: Sequence[int]
) -> str:
    lead = num_levels[0] * num_columns[0]
    inner = sum(n * q for n, q in zip(num_levels[1:], num_columns[1:], strict=True))
    if inner > MAX_INNER:
        return "iterative"
    widest = max(num_columns[1:])
    pairs = count_pairs(cells, num_levels[0]) * num_columns[0] * widest**2
    by_pairs, by_product = _PAIR * pairs, _PRODUCT * lead * inner**2
    crossed_fits, paired_fits = lead * inner <= MAX_BORDER, pairs <= MAX_PAIRS
    if crossed_fits and (by_product <= by_pairs or not paired_fits):
        return "crossed"
    return "paired" if paired_fits else "iterative"
