"""Characters of a formula: quotes, brackets, words and operators, each with its place.

Every function takes the whole formula and a range of it, so that an error can point at the bad
place with carets.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import NoReturn

from jaxglmm.errors import InputError

CLOSING = {"(": ")", "[": "]", "{": "}"}
QUOTES = "`'\""

_NAME = re.compile(r"(?:[^\W\d]|\.(?!\d))[\w.]*")
_NUMBER = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_OPERATOR = re.compile(r"\*\*|\|\||%in%|[-+*/:^|~,=]")
_PLAIN = re.compile(r"(?:[^\W\d]|\.(?!\d))[\w.]*\Z")


@dataclass(frozen=True)
class Token:
    """A piece of the formula: `kind` is one of name, number, text, call, group, code, operator."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def is_operator(self) -> bool:
        return self.kind == "operator"


def fail(text: str, start: int, end: int, message: str) -> NoReturn:
    """Raise an InputError that shows the formula with carets under [start, end)."""
    start = min(start, len(text))
    marks = " " * start + "^" * max(1, end - start)
    raise InputError(f"{message}\n    {text}\n    {marks}")


def skip(text: str, at: int) -> int:
    """The position after the character at `at`, or after the whole quotation or bracket there."""
    opening = text[at]
    if opening in QUOTES:
        end = at + 1
        while end < len(text) and text[end] != opening:
            end += 2 if text[end] == "\\" and opening != "`" else 1
        if end >= len(text):
            fail(text, at, at + 1, f"The formula ends before the quote {opening} is closed.")
        return end + 1
    if opening not in CLOSING:
        return at + 1
    end = at + 1
    while end < len(text):
        if text[end] in CLOSING.values():
            if text[end] != CLOSING[opening]:
                fail(text, end, end + 1, f"'{text[end]}' does not close the '{opening}' before it.")
            return end + 1
        end = skip(text, end)
    fail(text, at, at + 1, f"The formula ends before the '{opening}' is closed.")


def find(text: str, start: int, end: int, wanted: str) -> list[int]:
    """Places in [start, end) of one of the characters `wanted`, outside quotes and brackets."""
    found = []
    at = start
    while at < end:
        if text[at] in ")]}":
            fail(text, at, at + 1, f"'{text[at]}' closes nothing.")
        if text[at] in wanted:
            found.append(at)
        at = skip(text, at)
    return found


def tokenise(text: str, start: int, end: int) -> list[Token]:
    """Tokens of [start, end); a bracketed group or a whole function call is one token."""
    tokens = []
    at = start
    while at < end:
        if text[at].isspace():
            at += 1
            continue
        token = _token(text, at)
        tokens.append(token)
        at = token.end
    return tokens


def _token(text: str, at: int) -> Token:
    opening = text[at]
    if opening == "`":
        return _quoted_name(text, at)
    for kind, first in (("text", "'\""), ("group", "("), ("code", "{")):
        if opening in first:
            end = skip(text, at)
            return Token(kind, text[at:end], at, end)
    if match := _NUMBER.match(text, at):
        return _number(text, at, match.end())
    if match := _NAME.match(text, at):
        end = match.end()
        if end < len(text) and text[end] in "([":
            end = skip(text, end)
            return Token("call", text[at:end], at, end)
        return Token("name", text[at:end], at, end)
    if match := _OPERATOR.match(text, at):
        return Token("operator", match.group(), at, match.end())
    if opening in ")]}":
        fail(text, at, at + 1, f"'{opening}' closes nothing.")
    fail(
        text,
        at,
        at + 1,
        f"'{opening}' has no meaning here. Put calculations in I(...) and names that are not "
        "plain words in backticks.",
    )


def _quoted_name(text: str, at: int) -> Token:
    end = skip(text, at)
    if end - at <= 2:
        fail(text, at, end, "A name in backticks is empty.")
    return Token("name", text[at:end], at, end)


def _number(text: str, at: int, end: int) -> Token:
    if end < len(text) and (text[end].isalnum() or text[end] == "_"):
        word = _NAME.match(text, end)
        stop = word.end() if word else end + 1
        fail(
            text,
            at,
            stop,
            f"A name cannot begin with a digit. Put it in backticks: `{text[at:stop]}`.",
        )
    return Token("number", text[at:end], at, end)


def column_name(code: str) -> str | None:
    """The column that `code` names (backticks removed), or None if it is an expression."""
    code = code.strip()
    if len(code) > 2 and code[0] == code[-1] == "`" and "`" not in code[1:-1]:
        return code[1:-1]
    return code if _PLAIN.match(code) else None


def python_code(text: str, start: int, end: int) -> str:
    """The Python expression in [start, end), R's power ^ written **, checked for its syntax."""
    start, end = trim(text, start, end)
    try:
        ast.parse(masked(text, start, end), mode="eval")
    except SyntaxError as error:
        hint = "Names that are not plain words (x.1, my x) go in backticks."
        fail(text, start, end, f"This is not a valid expression ({error.msg}). {hint}")
    pieces = []
    at = start
    while at < end:
        stop = skip(text, at) if text[at] in QUOTES else at + 1
        pieces.append("**" if text[at] == "^" else text[at:stop])
        at = stop
    return "".join(pieces)


def trim(text: str, start: int, end: int) -> tuple[int, int]:
    """The range [start, end) without the blanks at its two ends."""
    piece = text[start:end]
    return end - len(piece.lstrip()), start + len(piece.rstrip())


def masked(text: str, start: int, end: int) -> str:
    """[start, end) with names in backticks replaced by underscores of the same length."""
    pieces = []
    at = start
    while at < end:
        stop = skip(text, at) if text[at] in QUOTES else at + 1
        pieces.append("_" * (stop - at) if text[at] == "`" else text[at:stop])
        at = stop
    return "".join(pieces)
