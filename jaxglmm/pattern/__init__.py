"""Which levels of the grouping factors meet: what a factorisation knows before any number."""

from __future__ import annotations

from jaxglmm.pattern.base import AbstractPattern, Crossed, Independent
from jaxglmm.pattern.cells import Cells, Iterative, find_cells, find_iterative
from jaxglmm.pattern.memory import peak_bytes
from jaxglmm.pattern.nested import Nested, find_nesting
from jaxglmm.pattern.paired import Links, Paired, find_pairs
from jaxglmm.pattern.plan import PROBES, Plan, carry_out, survey

__all__ = [
    "PROBES",
    "AbstractPattern",
    "Cells",
    "Crossed",
    "Independent",
    "Iterative",
    "Links",
    "Nested",
    "Paired",
    "Plan",
    "carry_out",
    "find_cells",
    "find_iterative",
    "find_nesting",
    "find_pairs",
    "peak_bytes",
    "survey",
]
