"""Columns of numbers as text: four to five digits, aligned on the decimal point."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

ABSENT = "-"  # what a number that does not exist prints as

_DIGITS = 5
_FIXED = range(-4, 7)  # decimal exponents printed without an e
_SMALLEST_P = 2.2e-16  # double precision: R prints anything below as <2e-16


def to_float(value: Any) -> float:
    """A float, NaN for whatever is none (None, pandas.NA, text)."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def estimates(values: Iterable[Any]) -> tuple[str, ...]:
    """Four to five significant digits each, with equal decimals where the magnitudes allow."""
    numbers = [to_float(v) for v in values]
    exponents = [_exponent(x) for x in numbers if _is_fixed(x)]
    common = max(_DIGITS - 2 - min(exponents), 0) if exponents else 0
    return align([_estimate(x, common) for x in numbers])


def brief(value: Any) -> str:
    """One number in three significant digits at most."""
    x = to_float(value)
    return _special(x) or f"{x:.3g}"


def fixed(values: Iterable[Any], decimals: int) -> tuple[str, ...]:
    """The same number of decimals for all; scientific from 1e7 on."""
    numbers = [to_float(v) for v in values]
    return align([_special(x) or _fixed(x, decimals) for x in numbers])


def degrees_of_freedom(values: Iterable[Any]) -> tuple[str, ...]:
    """Whole if all are, else with two decimals."""
    numbers = [to_float(v) for v in values]
    whole = all(x == round(x) for x in numbers if math.isfinite(x))
    return fixed(numbers, 0 if whole else 2)


def p_values(values: Iterable[Any]) -> tuple[str, ...]:
    """Three significant digits with common decimals, `<2e-16` at the end, as R prints them."""
    numbers = [to_float(v) for v in values]
    seen = [x for x in numbers if x >= _SMALLEST_P]
    large = [_exponent(x, 3) for x in seen if x >= 1e-3]
    decimals = max((2 - e for e in large), default=2)
    small = ".2e" if any(_exponent(x, 3) < -4 for x in seen) else ".6f"
    cells = [_p_value(x, decimals, small) for x in numbers]
    width = max(map(len, cells), default=0)
    return tuple(cell.rjust(width) for cell in cells)


def align(cells: Sequence[str]) -> tuple[str, ...]:
    """The cells padded on both sides: one width, decimal points under each other."""
    whole = [_whole_part(cell) for cell in cells]
    left = max(map(len, whole), default=0)
    right = max((len(c) - len(w) for c, w in zip(cells, whole, strict=True)), default=0)
    return tuple(
        " " * (left - len(w)) + cell + " " * (right - len(cell) + len(w))
        for cell, w in zip(cells, whole, strict=True)
    )


def _whole_part(cell: str) -> str:
    return cell.partition(".")[0].partition("e")[0]


def _exponent(x: float, digits: int = _DIGITS) -> int:
    """Of the number as rounded: 9.99999 has exponent 1."""
    return int(f"{x:.{digits - 1}e}".partition("e")[2])


def _is_fixed(x: float) -> bool:
    return x != 0 and math.isfinite(x) and _exponent(x) in _FIXED


def _special(x: float) -> str:
    if math.isnan(x):
        return ABSENT
    if math.isinf(x):
        return "Inf" if x > 0 else "-Inf"
    return ""


def _estimate(x: float, common: int) -> str:
    if special := _special(x):
        return special
    if x == 0:
        return "0"
    if not _is_fixed(x):
        return f"{x:.{_DIGITS - 1}e}"
    return f"{x:.{min(common, max(_DIGITS - 1 - _exponent(x), 0))}f}"


def _fixed(x: float, decimals: int) -> str:
    text = f"{x:.{decimals}f}" if abs(x) < 10.0**_FIXED.stop else f"{x:.{_DIGITS - 1}e}"
    return text.removeprefix("-") if float(text) == 0 else text  # no -0.000


def _p_value(x: float, decimals: int, small: str) -> str:
    if math.isnan(x):
        return ABSENT
    if x < _SMALLEST_P:
        return "<2e-16"
    return f"{x:.{decimals}f}" if x >= 1e-3 else f"{x:{small}}"
