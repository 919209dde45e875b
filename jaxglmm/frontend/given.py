"""Matrices that the caller gives: the known K of propto(), and zero patterns of covariances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.random_terms import RandomTerm

_SYMMETRY = 1e-8  # of K, relative to its largest entry: rounding of tables written to files


def cholesky_factor(
    term: RandomTerm,
    name: str | None,
    matrices: Mapping[str, Any] | None,
    columns: tuple[str, ...],
) -> np.ndarray:
    """(q, q) lower Cholesky factor of the matrix that a propto term names.

    A DataFrame is reordered to the columns of the term by its labels (of levels or of columns),
    those that no column has are left out; an array has the order of the columns.
    """
    if name is None:
        raise InputError(
            f"{term.text}: 'propto' needs the name of a matrix. Write propto(0 + f | g, K) and "
            "give matrices={'K': K}."
        )
    if name not in (matrices or {}):
        known = ", ".join(map(repr, matrices or ())) or "none"
        raise InputError(
            f"{term.text}: there is no matrix '{name}' in matrices= (given: {known}). Give "
            f"matrices={{'{name}': K}}, K a data frame or an array of numbers."
        )
    where = f"matrices['{name}']"
    given = (matrices or {})[name]
    labels = _labels(where, given)
    values = _numbers(where, given)
    if labels is not None:
        places = _places(where, labels, columns, term)
        values = values[np.ix_(places, places)]
    _check_square(where, values, len(columns), "of the term's columns, " + _some(columns))
    return _factor(where, values)


def zero_pairs(
    term: RandomTerm, mask: Any, columns: tuple[str, ...]
) -> tuple[tuple[int, int], ...]:
    """The pairs (i, j), i > j, at which a matrix of zeros and ones is zero."""
    of_formula = "" if term.component == "cond" else f"['{term.component}']"
    where = f"covariance{of_formula}['{':'.join(term.factors)}']"
    values = _numbers(where, mask)
    _check_square(where, values, len(columns), "of the term's columns, " + _some(columns))
    if not np.isin(values, (0, 1)).all():
        raise InputError(f"{where} must hold zeros and ones (or False and True) only.")
    if not (values == values.T).all():
        i, j = np.argwhere(values != values.T)[0]
        raise InputError(
            f"{where} must be symmetric, but its entries ({i}, {j}) and ({j}, {i}) differ. "
            "Make them equal."
        )
    if not (np.diagonal(values) == 1).all():
        place = int(np.flatnonzero(np.diagonal(values) != 1)[0])
        raise InputError(
            f"{where} must have ones on its diagonal, but entry {place} is 0. To leave the "
            f"column '{columns[place]}' out, take it out of the formula."
        )
    return tuple((int(i), int(j)) for i, j in np.argwhere(values == 0) if i > j)


def check_matrices(matrices: Any, terms: tuple[RandomTerm, ...]) -> None:
    """Refuse matrices= that is no dict of names, or that names what no term uses."""
    if matrices is None:
        return
    if not isinstance(matrices, Mapping):
        raise InputError(
            f"matrices: expected a dict of names and matrices, got {type(matrices).__name__}; "
            "write matrices={'K': K} for propto(0 + f | g, K)."
        )
    used = [
        value for term in terms if term.structure == "propto" for value in term.options.values()
    ]
    for name in matrices:
        if name not in used:
            raise InputError(
                f"matrices names '{name}', which no propto(... | ..., {name}) of the formula uses. "
                "Correct the name or leave it out."
            )


def level_name(column: str) -> str:
    """The level of an indicator column: "a" of "f[a]"."""
    return column[column.index("[") + 1 : -1] if column.endswith("]") else column


def _numbers(where: str, given: Any) -> np.ndarray:
    try:
        values = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(
            f"{where} must be a matrix of numbers: a data frame or a two-dimensional array, not "
            f"{type(given).__name__}."
        ) from None
    if values.ndim != 2:
        raise InputError(
            f"{where} must be a matrix, but has {values.ndim} dimensions. Give a data frame or a "
            "two-dimensional array."
        )
    if not np.isfinite(values).all():
        i, j = np.argwhere(~np.isfinite(values))[0]
        raise InputError(f"{where} must be finite, but its entry ({i}, {j}) is {values[i, j]}.")
    return values


def _check_square(where: str, values: np.ndarray, size: int, what: str) -> None:
    if values.shape != (size, size):
        raise InputError(
            f"{where} has shape {values.shape}, but must be ({size}, {size}), a row and a column "
            f"for each {what}. Change its shape, or the columns."
        )


def _labels(where: str, given: Any) -> list[str] | None:
    """The labels of a pandas data frame, as text; None for an array."""
    if not (hasattr(given, "index") and hasattr(given, "columns")):
        return None
    rows, columns = list(map(str, given.index)), list(map(str, given.columns))
    if rows != columns or len(set(rows)) < len(rows):
        raise InputError(
            f"{where} must have the same labels on its rows and columns, each once and in the "
            "same order. Set its index to its columns."
        )
    return rows


def _places(where: str, labels: list[str], columns: tuple[str, ...], term: RandomTerm) -> list[int]:
    """The place of each column's label."""
    wanted = list(columns)
    if not set(wanted) <= set(labels):
        wanted = [level_name(column) for column in columns]
    absent = [level for level in wanted if level not in labels]
    if absent:
        raise InputError(
            f"The labels of {where} do not match the columns of {term.text}: there is none for "
            f"{_some(absent)}; its labels are {_some(labels)}. Rename them to the levels."
        )
    return [labels.index(level) for level in wanted]


def _factor(where: str, values: np.ndarray) -> np.ndarray:
    gap = np.abs(values - values.T)
    if gap.max() > _SYMMETRY * np.abs(values).max():
        i, j = np.unravel_index(int(np.argmax(gap)), gap.shape)
        raise InputError(
            f"{where} is not symmetric: its entries ({i}, {j}) and ({j}, {i}) are "
            f"{values[i, j]:g} and {values[j, i]:g}. Make them equal."
        )
    values = 0.5 * (values + values.T)
    lowest, largest = np.linalg.eigvalsh(values)[[0, -1]]
    if lowest <= len(values) * np.finfo(float).eps * largest:
        raise InputError(
            f"{where} is not positive definite: its smallest eigenvalue is {lowest:.3g}, its "
            f"largest {largest:.3g}. Merge levels that it cannot tell apart, or add a small number "
            "to its diagonal."
        )
    return np.linalg.cholesky(values)


def _some(names: list[str] | tuple[str, ...]) -> str:
    shown = ", ".join(f"'{name}'" for name in list(names)[:5])
    return shown + (", ..." if len(names) > 5 else "")
