"""The terms of the fixed parts: which columns each has, and which terms contain it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxglmm.frontend.context import SUM, Columns, used_columns
from jaxglmm.frontend.frame import Frame
from jaxglmm.frontend.model import INTERCEPT, fixed_part
from jaxglmm.rank import independent_columns

if TYPE_CHECKING:
    from formulaic import ModelSpec

    from jaxglmm.frontend.result import GLMM


_CODING = ", contr.sum"  # by deviations, in formulaic's words
_BARE = re.compile(r"\b(C|factor)\(([^(),]+)\)")


class FixedTerm(NamedTuple):
    """A term of a component's fixed part: its factors (none of an intercept) and the numbers of
    its columns among the coefficients."""

    component: str
    name: str
    factors: frozenset[str]
    columns: np.ndarray

    def within(self, other: FixedTerm) -> bool:
        """Whether the other term has all factors of this one, which has some, and more."""
        same = self.component == other.component
        return same and bool(self.factors) and self.factors < other.factors


def fixed_terms(fit: GLMM) -> list[FixedTerm]:
    """The terms of all components, in the order of their columns; columns that were dropped or
    held at a value belong to none."""
    data, held, found = fit.data, _held(fit), []
    kept = data.encoders.kept
    place = np.cumsum(kept) - 1
    for component, of in data.fixed_slices.items():
        for name, factors, own in _slices(data.fixed_spec(component)):
            columns = place[of][own][kept[of][own]]
            columns = columns[~held[columns]]
            found.append(FixedTerm(component, name, factors, columns))
    return [term for term in found if len(term.columns)]


def _held(fit: GLMM) -> np.ndarray:
    restriction = fit.problem.restriction
    return np.zeros(len(fit.labels.fixed), bool) if restriction is None else restriction.beta.held


def _slices(spec: ModelSpec) -> list[tuple[str, frozenset[str], slice]]:
    """Name, factors and columns of each term."""
    found = []
    for term, own in spec.term_slices.items():
        name = str(term)
        factors = frozenset(factor.expr for factor in term.factors if factor.expr != "1")
        found.append((INTERCEPT if name == "1" else name, factors, own))
    return found


class Coded(NamedTuple):
    """The columns of one component with every plain factor coded by deviations."""

    X: np.ndarray
    terms: list[tuple[str, frozenset[str], slice]]


def coded_by_deviations(fit: GLMM, component: str) -> Coded | None:
    """None where some of these columns are linearly dependent: combinations without a row.

    A factor written C(x) is coded so too, but for one with a coding of its own, C(x, ...).
    Transforms are those of the fit, which may have learned from more rows.
    """
    from jaxglmm.frontend import encode

    data = fit.data
    frame = Frame(fit.labels.table)
    arrays = used_columns(frame, list(fit.labels.table), data.rows)
    columns = Columns(len(data.rows), arrays, dict.fromkeys(data.factor_levels, SUM))
    fixed = data.formulas[component].fixed
    key, code = fixed_part(component), _BARE.sub(rf"\1(\2{_CODING})", fixed)
    learnt = data.fixed_spec(component).transform_state
    coded = encode.fit({key: code}, columns, learnt)[key]
    if not independent_columns(coded.matrix).all():
        return None
    terms = [(name.replace(_CODING, ""), f, own) for name, f, own in _slices(coded.spec)]
    return Coded(coded.matrix, terms)
