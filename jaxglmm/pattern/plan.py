"""Which pattern serves a design best: the cheapest that fits in memory.

Costs are those of one factorisation with its inverse on two CPU cores, in seconds: products of
dense matrices run at some 1e11 operations a second, a pair of cells takes 5 ns for each entry of
its small product (gathers and a scatter).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxglmm.pattern.base import AbstractPattern, Crossed, Independent
from jaxglmm.pattern.cells import Cells, find_cells, find_iterative
from jaxglmm.pattern.nested import Nested, find_nesting
from jaxglmm.pattern.paired import count_pairs, find_pairs

_PAIR, _PRODUCT = 5e-9, 1e-11
MAX_INNER = 6_000  # random effects of a dense Schur complement: 0.3 GB, 3 s an evaluation
MAX_PAIRS = 100_000_000
PROBES = 16  # InstEval: estimates within 0.001 standard errors of the exact ones
MAX_BORDER = 50_000_000  # numbers of a dense border; some four of it are alive at once


class Plan(NamedTuple):
    """What a design was found to be, before anything is made for it.

    Attributes:
        choice: "independent", "nested" or one of `control.FACTORISATIONS` but "auto".
        nested: the nesting, where that is the choice.
        cells: of the leading factor with each other, where a choice among crossed ones was made.
        num_pairs: pairs of cells that a list of them would hold.
    """

    choice: str
    nested: Nested | None = None
    cells: tuple[Cells, ...] = ()
    num_pairs: int = 0


def survey(
    codes: Sequence[np.ndarray],
    num_levels: Sequence[int],
    num_columns: Sequence[int],
    wanted: str = "auto",
) -> Plan:
    """The choice for a design; `wanted` overrides that between those for crossed factors.

    Args:
        codes: level of each row, (obs,) for each factor, the one to be eliminated first.
        num_levels, num_columns: of each factor.
        wanted: one of `control.FACTORISATIONS`.
    """
    if len(codes) < 2:
        return Plan("independent")
    nested = find_nesting(codes, num_levels) if wanted == "auto" else None
    if nested is not None:
        return Plan("nested", nested)
    cells = find_cells(codes, num_levels)
    num_pairs = count_pairs(cells, num_levels[0])
    if wanted == "auto":
        wanted = _cheapest(num_pairs, num_levels, num_columns)
    return Plan(wanted, None, cells, num_pairs)


def carry_out(
    found: Plan,
    codes: Sequence[np.ndarray],
    num_levels: Sequence[int],
    num_latent: Sequence[int],
    num_probes: int = PROBES,
) -> AbstractPattern:
    """The pattern of a plan.

    Args:
        found: of `survey`.
        codes, num_levels: as there.
        num_latent: spherical random effects of a level, of each factor.
        num_probes: random vectors of an iterative factorisation.
    """
    if found.nested is not None:
        return found.nested
    if found.choice == "paired":
        return find_pairs(codes, num_levels, found.cells)
    if found.choice == "iterative":
        return find_iterative(codes, num_levels, num_latent, found.cells, num_probes)
    return Crossed() if found.choice == "crossed" else Independent()


def _cheapest(num_pairs: int, num_levels: Sequence[int], num_columns: Sequence[int]) -> str:
    lead = num_levels[0] * num_columns[0]
    inner = sum(n * q for n, q in zip(num_levels[1:], num_columns[1:], strict=True))
    if inner > MAX_INNER:
        return "iterative"
    widest = max(num_columns[1:])
    pairs = num_pairs * num_columns[0] * widest**2
    by_pairs, by_product = _PAIR * pairs, _PRODUCT * lead * inner**2
    crossed_fits, paired_fits = lead * inner <= MAX_BORDER, pairs <= MAX_PAIRS
    if crossed_fits and (by_product <= by_pairs or not paired_fits):
        return "crossed"
    return "paired" if paired_fits else "iterative"
