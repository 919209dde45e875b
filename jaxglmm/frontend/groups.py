"""Grouping factors: which level each row belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.columns import factorise
from jaxglmm.frontend.context import Columns, Factor, drop_unused, match_levels
from jaxglmm.host import everywhere


@dataclass(frozen=True, eq=False)
class GroupCoder:
    """How rows are assigned to the levels of a grouping factor, a single one or a:b.

    levels: of each factor; keys: for a:b the observed combinations, coded row-major and sorted.
    """

    factors: tuple[str, ...]
    levels: tuple[list[Any], ...]
    keys: np.ndarray

    @property
    def name(self) -> str:
        return ":".join(self.factors)


def fit_groups(
    factors: tuple[str, ...],
    columns: Columns,
    state: dict[str, Any],
    *,
    may_be_single: bool = False,
) -> tuple[GroupCoder, list[Any], np.ndarray]:
    """The coder, the levels (text joined by ":" for several factors), and codes (n,) int32.

    A single level is refused unless the random terms can do with one.
    """
    found = [group_factor(code, columns, state) for code in factors]
    coder_levels = tuple(f.levels for f in found)
    if len(found) == 1:
        codes, levels = found[0].codes, found[0].levels
        keys = np.arange(len(levels))
    else:
        combined = factorise(_combine([f.codes for f in found], coder_levels))
        keys, codes = np.asarray(combined.categories), combined.codes
        levels = [_join(key, coder_levels) for key in keys.tolist()]
    coder = GroupCoder(factors, coder_levels, keys)
    if len(levels) < 2 and not may_be_single:
        only = f" ('{levels[0]}')" if levels else ""
        raise InputError(
            f"The grouping factor '{coder.name}' has a single level{only} in the rows used. "
            "Random effects need several groups: remove this random term."
        )
    return coder, levels, np.asarray(codes, np.int32)


def apply_groups(coder: GroupCoder, columns: list[Any]) -> np.ndarray:
    """(n,) int32 codes for new data, -1 where the level is missing or was not in the fit."""
    codes = [match_levels(c, lv) for c, lv in zip(columns, coder.levels, strict=True)]
    if len(codes) == 1:
        return codes[0].astype(np.int32)
    combined = _combine(codes, coder.levels)
    place = np.minimum(np.searchsorted(coder.keys, combined), len(coder.keys) - 1)
    seen = (coder.keys[place] == combined) & np.all([c >= 0 for c in codes], axis=0)
    return np.where(seen, place, -1).astype(np.int32)


def group_factor(code: str, columns: Columns, state: dict[str, Any]) -> Factor:
    """The levels of one grouping factor: a column, or an expression such as factor(x)."""
    from jaxglmm.frontend.encode import evaluate

    values = columns.arrays.get(code)
    if values is None:
        values = evaluate(code, columns, state)
    if isinstance(values, Factor):
        return values
    values = getattr(values, "__wrapped__", values)
    category: Any = getattr(values, "array", values) if hasattr(values, "cat") else values
    if not hasattr(category, "categories"):
        category = factorise(_whole(np.asarray(values)))
        if everywhere(lambda code: code >= 0, category.codes):  # each level has a row
            levels = category.categories.tolist()
            return Factor(category.codes, levels, levels)
    return drop_unused(category.codes, category.categories.tolist())


def _whole(values: np.ndarray) -> np.ndarray:
    """Whole numbers stored as floats (integers with missing values) become integers again."""
    if values.dtype.kind == "f" and np.all(values == np.floor(values)):
        return values.astype(np.int64)
    return values


def _combine(codes: list[np.ndarray], levels: tuple[list[Any], ...]) -> np.ndarray:
    combined = np.zeros(len(codes[0]), np.int64)
    for code, lv in zip(codes, levels, strict=True):
        combined = combined * len(lv) + code
    return combined


def _join(key: int, levels: tuple[list[Any], ...]) -> str:
    parts = []
    for lv in reversed(levels):
        key, place = divmod(key, len(lv))
        parts.append(str(lv[place]))
    return ":".join(reversed(parts))
