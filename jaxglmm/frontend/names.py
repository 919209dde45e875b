"""The names in a Python expression of a formula, told apart by use: a value, or only called."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from jaxglmm.frontend.tokens import QUOTES, skip


def names_in(code: str) -> dict[str, bool]:
    """name -> whether it is only called; `a.b` is one name, backticks are removed.

    `np.log(x)` has np.log (called) and x; the text of Q('my x') is a name; names bound inside the
    expression (lambda, comprehensions) are left out.
    """
    plain, quoted = _without_backticks(code)
    tree = ast.parse(plain, mode="eval")
    bound = {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    bound |= {
        n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    found: dict[str, bool] = {}
    for name, called in _walk(tree.body):
        if name not in bound:
            name = quoted.get(name, name)
            found[name] = found.get(name, True) and called
    return found


def _without_backticks(code: str) -> tuple[str, dict[str, str]]:
    """The code with plain words for the names in backticks, and word -> name."""
    pieces, quoted = [], {}
    at = 0
    while at < len(code):
        stop = skip(code, at) if code[at] in QUOTES else at + 1
        piece = code[at:stop]
        if piece[0] == "`":
            word = f"_quoted_{len(quoted)}_"
            quoted[word], piece = piece[1:-1], f" {word} "
        pieces.append(piece)
        at = stop
    return "".join(pieces).strip(), quoted


def _walk(node: ast.AST) -> Iterator[tuple[str, bool]]:
    if isinstance(node, ast.Call):
        name = _dotted(node.func)
        if name is None:
            yield from _walk(node.func)
        else:
            yield name, True
        first = node.args[0] if node.args else None
        if name == "Q" and isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value, False
        for child in (*node.args, *node.keywords):
            yield from _walk(child)
        return
    name = _dotted(node)
    if name is not None:
        yield name, False
        return
    for child in ast.iter_child_nodes(node):
        yield from _walk(child)


def _dotted(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value)
        return None if base is None else f"{base}.{node.attr}"
    return None
