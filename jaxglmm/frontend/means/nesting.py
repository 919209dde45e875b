"""Which fixed factors are nested in others: levels that mean another thing in each of theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.context import Factor
from jaxglmm.frontend.frame import Frame
from jaxglmm.frontend.means.grid import Grid, Variable
from jaxglmm.frontend.means.specs import Specs, check_variable
from jaxglmm.frontend.variables import columns_of

if TYPE_CHECKING:
    from jaxglmm.frontend.described import Described

AUTO = "auto"

Nesting = Mapping[str, tuple[str, ...]]  # a factor -> all those that it is nested in


def find_nesting(fit: Described, components: Iterable[str], grid: Grid, asked: Any) -> Nesting:
    """What is nested in what, as `asked`, or by emmeans' two signs.

    A is nested in B if each level of A has rows with one level of B alone (and not the other way
    round as well); or if all terms of the formula that have A have B too, as of `b / a`.
    InputError for names that are no factors, or factors nested in each other.
    """
    if asked is None:
        return {}
    factors = {v.name: v for v in grid.variables if v.is_factor}
    if asked != AUTO:
        return _checked(asked, list(factors))
    pairs = _by_rows(factors) | _by_terms(fit, components, list(factors))
    return _closed({(inner, outer) for inner, outer in pairs if (outer, inner) not in pairs})


def _by_rows(factors: Mapping[str, Variable]) -> set[tuple[str, str]]:
    """Pairs (A, B), B of at least two levels."""
    codes = {name: _codes(variable) for name, variable in factors.items()}
    sizes = {name: len(np.unique(own)) for name, own in codes.items()}
    found = set()
    for inner, own in codes.items():
        for outer, other in codes.items():
            if outer != inner and sizes[outer] > 1:
                number = len(np.unique(np.stack([own, other]), axis=1).T)
                if number == sizes[inner]:
                    found.add((inner, outer))
    return found


def _codes(variable: Variable) -> np.ndarray:
    column = variable.column
    if isinstance(column, Factor):
        return np.asarray(column.codes)
    return np.unique(column, return_inverse=True)[1].ravel()


def _by_terms(
    fit: Described, components: Iterable[str], factors: list[str]
) -> set[tuple[str, str]]:
    """Pairs (A, B) of factors with B in every term that A is in."""
    frame, shared = Frame(fit.labels.table), dict[str, set[str]]()
    for component in components:
        for term in fit.data.fixed_spec(component).term_slices:
            names = {n for f in term.factors if f.expr != "1" for n in columns_of(f.expr, frame)}
            for name in names:
                others = names - {name}
                shared[name] = shared[name] & others if name in shared else others
    return {(a, b) for a in factors for b in factors if b in shared.get(a, ())}


def _closed(pairs: set[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """With what the outer factors are nested in; a cycle leads from a factor to itself."""
    while more := {(a, d) for a, b in pairs for c, d in pairs if b == c} - pairs:
        pairs = pairs | more
    names = dict.fromkeys(inner for inner, _ in sorted(pairs))
    return {name: tuple(sorted(b for a, b in pairs if a == name)) for name in names}


def _checked(asked: Any, factors: list[str]) -> dict[str, tuple[str, ...]]:
    if not isinstance(asked, Mapping):
        raise InputError(
            f"nesting: expected 'auto', None for no nested factors, or a dict such as "
            f"{{'drug': 'route'}}, got {asked!r}."
        )
    pairs = set()
    for inner, given in asked.items():
        for outer in [given] if isinstance(given, str) else list(given):
            for name in (inner, outer):
                check_variable("nesting", name, factors)
            pairs.add((inner, outer))
    found = _closed(pairs)
    for name, outer in found.items():
        if name in outer:
            raise InputError(f"nesting: '{name}' cannot be nested in itself, nor in its own parts.")
    return found


def with_outer(specs: Specs, nesting: Nesting) -> Specs:
    """Means of a nested factor are those of its combinations with the factors around it."""
    of, by = (
        (*names, *(outer for name in names for outer in nesting.get(name, ())))
        for names in (specs.of, specs.by)
    )
    by = tuple(name for name in dict.fromkeys(by) if name not in specs.of)
    return Specs(tuple(name for name in dict.fromkeys(of) if name not in by), by)


def described(nesting: Nesting) -> tuple[str, ...]:
    """A note on each nested factor."""
    return tuple(f"{inner} is nested in {', '.join(o)}" for inner, o in nesting.items())
