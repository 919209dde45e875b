"""Which columns and functions a piece of a formula uses; formulaic's parse, cached by text."""

from __future__ import annotations

import builtins
import difflib
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.frame import Frame
from jaxglmm.frontend.names import names_in
from jaxglmm.frontend.tokens import column_name, fail

if TYPE_CHECKING:
    from formulaic import SimpleFormula

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@lru_cache(maxsize=1)
def functions() -> dict[str, Any]:
    """Functions of formulas beyond formulaic's own (log, exp, poly, bs, scale, C, ...)."""
    from formulaic.transforms import C

    names = ("sqrt", "abs", "log1p", "expm1", "sin", "cos", "tan", "floor", "ceil", "sign")
    return {**{name: getattr(np, name) for name in names}, "factor": C}


@lru_cache(maxsize=256)
def formula_of(code: str) -> SimpleFormula:
    """formulaic's parse of a bar-free right-hand side; its complaints become InputErrors."""
    from formulaic import Formula
    from formulaic.errors import FormulaicError
    from formulaic.formula import SimpleFormula

    try:
        formula = Formula.from_spec(code)
    except (FormulaicError, SyntaxError, ValueError, TypeError, IndexError) as error:
        _explain(str(error), code)
    if not isinstance(formula, SimpleFormula):
        raise InputError(f"The formula part '{code}' is not a single sum of terms.")
    return formula


def _explain(message: str, code: str) -> None:
    """Turn formulaic's marked source into a line of carets."""
    said, _, marked = _COLOURS.sub("", message).partition("\n\n")
    start, end = marked.find("⧛"), marked.find("⧚")
    if start < 0 or end < start:
        fail(code, 0, len(code), f"The formula cannot be read: {said}")
    source = marked.replace("⧛", "").replace("⧚", "")
    fail(source, start, end - 1, f"The formula cannot be read: {said}")


@lru_cache(maxsize=256)
def _names(code: str, is_expression: bool) -> tuple[tuple[str, bool], ...]:
    """(name, whether it is only called) of everything a formula or an expression names."""
    if is_expression:
        name = column_name(code)
        return tuple(names_in(code).items()) if name is None else ((name, False),)
    found: dict[str, bool] = {}
    for factor in _factors(code):
        if factor.eval_method.value == "lookup":
            found[factor.expr] = False
        elif factor.eval_method.value == "python":
            for name, called in names_in(factor.expr).items():
                found[name] = found.get(name, True) and called
    return tuple(found.items())


def _factors(code: str) -> list[Any]:
    found = {}
    for term in formula_of(code):
        for factor in term.factors:
            found.setdefault(factor.expr, factor)
    return list(found.values())


@lru_cache(maxsize=256)
def expressions(code: str) -> tuple[str, ...]:
    """The functions of columns that a formula has."""
    return tuple(f.expr for f in _factors(code) if f.eval_method.value == "python")


@lru_cache(maxsize=256)
def plain_columns(code: str) -> tuple[str, ...]:
    """The columns that a formula names outside any function."""
    return tuple(f.expr for f in _factors(code) if f.eval_method.value == "lookup")


def columns_in(code: str, frame: Frame, *, is_expression: bool = False) -> list[str]:
    """Columns of the frame used by a formula (or an expression); unknown names are InputErrors."""
    found = []
    for name, only_called in _names(code, is_expression):
        column = _resolve(name, only_called, frame, code)
        if column is not None:
            found.append(column)
    return found


def columns_of(factor: str, frame: Frame) -> list[str]:
    """Those of a factor of a term: its name, without backticks, or what it is a function of."""
    return [factor] if factor in frame else columns_in(factor, frame, is_expression=True)


def _resolve(name: str, only_called: bool, frame: Frame, code: str) -> str | None:
    from formulaic.transforms import TRANSFORMS

    root = name.partition(".")[0]
    known = root in TRANSFORMS or root in functions()
    if only_called and "." not in name:
        if not known and not hasattr(builtins, name):
            _unknown_function(name)
        return None
    if name in frame:
        in_function = code != name and name not in _plain_names(code)
        if "." in name and in_function and f"`{name}`" not in code:
            raise InputError(
                f"Column '{name}' has a dot in its name: inside a function write it in backticks, "
                f"`{name}`."
            )
        return name
    if root in frame:
        return root
    return None if known else frame.unknown(name)


def _plain_names(code: str) -> tuple[str, ...]:
    """`plain_columns`, or nothing for code that is an expression and no formula."""
    try:
        return plain_columns(code)
    except InputError:
        return ()


def _unknown_function(name: str) -> None:
    from formulaic.transforms import TRANSFORMS

    known = [*TRANSFORMS, *functions()]
    close = difflib.get_close_matches(name, known, n=2)
    hint = " or ".join(f"{c}(...)" for c in close)
    raise InputError(
        f"There is no function '{name}' for formulas. "
        + (f"Did you mean {hint}?" if hint else "Compute the column beforehand and use its name.")
    )
