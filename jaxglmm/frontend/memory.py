"""What crossed grouping factors need in memory, before anything is allocated."""

from __future__ import annotations

from collections.abc import Sequence

from jaxglmm.errors import InputError
from jaxglmm.frontend.model import GroupingData
from jaxglmm.pattern import find_nesting

MAX_SHARED = 50_000_000  # entries of one matrix of a crossed design; some eight are alive at once


def check_memory(groupings: Sequence[GroupingData]) -> None:
    """Refuse random effects whose part of H would not fit in memory; the largest comes first."""
    if find_nesting([g.codes for g in groupings], [len(g.levels) for g in groupings]):
        return
    sizes = [len(g.levels) * g.Z.shape[1] for g in groupings]
    inner = sum(sizes[1:])
    numbers = sizes[0] * inner + inner**2 if inner else 0
    if numbers > MAX_SHARED:
        named = " and ".join(
            f"{size} of '{g.name}'" for g, size in zip(groupings, sizes, strict=True)
        )
        raise InputError(
            f"The random effects ({named}) need matrices of {8e-9 * numbers:.3g} GB each, several "
            "at a time: so many levels of several grouping factors are not yet supported. Leave "
            "one of the factors out, or take the smaller one as a fixed effect."
        )
