"""Contrasts by their names: coefficients, labels, and what they are adjusted by as a rule."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import check_choice
from jaxglmm.inference import contrasts

METHODS = (
    "pairwise",
    "revpairwise",
    "trt.vs.ctrl",
    "eff",
    "del.eff",
    "consec",
    "mean_chg",
    "poly",
    "identity",
)
_DEGREES = ("linear", "quadratic", "cubic", "quartic", "degree 5", "degree 6")
_ZERO = 1e-6  # share of the largest coefficient: a smaller sum of them is zero


class Contrasts(NamedTuple):
    """Named contrasts of k means.

    Attributes:
        labels: of each.
        matrix: shape (contrast, k).
        adjust: the usual method.
        is_pairwise: whether these are all differences of two means.
    """

    labels: list[str]
    matrix: np.ndarray
    adjust: str = "none"
    is_pairwise: bool = False

    @property
    def sum_to_zero(self) -> bool:
        largest = np.max(np.abs(self.matrix), axis=1, initial=0.0) + _ZERO
        return bool(np.all(np.abs(np.sum(self.matrix, axis=1)) / largest < _ZERO))


def find_contrasts(
    method: Any, names: Sequence[str], ref: Any = 0, plain: Sequence[str] = ()
) -> Contrasts:
    """Contrasts of the means called `names`: by a name, {label: coefficients} or a matrix.

    ref: for "trt.vs.ctrl" the control: its place, its name, or its `plain` name.
    """
    if not isinstance(method, str):
        return _given(method, names)
    check_choice("method", method, METHODS)
    k = len(names)
    if method in ("pairwise", "revpairwise"):
        return _pairwise(names, -1.0 if method == "revpairwise" else 1.0)
    if method == "trt.vs.ctrl":
        control = _control(ref, names, plain)
        labels = [f"{n} - {names[control]}" for i, n in enumerate(names) if i != control]
        return Contrasts(labels, contrasts.against(k, control), "dunnett")
    if method in ("eff", "del.eff"):
        matrix = contrasts.effects(k, others=method == "del.eff" and k > 1)
        return Contrasts([f"{name} effect" for name in names], matrix, "bh")
    if method == "consec":
        labels = [f"{b} - {a}" for a, b in zip(names, names[1:], strict=False)]
        return Contrasts(labels, contrasts.consecutive(k), "mvt")
    if method == "mean_chg":
        labels = [f"{a}|{b}" for a, b in zip(names, names[1:], strict=False)]
        return Contrasts(labels, contrasts.mean_changes(k), "mvt")
    if method == "poly":
        degree = min(k - 1, len(_DEGREES))
        return Contrasts(list(_DEGREES[:degree]), contrasts.polynomial(k, degree))
    return Contrasts(list(names), np.eye(k))


def _pairwise(names: Sequence[str], sign: float) -> Contrasts:
    pairs = list(combinations(names, 2))
    labels = [f"{a} - {b}" if sign > 0 else f"{b} - {a}" for a, b in pairs]
    return Contrasts(labels, sign * contrasts.pairwise(len(names)), "tukey", True)


def _control(ref: Any, names: Sequence[str], plain: Sequence[str]) -> int:
    is_place = isinstance(ref, (int, np.integer)) and not isinstance(ref, bool)
    if is_place and -len(names) <= ref < len(names):
        return int(ref) % len(names)
    for known in (names, plain):
        if isinstance(ref, str) and ref in known:
            return list(known).index(ref)
    listed = ", ".join(f"'{name}'" for name in names)
    raise InputError(
        f"ref: {ref!r} is no mean here. Give one of {listed}, or its place from 0 to "
        f"{len(names) - 1}."
    )


def _given(method: Any, names: Sequence[str]) -> Contrasts:
    if isinstance(method, Mapping):
        labels, rows = [str(label) for label in method], list(method.values())
    elif hasattr(method, "index") and hasattr(method, "to_numpy"):
        labels, rows = [str(label) for label in method.index], list(method.to_numpy())
    else:
        rows = list(np.atleast_1d(np.asarray(method, object)))
        single = bool(rows) and np.ndim(rows[0]) == 0
        rows = [rows] if single else rows
        labels = [f"contrast {i + 1}" for i in range(len(rows))]
    vectors = [_numbers(label, row, names) for label, row in zip(labels, rows, strict=True)]
    if not vectors:
        raise InputError("method: there are no contrasts. Give one row of coefficients or more.")
    return Contrasts(labels, np.stack(vectors))


def _numbers(label: str, row: Any, names: Sequence[str]) -> np.ndarray:
    try:
        values = np.asarray(row, float)
    except (TypeError, ValueError):
        raise InputError(
            f"method: the coefficients of '{label}' are no list of numbers. Give one for each of "
            f"{len(names)} means ({_shown(names)}), in this order."
        ) from None
    if values.shape != (len(names),):
        size = f"{values.size} coefficients" if values.ndim == 1 else f"shape {values.shape}"
        raise InputError(
            f"method: '{label}' has {size}, but there are {len(names)} means ({_shown(names)}). "
            "Give one coefficient for each of them, in this order."
        )
    if not np.all(np.isfinite(values)):
        raise InputError(f"method: the coefficients of '{label}' must be finite numbers.")
    return values


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def mean_names(columns: Mapping[str, Sequence[Any]]) -> list[str]:
    """What the rows of a table are called in contrasts: `Deprived Female`, `period1`, `(EC-A)`.

    Values that read as numbers stand behind the name of their column.
    """
    written = [_written(name, values) for name, values in columns.items()]
    found = [" ".join(parts) for parts in zip(*written, strict=True)]
    return [f"({name})" if re.search(r"[-+*/]", name) else name for name in found]


def _written(name: str, values: Sequence[Any]) -> list[str]:
    texts = [f"{v:g}" if isinstance(v, float) else str(v) for v in values]
    return [name + text for text in texts] if all(map(_as_number, values)) else texts


def _as_number(value: Any) -> bool:
    if str(value) in ("True", "False"):
        return True
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
