"""Which levels of the grouping factors meet: what a factorisation knows before any number."""

from __future__ import annotations

from jaxglmm.pattern.base import AbstractPattern, Crossed, Independent
from jaxglmm.pattern.cells import Cells, Iterative, find_cells, find_iterative
from jaxglmm.pattern.nested import Nested, find_nesting
from jaxglmm.pattern.paired import Links, Paired, find_pairs
from jaxglmm.pattern.plan import CHOICES, PROBES, plan

__all__ = [
    "CHOICES",
    "PROBES",
    "AbstractPattern",
    "Cells",
    "Crossed",
    "Independent",
    "Iterative",
    "Links",
    "Nested",
    "Paired",
    "find_cells",
    "find_iterative",
    "find_nesting",
    "find_pairs",
    "plan",
]
