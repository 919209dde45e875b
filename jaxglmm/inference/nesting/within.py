"""What is found out about a part of two models."""

from __future__ import annotations

from typing import NamedTuple

from jaxglmm.restriction import HELD, Share


class Within(NamedTuple):
    """Whether the smaller model is a special case of the larger one.

    Attributes:
        nested: it is one.
        at_bound: how many directions, that the parameters of the larger model can leave a bound in
            to one side only, the smaller one closes; None where their number says nothing about
            the law of the likelihood ratio.
    """

    nested: bool
    at_bound: int | None


NOT_WITHIN = Within(False, None)


def joined(*parts: Within) -> Within:
    """Of the parts of two models together."""
    bounds = [part.at_bound for part in parts]
    known = sum(bound for bound in bounds if bound is not None)
    return Within(all(part.nested for part in parts), None if None in bounds else known)


def implies(small: Share, large: Share) -> bool:
    """Whether parameters restricted like `small` meet the restrictions of `large` too."""
    if len(small.index) != len(large.index):
        return False
    # Parameters with the same entry are equal.
    known = [(k, v if k == HELD else 0.0) for k, v in zip(small.index, small.values, strict=True)]
    for own, value, place in zip(known, large.values, large.index, strict=True):
        if own != ((HELD, value) if place == HELD else known[large.index.index(place)]):
            return False
    return True
