"""Random terms: `(columns | group)`, `structure(columns | group, option = value)`."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field

from jaxglmm.frontend.terms import (
    Addend,
    addends,
    call_name,
    check_plain,
    render,
    sets_intercept,
)
from jaxglmm.frontend.tokens import Token, column_name, fail, find, python_code, tokenise, trim

# Structures whose left side is a formula, and those whose left side names coordinates.
FORMULA_STRUCTURES = ("us", "diag", "homdiag", "cs", "homcs", "ar1", "toep", "rr", "propto")
COORDINATE_STRUCTURES = ("ou", "exp", "gau", "mat")
STRUCTURES = FORMULA_STRUCTURES + COORDINATE_STRUCTURES


@dataclass(frozen=True)
class RandomTerm:
    """One random term and one grouping factor.

    columns: the random columns for formulaic, intercept written out ("1 + x"), or the coordinates
    of a process; factors: ("a",) or ("a", "b") for a:b; options: those without a name are "1",
    "2", ...; text: the term as it was typed; id: of `(columns | id | group)`, whose terms are
    correlated with all others of this id and group; component: the formula it stands in.
    """

    structure: str
    columns: str
    factors: tuple[str, ...]
    options: dict[str, str] = field(hash=False)
    text: str = field(compare=False)
    id: str | None = None
    component: str = "cond"


def bars(text: str, piece: Addend) -> list[int]:
    """Places of the '|' directly inside the brackets of `piece`; empty: not a random term.

    In I(...) and in functions of modules (np.logical_or) a bar is Python's.
    """
    only = piece.tokens[0]
    if len(piece.tokens) > 1 or only.kind not in ("group", "call"):
        return []
    if only.kind == "call" and (call_name(only) == "I" or "." in call_name(only)):
        return []
    return (
        find(text, text.index("(", only.start) + 1, only.end - 1, "|") if "(" in only.text else []
    )


def random_terms(text: str, piece: Addend) -> list[RandomTerm]:
    """The terms of one addend with bars: one, or one a level of `a/b`."""
    token, places = piece.tokens[0], bars(text, piece)
    if piece.sign == "-":
        fail(text, token.start, token.end, "A random term cannot be taken away. Leave it out.")
    double = len(places) == 2 and places[1] == places[0] + 1
    if len(places) > 2:
        message = "A random term has one '|' only, or two around an id: (1 | id | group)."
        fail(text, places[1], places[1] + 1, message)
    structure = _structure(text, token, double)
    name = _id(text, token, places) if len(places) == 2 and not double else None
    start = text.index("(", token.start) + 1
    parts = _parts(places[-1] + 1, token.end - 1, find(text, start, token.end - 1, ","))
    if token.kind == "group" and len(parts) > 1:
        message = "Options need the name of a covariance structure, as in ar1(0 + t | g, d = 2)."
        fail(text, *parts[1], message)
    columns = _columns(text, start, places[0], structure)
    options = _options(text, parts[1:])
    typed = text[token.start : token.end]
    groups = _groups(text, *parts[0])
    return [RandomTerm(structure, columns, group, options, typed, name) for group in groups]


def _id(text: str, token: Token, places: list[int]) -> str:
    """The word between the two bars of `(columns | id | group)`."""
    start, end = trim(text, places[0] + 1, places[1])
    if token.kind != "group":
        message = "An id ties unstructured terms, (1 + x | id | g), not a covariance structure."
        fail(text, start, end, message)
    if not text[start:end].isidentifier():
        fail(text, start, max(end, start + 1), "The id between two bars is a plain word.")
    return text[start:end]


def _parts(start: int, end: int, commas: list[int]) -> list[tuple[int, int]]:
    edges = [start, *[c + 1 for c in commas if c >= start]]
    return list(zip(edges, [*[c for c in commas if c >= start], end], strict=True))


def _structure(text: str, token: Token, double: bool) -> str:
    if token.kind == "group":
        return "diag" if double else "us"
    name = call_name(token)
    place = (text, token.start, token.start + len(name))
    if name not in STRUCTURES:
        close = difflib.get_close_matches(name, STRUCTURES, n=1)
        hint = f" Did you mean {close[0]}(...)?" if close else ""
        known = ", ".join(STRUCTURES)
        fail(*place, f"'{name}' is no covariance structure; known: {known}.{hint}")
    if double:
        fail(*place, f"{name}(...) takes a single '|'; '||' already means diag(... | ...).")
    return name


def _columns(text: str, start: int, end: int, structure: str) -> str:
    start, end = trim(text, start, end)
    if start >= end:
        fail(text, end, end + 1, "A random term needs columns before its '|', as in (1 | group).")
    pieces = addends(text, start, end, "The part before the '|'")
    for i, piece in enumerate(pieces):
        check_plain(text, piece, "a random term")
        written = render(text, [piece])
        if written in [render(text, [other]) for other in pieces[:i]]:
            fail(text, piece.start, piece.end, f"The term {written} is entered twice.")
    written = render(text, pieces)
    if structure in COORDINATE_STRUCTURES or sets_intercept(pieces):
        if written in ("0", "-1"):
            fail(text, start, end, "This random term has no columns. Use 1 for the intercept.")
        return written
    return f"1 {written[0]} {written[1:]}" if written[0] == "-" else f"1 + {written}"


def _groups(text: str, start: int, end: int) -> list[tuple[str, ...]]:
    """The grouping factors of `a`, `a:b`, `a/b` (a, then a:b)."""
    start, end = trim(text, start, end)
    if start >= end:
        fail(text, end, end + 1, "A random term needs a group after its '|', as in (1 | group).")
    nested: list[tuple[str, ...]] = [()]
    wants_name = True
    for token in tokenise(text, start, end):
        place = (text, token.start, token.end)
        if token.is_operator and token.text not in (":", "/"):
            message = "Groups are joined by ':' (interaction) or '/' (nesting) only; "
            fail(*place, message + "write (1 | a) + (1 | b) for two grouping factors.")
        if token.is_operator == wants_name:
            fail(*place, f"A grouping factor cannot be followed by '{token.text}' here.")
        if token.text == "/":
            nested.append(())
        elif not token.is_operator:
            new = [name for name in _group_names(text, token) if name not in nested[-1]]
            nested[-1] = (*nested[-1], *new)
        wants_name = token.is_operator
    if wants_name:
        fail(text, end - 1, end, "A grouping factor is missing here.")
    groups = [sum(nested[: i + 1], ()) for i in range(len(nested))]
    if len(set(groups)) < len(groups) or any(len(set(g)) < len(g) for g in groups):
        fail(text, start, end, "A grouping factor is entered twice.")
    return groups


def _group_names(text: str, token: Token) -> tuple[str, ...]:
    if token.kind == "name" and (name := column_name(token.text)):
        return (name,)
    if token.kind == "call":
        return (python_code(text, token.start, token.end),)
    if token.kind == "group":
        inner = _groups(text, token.start + 1, token.end - 1)
        if len(inner) == 1:
            return inner[0]
    fail(text, token.start, token.end, "A grouping factor is a column (or several, as in a:b).")


def _options(text: str, parts: list[tuple[int, int]]) -> dict[str, str]:
    options: dict[str, str] = {}
    for i, (start, end) in enumerate(parts):
        start, end = trim(text, start, end)
        if start >= end:
            fail(text, end, end + 1, "An option is missing after the comma.")
        equals = find(text, start, end, "=")
        key = text[start : equals[0]].strip() if equals else str(i + 1)
        if key in options or not (key.isidentifier() or not equals):
            fail(text, start, end, "An option is written name = value, each name once.")
        options[key] = python_code(text, equals[0] + 1 if equals else start, end)
    return options
