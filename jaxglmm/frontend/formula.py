"""The grammar of model formulas: text -> FormulaSpec, without looking at any data.

Random terms, offsets and the form of the response are taken apart here; what is left has no bar
and is handed to formulaic as it stands.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from jaxglmm.errors import InputError
from jaxglmm.frontend.random_terms import RandomTerm, bars, random_terms
from jaxglmm.frontend.terms import Addend, addends, call_name, check_plain, render
from jaxglmm.frontend.tokens import column_name, fail, find, masked, python_code, trim

__all__ = ["FormulaSpec", "RandomTerm", "Response", "parse", "parse_one_sided"]


@dataclass(frozen=True)
class Response:
    """The left-hand side.

    kind: "plain" (one expression), "cbind" (successes, failures) or "ratio" (successes, trials).
    """

    kind: str
    expressions: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class FormulaSpec:
    """A parsed formula.

    fixed: the fixed part for formulaic ("1" when empty); offsets: the insides of offset(...).
    """

    text: str
    response: Response | None
    fixed: str
    offsets: tuple[str, ...]
    random: tuple[RandomTerm, ...]


def parse(text: str) -> FormulaSpec:
    """Parse `response ~ terms`; an InputError marks the bad place with carets."""
    text, tilde = _split(text)
    if tilde is None:
        fail(text, 0, len(text), "A formula has the form 'response ~ terms'; the '~' is missing.")
    if not text[:tilde].strip():
        fail(text, 0, tilde + 1, "The formula has no response before the '~'.")
    return _right_side(text, tilde + 1, _response(text, *trim(text, 0, tilde)))


def parse_one_sided(text: str) -> FormulaSpec:
    """Parse `~ terms` (or just `terms`); the response is None."""
    text, tilde = _split(text)
    if tilde is not None and text[:tilde].strip():
        fail(text, 0, tilde, "This formula has no response: it begins with '~'.")
    return _right_side(text, 0 if tilde is None else tilde + 1, None)


def _split(text: str) -> tuple[str, int | None]:
    if not isinstance(text, str):
        raise InputError(
            f"formula must be text such as 'y ~ x + (1 | g)', not {type(text).__name__}."
        )
    text = "".join(" " if c.isspace() else c for c in text).strip()
    if not text:
        raise InputError("formula is empty. Write it as 'y ~ x + (1 | g)'.")
    tildes = find(text, 0, len(text), "~")
    if len(tildes) > 1:
        fail(text, tildes[1], tildes[1] + 1, "A formula has one '~' only.")
    return text, tildes[0] if tildes else None


def _response(text: str, start: int, end: int) -> Response:
    """The forms `y`, `f(y)`, `cbind(successes, failures)` and `successes / trials`."""
    for place in find(text, start, end, "|"):
        fail(text, place, place + 1, "A '|' has no place in the response.")
    if column_name(text[start:end]) is not None:
        return Response("plain", (text[start:end],), text[start:end])
    code = python_code(text, start, end)
    source = masked(code, 0, len(code))
    node = ast.parse(source, mode="eval").body
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "cbind":
        if len(node.args) != 2 or node.keywords:
            fail(text, start, end, "cbind takes two arguments: cbind(successes, failures).")
        return Response("cbind", tuple(_piece(code, source, a) for a in node.args), code)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        operands = (node.left, node.right)
        return Response("ratio", tuple(_piece(code, source, o) for o in operands), code)
    return Response("plain", (code,), code)


def _piece(code: str, source: str, node: ast.expr) -> str:
    """The code of `node`, found in its masked source; ast counts bytes, not characters."""
    encoded = source.encode()
    start = len(encoded[: node.col_offset].decode())
    return code[start : len(encoded[: node.end_col_offset].decode())]


def _right_side(text: str, start: int, response: Response | None) -> FormulaSpec:
    fixed: list[Addend] = []
    offsets: list[str] = []
    random: list[RandomTerm] = []
    for piece in _flatten(text, addends(text, start, len(text), "The right-hand side")):
        if bars(text, piece):
            found = random_terms(text, piece)
            _refuse_repeat(text, piece, found[0] in random)
            random += found
        elif _is_offset(piece):
            offset = _offset(text, piece)
            _refuse_repeat(text, piece, offset in offsets)
            offsets.append(offset)
        else:
            check_plain(text, piece, "the fixed part")
            written = render(text, [piece])
            _refuse_repeat(text, piece, written in [render(text, [other]) for other in fixed])
            fixed.append(piece)
    written = render(text, fixed) if fixed else "1"
    return FormulaSpec(text, response, written, tuple(offsets), tuple(random))


def _refuse_repeat(text: str, piece: Addend, repeated: bool) -> None:
    if repeated:
        message = f"The term {text[piece.start : piece.end]} is entered twice. Remove one of them."
        fail(text, piece.start, piece.end, message)


def _flatten(text: str, pieces: list[Addend]) -> list[Addend]:
    """Open the brackets of `(x + (1 | g))`, whose inside holds random terms or offsets."""
    opened: list[Addend] = []
    for piece in pieces:
        only = piece.tokens[0]
        is_sum = len(piece.tokens) == 1 and only.kind == "group" and piece.sign == "+"
        if is_sum and not bars(text, piece) and ("|" in only.text or "offset(" in only.text):
            inner = addends(text, only.start + 1, only.end - 1, "This bracket")
            opened += _flatten(text, inner)
        else:
            opened.append(piece)
    return opened


def _is_offset(piece: Addend) -> bool:
    only = piece.tokens[0]
    return len(piece.tokens) == 1 and only.kind == "call" and call_name(only) == "offset"


def _offset(text: str, piece: Addend) -> str:
    if piece.sign == "-":
        fail(text, piece.start, piece.end, "An offset cannot be taken away. Leave it out.")
    start = text.index("(", piece.start) + 1
    if not text[start : piece.end - 1].strip():
        fail(text, piece.start, piece.end, "offset() is empty. Write offset(column).")
    return python_code(text, start, piece.end - 1)
