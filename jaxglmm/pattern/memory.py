"""What a fit needs in memory at its peak, by the factorisation that its design was found to take.

Counts of numbers alive at once, most of them at the Hessian, which keeps one tangent of H for each
parameter. Compared with the largest resident sizes of whole processes: InstEval (two factors, four
parameters) 1.3 GB crossed, 0.5 paired and 0.3 iterative; 1,000,000 rows of 100,000 x 100,000
levels 1.0 GB.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxglmm.pattern.cells import pairs
from jaxglmm.pattern.plan import Plan

_PROGRAM = 3e8  # the interpreter, JAX and a compiled program
_BASIS = 64  # vectors of a Krylov space


def peak_bytes(
    found: Plan,
    num_obs: int,
    num_levels: Sequence[int],
    num_columns: Sequence[int],
    num_fixed: int,
    num_params: int,
) -> float:
    """Bytes of a whole fit in double precision.

    Args:
        found: of `survey`.
        num_obs: rows.
        num_levels, num_columns: of each factor.
        num_fixed: columns of the fixed effects.
        num_params: all parameters.
    """
    columns = sum(num_columns)
    rows = num_obs * (40 + 3 * (num_fixed + columns) + num_params)
    sizes = [n * q for n, q in zip(num_levels, num_columns, strict=True)]
    levels = sum(
        size * (10 + 2 * num_params + q * (8 + num_params))
        for size, q in zip(sizes, num_columns, strict=True)
    )
    return _PROGRAM + 8.0 * (
        rows + levels + _shared(found, num_obs, sizes, num_columns, num_params)
    )


def _shared(
    found: Plan, num_obs: int, sizes: Sequence[int], num_columns: Sequence[int], num_params: int
) -> float:
    """Numbers of what factors share."""
    inner = float(sum(sizes[1:]))
    if found.choice == "crossed":
        return (sizes[0] * inner + inner**2) * (10 + 5 * num_params)
    if not found.cells:
        return 0.0
    widest = max(num_columns[1:])
    of_lead = sum(len(c.lead) for c in found.cells) * num_columns[0] * widest
    between = (len(pairs(len(sizes))) - len(found.cells)) * num_obs * widest**2
    cells = (of_lead + between) * (14 + 3 * num_params)
    if found.choice == "iterative":
        return cells + _BASIS * inner
    return cells + found.num_pairs * (5 + 3 * num_columns[0]) + inner**2 * (6 + num_params)
