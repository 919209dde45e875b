"""Models that are parts of one table: each has its own rows, levels and columns."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxglmm.arrays import AnyArray
from jaxglmm.batch.many import Own
from jaxglmm.pattern import AbstractPattern, Nested
from jaxglmm.rows import Rows


class Part(NamedTuple):
    """One model as chunks of a table's rows, in shapes that several models share.

    Attributes:
        chunks: of the table, in the order of the model; shape (chunk,).
        filled: false where a chunk only pads: its rows count for nothing; shape (chunk,).
        codes: level of the leading factor of each chunk, ascending and numbered within the model;
            shape (chunk,).
        parents: as in `pattern.Nested`, within the model; empty where factors are not nested.
        free: columns of X with a coefficient to estimate, None for those of the table;
            shape (fixed,).
    """

    chunks: AnyArray
    filled: AnyArray
    codes: AnyArray
    parents: tuple[AnyArray, ...]
    free: AnyArray | None = None


def own_of(table: Rows, part: Part) -> Own:
    """What a model has for itself. Of crossed factors the table's codes are numbered within the
    model already."""
    whole = table.y.shape

    def taken(values: Any) -> Any:
        """The model's chunks; what all rows share stays as it is."""
        return values[..., part.chunks] if values.shape[-2:] == whole else values

    multiplier = jnp.where(part.filled, taken(table.multiplier), 0.0)
    pattern: AbstractPattern | None = None
    codes: tuple[Any, ...] = (part.codes, *map(taken, table.codes[1:]))
    if part.parents:
        pattern = Nested(part.parents)
        ancestors = (pattern.ancestors(0, k) for k in range(1, len(table.codes)))
        codes = (part.codes, *(up[part.codes] for up in ancestors))
    return Own(
        y=taken(table.y),
        weight=taken(table.weight),
        multiplier=multiplier.astype(table.dtype),
        offset=taken(table.offset),
        offsets=tuple(map(taken, table.offsets)),
        X=taken(table.X),
        Z=tuple(map(taken, table.Z)),
        codes=codes[: len(table.codes)],
        pattern=pattern,
        free=part.free,
    )
