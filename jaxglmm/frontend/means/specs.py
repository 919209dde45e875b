"""What means are asked for: `a`, `a:b`, `["a", "b"]`, `~ a * b | c`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxglmm.errors import InputError

_OVERALL = ("1", "")


class Specs(NamedTuple):
    """Variables whose combinations have a mean each, and those that keep the means apart."""

    of: tuple[str, ...]
    by: tuple[str, ...]


def parse_specs(specs: Any, by: Any, known: Sequence[str]) -> Specs:
    """The variables of `specs` and `by`, in their order; InputError for one that is not `known`."""
    written_by: tuple[str, ...] = ()
    if isinstance(specs, str) and specs not in known:
        specs, written_by = _formula(specs)
    of = _names("specs", specs, known)
    apart = _names("by", [*written_by, *_listed("by", by)], known)
    return Specs(tuple(name for name in of if name not in apart), apart)


def _formula(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    left, tilde, right = text.rpartition("~")
    if tilde and left.strip():
        raise InputError(
            f"specs: '{text}' has something before the '~'. Ask for the means first, and then for "
            "contrasts: fit.emmeans('~ a | b').contrast('pairwise')."
        )
    of, bar, by = right.partition("|")
    if bar and "|" in by:
        raise InputError(f"specs: '{text}' has more than one '|'; write '~ a * b | c + d'.")
    return _pieces(of), _pieces(by)


def _pieces(text: str) -> tuple[str, ...]:
    found = re.findall(r"`[^`]+`|[^*+:\s`]+", text)
    return tuple(piece.strip("`") for piece in found)


def _listed(argument: str, names: Any) -> tuple[str, ...]:
    if names is None:
        return ()
    given = [names] if isinstance(names, str) else names
    if not isinstance(given, Sequence) or not all(isinstance(name, str) for name in given):
        raise InputError(
            f"{argument}: expected a variable's name or a list of them, got {names!r}."
        )
    return tuple(given)


def _names(argument: str, names: Any, known: Sequence[str]) -> tuple[str, ...]:
    wanted = [name for name in _listed(argument, names) if name not in _OVERALL]
    for name in wanted:
        check_variable(argument, name, known)
    return tuple(dict.fromkeys(wanted))


def check_variable(argument: str, name: str, known: Sequence[str]) -> None:
    """Refuse a variable that is not one of the model's."""
    if name in known:
        return
    folded = [k for k in known if k.casefold() == name.casefold()]
    close = folded or difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    listed = ", ".join(f"'{k}'" for k in known) or "none"
    raise InputError(
        f"{argument}: '{name}' is no variable of the fixed part of this model.{hint} Its variables "
        f"are {listed}."
    )
