"""Covariance structures of the formula: what each asks of its term, and what the core gets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.given import cholesky_factor, level_name, zero_pairs
from jaxglmm.frontend.model import TermData
from jaxglmm.frontend.positions import Positions, fit_positions
from jaxglmm.frontend.random_terms import COORDINATE_STRUCTURES, RandomTerm

if TYPE_CHECKING:
    from jaxglmm.frontend.encode import Encoded

PATTERN = "pattern"
"""The structure of a covariance that is given as a matrix of zeros and ones."""

# Columns tied together by common parameters: one level of the group can carry them.
COUPLED = ("homdiag", "cs", "homcs", "ar1", "toep", "propto", *COORDINATE_STRUCTURES)
# One variance for all columns: the same column may have an effect in another term besides.
SHARED_VARIANCE = ("homdiag", "homcs", "ar1", "propto", *COORDINATE_STRUCTURES)
_ORDERED = ("ar1", "toep")
_OPTIONS = {"rr": ("d", "the rank"), "propto": ("K", "the name of a matrix")}
_DEFAULT_RANK = 2


def columns_code(term: RandomTerm) -> str:
    """The left side for formulaic; coordinates have no intercept."""
    return f"0 + {term.columns}" if term.structure in COORDINATE_STRUCTURES else term.columns


def check_options(term: RandomTerm) -> None:
    """Refuse options that a structure does not have."""
    if not term.options:
        return
    if term.structure not in _OPTIONS:
        raise InputError(
            f"The covariance structure '{term.structure}' of {term.text} takes no options. "
            "Remove what follows the comma."
        )
    name, meaning = _OPTIONS[term.structure]
    if len(term.options) > 1 or not set(term.options) <= {name, "1"}:
        raise InputError(
            f"{term.text}: '{term.structure}' takes one option, {name} ({meaning}). Remove the "
            "rest of what follows the comma."
        )


def complete(
    term: RandomTerm,
    encoded: Encoded,
    rows: np.ndarray,
    *,
    mask: Any = None,
    matrices: Mapping[str, Any] | None = None,
) -> tuple[TermData, np.ndarray, Positions | None]:
    """A term with its columns (n, q), and the positions of a process.

    mask: of the structure "pattern"; matrices: those of propto(... , K) by name. `rows` are the
    places of the rows in the caller's table, for messages.
    """
    if term.structure in COORDINATE_STRUCTURES:
        positions = fit_positions(term, encoded, rows)
        about = TermData(
            term.structure,
            positions.labels(),
            term.text,
            constants=(positions.distances(),),
            shared=" + ".join(encoded.names),
            components=(term.component,) * len(positions.labels()),
        )
        return about, positions.indicators(encoded.matrix), positions
    if term.structure in _ORDERED:
        _check_order(term, encoded)
    names, q = encoded.names, len(encoded.names)
    arguments: dict[str, Any] = {}
    constants: tuple[np.ndarray, ...] = ()
    if term.structure == "rr":
        arguments["rank"] = _rank(term, q)
    elif term.structure == "propto":
        constants = (cholesky_factor(term, _option(term), matrices, names),)
    elif term.structure == PATTERN:
        arguments["zeros"] = zero_pairs(term, mask, names)
    # The deviation of propto is that of a column whose entry on K's diagonal is one.
    shared = " + ".join(encoded.is_categorical) or None if term.structure == "propto" else None
    components = (term.component,) * q
    about = TermData(term.structure, names, term.text, arguments, constants, shared, components)
    return about, encoded.matrix, None


def _option(term: RandomTerm) -> str | None:
    return next(iter(term.options.values()), None)


def _rank(term: RandomTerm, num_columns: int) -> int:
    text = _option(term) or str(_DEFAULT_RANK)
    if not re.fullmatch(r"\d+", text) or not 1 <= int(text) <= num_columns:
        raise InputError(
            f"{term.text}: the rank d = {text} must be a whole number from 1 to the number of "
            f"columns, {num_columns}. Change d, or add columns before the '|'."
        )
    return int(text)


def _check_order(term: RandomTerm, encoded: Encoded) -> None:
    """Refuse columns that are not the levels of one factor, in an order that means something."""
    name, group = term.structure, ":".join(term.factors)
    asks = f"{term.text}: '{name}' needs an order, that of the levels of one factor, but"
    kinds = encoded.is_categorical
    if not all(kinds.values()):
        number = next(code for code, categorical in kinds.items() if not categorical)
        raise InputError(
            f"{asks} '{number}' is numeric. Write {name}(0 + factor({number}) | {group})."
        )
    if len(kinds) != 1 or len(encoded.spec.terms) != 1:
        factor = next(iter(kinds), "f")
        what = "there is an intercept" if len(kinds) == 1 else f"there are {len(kinds)} factors"
        what = what if kinds else "there is none"
        raise InputError(f"{asks} {what}. Write {name}(0 + {factor} | {group}).")
    _check_sorted_text(term, [level_name(n) for n in encoded.names])


def _check_sorted_text(term: RandomTerm, levels: list[str]) -> None:
    """Refuse t1, t10, t2: text sorts that way, but its numbers do not."""
    found = [re.findall(r"\d+\.?\d*", level) for level in levels]
    if levels != sorted(levels) or any(len(f) != 1 for f in found):
        return
    steps = np.diff([float(f[0]) for f in found])
    if not (np.all(steps >= 0) or np.all(steps <= 0)):
        shown = ", ".join(levels[:5])
        raise InputError(
            f"{term.text}: the levels are text and sort as {shown}, ..., which is not the order of "
            "their numbers. Give the column as numbers with factor(...), or as a pandas "
            "Categorical with its categories in order."
        )
