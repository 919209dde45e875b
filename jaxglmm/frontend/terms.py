"""Sums of terms: splits a right-hand side at + and -, and checks that it is well formed."""

from __future__ import annotations

from dataclasses import dataclass

from jaxglmm.frontend.tokens import Token, fail, find, python_code, tokenise

_TIGHT = {":", "^", "**"}


@dataclass(frozen=True)
class Addend:
    """One signed piece of a sum: its tokens alternate operands and operators."""

    sign: str
    tokens: tuple[Token, ...]

    @property
    def start(self) -> int:
        return self.tokens[0].start

    @property
    def end(self) -> int:
        return self.tokens[-1].end


def addends(text: str, start: int, end: int, what: str) -> list[Addend]:
    """The signed pieces of [start, end), `what` being its name in the error messages."""
    found: list[Addend] = []
    current: list[Token] = []
    sign = "+"
    wants_operand = True
    for token in tokenise(text, start, end):
        if not wants_operand:
            if not token.is_operator:
                _missing_operator(text, current[-1], token)
            if token.text in "+-":
                found.append(Addend(sign, tuple(current)))
                current, sign = [], token.text
            else:
                current.append(token)
            wants_operand = True
        elif token.is_operator and token.text in "+-" and not current:
            sign = {"+": sign, "-": "-" if sign == "+" else "+"}[token.text]
        elif token.is_operator:
            fail(text, token.start, token.end, f"A term is missing before '{token.text}'.")
        else:
            current.append(token)
            wants_operand = False
    if wants_operand:
        last = len(text[:end].rstrip())
        nothing = not found and not current
        message = f"{what} is empty." if nothing else f"{what} ends where a term should follow."
        fail(text, last, last + 1, message)
    found.append(Addend(sign, tuple(current)))
    return found


def _missing_operator(text: str, before: Token, after: Token) -> None:
    hint = ""
    if before.kind == "name" and after.kind == "group":
        hint = f" (A function call has no blank before its bracket: {before.text}{after.text}.)"
    message = f"An operator is missing between '{before.text}' and '{after.text}'."
    fail(text, before.start, after.end, message + hint)


def check_plain(text: str, addend: Addend, what: str) -> None:
    """Refuse what formulaic must not see: bars, dots, offsets, strings, stray numbers."""
    for token in addend.tokens:
        _check_token(text, token, what)
    only = addend.tokens[0]
    if len(addend.tokens) == 1 and only.kind == "number" and only.text not in ("0", "1"):
        message = f"The number {only.text} is no term. Use 1 or 0 for the intercept, "
        fail(text, only.start, only.end, message + "or I(...) for a calculation.")


def _check_token(text: str, token: Token, what: str) -> None:
    place = (text, token.start, token.end)
    if token.is_operator and token.text in ("|", "||"):
        fail(*place, "A random term needs its own parentheses, as in (1 + x | group).")
    if token.is_operator and token.text in ("~", ",", "="):
        fail(*place, f"'{token.text}' has no place in {what}.")
    if token.kind == "text":
        fail(*place, "Quoted text is no term. Names that are not plain words go in backticks.")
    if token.kind == "name" and token.text.strip(".") == "":
        fail(*place, "'.' (all other columns) is not supported. Write the names of the columns.")
    if token.kind == "call" and call_name(token) == "offset":
        fail(*place, "offset(...) is added to the fixed part with '+', and to nothing else.")
    if token.kind == "call":
        python_code(*place)
    if token.kind == "group":
        inner = (token.start + 1, token.end - 1)
        if find(text, *inner, "|"):
            fail(*place, "A random term is added with '+', to the fixed part and to nothing else.")
        for piece in addends(text, *inner, "This bracket"):
            check_plain(text, piece, what)


def call_name(token: Token) -> str:
    """The name of the function of a call token."""
    return token.text[: min(i for i in map(token.text.find, "([") if i >= 0)]


def render(text: str, pieces: list[Addend]) -> str:
    """The pieces written as one formula for formulaic."""
    written = []
    for i, piece in enumerate(pieces):
        sign = "" if i == 0 and piece.sign == "+" else piece.sign + (" " if i else "")
        written.append(sign + _render_tokens(text, piece.tokens))
    return " ".join(written)


def _render_tokens(text: str, tokens: tuple[Token, ...]) -> str:
    parts = []
    for token in tokens:
        if token.is_operator:
            parts.append(token.text if token.text in _TIGHT else f" {token.text} ")
        elif token.kind == "group":
            inner = addends(text, token.start + 1, token.end - 1, "This bracket")
            parts.append(f"({render(text, inner)})")
        elif token.kind == "call":
            parts.append(python_code(text, token.start, token.end))
        else:
            parts.append(token.text)
    return "".join(parts)


def sets_intercept(pieces: list[Addend]) -> bool:
    """Whether a 0, 1, -1 ... among the pieces decides about the intercept."""
    return any(len(p.tokens) == 1 and p.tokens[0].text in ("0", "1") for p in pieces)
