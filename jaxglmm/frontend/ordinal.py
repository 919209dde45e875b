"""An ordinal response: its categories in order, none of them empty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import refuse_values, show_values
from jaxglmm.frontend.context import Columns, Factor

_MOST = 50  # categories; beyond it the response is a measurement


def ordinal_values(
    code: str, columns: Columns, rows: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, tuple[Any, ...]]:
    """(n,) places in `categories`, and these: declared ones in their order, else sorted values."""
    from jaxglmm.frontend.encode import evaluate

    found = evaluate(code, columns, {})
    if not isinstance(found, Factor):
        found = _sorted(code, np.asarray(getattr(found, "__wrapped__", found)), rows)
    check_number(code, len(found.declared))
    place = {level: k for k, level in enumerate(found.declared)}
    codes = np.array([place[level] for level in found.levels])[found.codes]
    check_filled(code, codes if weights is None else codes[weights > 0], found.declared)
    return codes, tuple(found.declared)


def check_number(code: str, number: int) -> None:
    """Refuse one category, or very many."""
    if not 1 < number <= _MOST:
        raise InputError(
            f"The response '{code}' has {number} categories. A cumulative family needs from 2 to "
            f"{_MOST} of them in order: merge some, or use another family."
        )


def check_filled(code: str, codes: np.ndarray, categories: Sequence[Any]) -> None:
    """Refuse categories without a row."""
    empty = np.flatnonzero(np.bincount(codes, minlength=len(categories)) == 0)
    if len(empty):
        names = [f"'{categories[int(k)]}'" for k in empty]
        raise InputError(
            f"The response '{code}' has no rows in its "
            f"{'category' if len(names) == 1 else 'categories'} {show_values(names)}, so the "
            "thresholds beside it cannot be told apart. Remove the category "
            "(cat.remove_unused_categories() in pandas), or merge it with a neighbour."
        )


def _sorted(code: str, values: np.ndarray, rows: np.ndarray) -> Factor:
    """The distinct values in ascending order."""
    if values.shape != (len(rows),) or values.dtype.kind not in "biuf":
        raise InputError(
            f"The response '{code}' does not give one category a row. Use an ordered categorical "
            "column, or one of whole numbers."
        )
    bad = ~np.isfinite(values.astype(float))
    if bad.any():
        remedy = "Leave these rows out with subset=, or change the expression."
        refuse_values(f"The response '{code}'", "must be finite", values, bad, rows, remedy)
    levels, codes = np.unique(values, return_inverse=True)
    shown = [int(v) if float(v).is_integer() else v for v in levels.tolist()]
    return Factor(codes, shown, shown)


def threshold_names(categories: tuple[Any, ...]) -> list[str]:
    """`1|2`, `2|3`, ...: the thresholds by the categories on their sides."""
    return [f"{a}|{b}" for a, b in zip(categories, categories[1:], strict=False)]
