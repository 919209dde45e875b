"""What a pattern is: index arrays of a design, a pytree whose class chooses the factorisation."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import jax

from jaxglmm.arrays import AnyArray


@dataclasses.dataclass(frozen=True)
class AbstractPattern:
    """Index arrays that a factorisation needs beside the codes of the rows."""

    def gathered(self, rows: AnyArray, xp: Any) -> Self:
        """The same with arrays over rows in the order of a layout, shape (slot, chunk)."""
        del rows, xp
        return self

    def padded(self, num_levels: tuple[int, ...]) -> Self:
        """The same in shapes of the coarse grid of `layout.bucket`, with so many levels."""
        del num_levels
        return self


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Independent(AbstractPattern):
    """One grouping factor or none."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Crossed(AbstractPattern):
    """Factors of which nothing is known: every level may meet every other."""
