"""`update`: the same call with other arguments, R's dots in the formula."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxglmm.errors import InputError
from jaxglmm.frontend.formula import FormulaSpec, parse
from jaxglmm.frontend.random_terms import bars, random_terms
from jaxglmm.frontend.terms import Addend, addends, call_name, render
from jaxglmm.frontend.tokens import fail, find
from jaxglmm.frontend.variables import formula_of

if TYPE_CHECKING:
    from jaxglmm.frontend.result import GLMM

_DOT = re.compile(r"(?<![\w.`])\.(?![\w.`])")
_BY_ROW = ("weights", "trials", "offset", "subset")


def update(fit: GLMM, formula: str | None, data: Any, family: Any, changes: dict[str, Any]) -> GLMM:
    """A new fit: what is not given is as it was."""
    from jaxglmm.frontend.glmm import glmm

    arguments = {**fit.arguments, **changes}
    if family is not None and "link" not in changes:
        arguments["link"] = None
    if changes.get("method", "agq") != "agq" and "quadrature_points" not in changes:
        arguments["quadrature_points"] = None  # they belong to the old method
    if data is not None:
        _check_arrays(fit, changes)
    written = fit.formula if formula is None else updated(fit.formula, formula)
    table = fit.labels.table if data is None else data
    law = fit.family.base if family is None else family
    try:
        return glmm(written, table, law, **arguments)
    except InputError as error:
        if data is not None or "There is no column" not in str(error):
            raise
        raise InputError(
            f"{error} A fit keeps the columns that it used; give data= for a formula with others."
        ) from error


def _check_arrays(fit: GLMM, changes: dict[str, Any]) -> None:
    """Arrays with one entry a row belong to the data that they came with."""
    for name in _BY_ROW:
        given = fit.arguments.get(name)
        if given is not None and not isinstance(given, str) and name not in changes:
            raise InputError(
                f"{name}: the fit was given an array, which belongs to its own data. Give {name}= "
                "for the new data, or None."
            )


def updated(old: str, new: str) -> str:
    """R's `update.formula`: a dot on the left stands for the old response, one on the right for
    the old terms, random ones and offsets too; `- x` and `- (1 | g)` take terms away."""
    if not isinstance(new, str):
        raise InputError(f"formula: expected text such as '. ~ . + x', got {type(new).__name__}.")
    text = "".join(" " if c.isspace() else c for c in new).strip()
    tildes = find(text, 0, len(text), "~")
    if len(tildes) != 1:
        raise InputError(f"formula: {new!r} has no single '~'; write '. ~ . + x'.")
    spec = parse(old)
    assert spec.response is not None  # of a fit
    own = spec.response.text
    left = text[: tildes[0]].strip() or "."
    response = _DOT.sub(lambda _: own, left)
    parts = Parts([], [])
    for piece in addends(text, tildes[0] + 1, len(text), "The right-hand side"):
        _take(parts, spec, text, piece)
    fixed = " ".join(parts.fixed).removeprefix("+ ") or "1"
    return f"{response} ~ {' + '.join([fixed, *(term.text for term in parts.others)])}"


class Other(NamedTuple):
    """A random term or an offset: what it is, and as it was typed."""

    meaning: Any
    text: str


class Parts(NamedTuple):
    """A right-hand side: signed addends of the fixed part, and the rest."""

    fixed: list[str]
    others: list[Other]


def _take(parts: Parts, spec: FormulaSpec, text: str, piece: Addend) -> None:
    """Add one addend of the new formula, or take it away."""
    only, plus = piece.tokens[0], piece.sign == "+"
    alone = len(piece.tokens) == 1
    if alone and only.text == ".":
        if not plus:
            fail(text, piece.start, piece.end, "The old terms cannot be taken away together.")
        for old in addends(spec.fixed, 0, len(spec.fixed), "The formula"):
            _take_fixed(parts.fixed, render(spec.fixed, [Addend("+", old.tokens)]), old.sign == "+")
        parts.others.extend(_old_others(spec))
        return
    if bars(text, piece):
        meaning = tuple(random_terms(text, Addend("+", piece.tokens)))
    elif alone and only.kind == "call" and call_name(only) == "offset":
        meaning = "".join(only.text.split())
    else:
        old = f"({spec.fixed})"
        words = (old if token.text == "." else token.text for token in piece.tokens)
        _take_fixed(parts.fixed, " ".join(words), plus)
        return
    _take_other(parts.others, Other(meaning, text[piece.start : piece.end]), plus, text, piece)


def _old_others(spec: FormulaSpec) -> list[Other]:
    """Random terms as they were typed (`(1 | a/b)` is two), then offsets."""
    typed = dict.fromkeys(term.text for term in spec.random)
    random = [Other(tuple(t for t in spec.random if t.text == text), text) for text in typed]
    offsets = [f"offset({inside})" for inside in spec.offsets]
    return random + [Other("".join(text.split()), text) for text in offsets]


def _take_fixed(fixed: list[str], written: str, plus: bool) -> None:
    """A term that is there already is added once; one that is not there, or still is in what is
    left (x of `a * x`, the intercept of any formula), is left to formulaic to take away."""
    there = ["".join(known.removeprefix("+ ").split()) for known in fixed]
    plain = "".join(written.split())
    if plus and plain not in there:
        fixed.append(f"+ {written}")
    elif not plus:
        if plain in there:
            del fixed[there.index(plain)]
        if plain not in there or plain in map(str, formula_of(" ".join(fixed) or "1")):
            fixed.append(f"- {written}")


def _take_other(others: list[Other], term: Other, plus: bool, text: str, piece: Addend) -> None:
    known = [other.meaning for other in others]
    if plus and term.meaning not in known:
        others.append(term)
    elif not plus and term.meaning in known:
        del others[known.index(term.meaning)]
    elif not plus:
        there = ", ".join(other.text for other in others) or "none"
        message = f"There is no such term to take away; there are: {there}."
        fail(text, piece.start, piece.end, message)
