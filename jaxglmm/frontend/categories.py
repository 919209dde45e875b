"""The categories of an ordinal response from the names of its thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import is_finite

_FORM = "Give the thresholds by the categories on their sides, {'low|mid': -1.0, 'mid|high': 0.5}."


def categories_by_thresholds(given: Mapping[str, Any]) -> tuple[Any, ...]:
    """The categories that the thresholds among parameters part, in their order.

    A threshold is called `low|mid` as in the tables. Categories that are all whole numbers are
    integers, else text.
    """
    cuts = {name: value for name, value in given.items() if _sides(name) is not None}
    if not cuts:
        raise InputError(f"params: a cumulative family needs thresholds. {_FORM}")
    for name, value in cuts.items():
        if not is_finite(value):
            raise InputError(f"params: '{name}' must be a finite number, got {value!r}.")
    cuts = dict(sorted(cuts.items(), key=lambda cut: cut[1]))
    sides = [sides for sides in map(_sides, cuts) if sides is not None]
    labels = [sides[0][0], *(above for _, above in sides)]
    chained = all(a[1] == b[0] for a, b in zip(sides, sides[1:], strict=False))
    if not chained or len(set(labels)) < len(labels):
        raise InputError(
            f"params: the thresholds {', '.join(cuts)}, by ascending values, do not lead from one "
            f"category to the next. {_FORM}"
        )
    whole = all(label.lstrip("-").isdecimal() for label in labels)
    return tuple(map(int, labels)) if whole else tuple(labels)


def _sides(name: Any) -> tuple[str, str] | None:
    """The categories below and above; None for another parameter."""
    sides = [side.strip() for side in name.split("|")] if isinstance(name, str) else []
    return (sides[0], sides[1]) if len(sides) == 2 and all(sides) else None
