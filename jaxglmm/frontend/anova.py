"""Tests of the terms of a fit, one row a term."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import check_choice
from jaxglmm.frontend.fixed_terms import FixedTerm, coded_by_deviations, fixed_terms
from jaxglmm.frontend.freedom import Vcov, freedom_of
from jaxglmm.frontend.model import INTERCEPT
from jaxglmm.inference.hypotheses import first_of, other_coding
from jaxglmm.inference.linear import Outcome, linear_test

if TYPE_CHECKING:
    import pandas as pd

    from jaxglmm.frontend.result import GLMM

TYPES = ("III", "II", "I", "marginal")
STATISTICS = ("F", "chisq")


def anova(fit: GLMM, type: str, test: str, df: str | None, vcov: Vcov) -> pd.DataFrame:
    """The table of `GLMM.anova`."""
    check_choice("type", type, TYPES)
    freedom = freedom_of(fit, denominator(test, df), vcov)
    beta = np.asarray(fit.estimate.params.beta)
    terms = fixed_terms(fit)
    if type == "II":
        terms = [term for term in terms if term.factors]
        rows = [first_of(freedom.covariance, t.columns, _relatives(t, terms)) for t in terms]
    elif type == "I":
        rows = [first_of(freedom.covariance, t.columns, _later(t, terms)) for t in terms]
    elif type == "marginal":
        rows = [np.eye(len(beta))[term.columns] for term in terms]
    else:
        terms, rows = _type_three(fit, terms)
    tests = [linear_test(freedom, beta, L, np.zeros(len(L)), test) for L in rows]
    labels = {"component": [t.component for t in terms], "term": [t.name for t in terms]}
    return table(labels, tests)


def denominator(test: str, df: str | None) -> str:
    """The `df` that a statistic goes with: residual ones where an F has none given."""
    check_choice("test", test, STATISTICS)
    if test == "F":
        return "residual" if df is None else df
    if df not in (None, "none"):
        raise InputError(f"df: a chi-squared test has no df={df!r}; use test='F', or leave it out.")
    return "none"


def table(labels: dict[str, list[str]], tests: list[Outcome]) -> pd.DataFrame:
    """Tests under each other."""
    import pandas as pd

    numbers = {name: [getattr(t, name) for t in tests] for name in Outcome._fields}
    return pd.DataFrame({**labels, **numbers})


def _relatives(term: FixedTerm, terms: list[FixedTerm]) -> np.ndarray:
    return _columns([other for other in terms if term.within(other)])


def _later(term: FixedTerm, terms: list[FixedTerm]) -> np.ndarray:
    own = [other for other in terms if other.component == term.component]
    return _columns([other for other in own if other.columns[0] > term.columns[0]])


def _columns(terms: list[FixedTerm]) -> np.ndarray:
    return np.concatenate([np.zeros(0, int), *(term.columns for term in terms)])


def _type_three(fit: GLMM, terms: list[FixedTerm]) -> tuple[list[FixedTerm], list[np.ndarray]]:
    """Each term's coefficients where factors are coded by deviations, whatever the fit's coding."""
    restriction = fit.problem.restriction
    if restriction is not None and not restriction.beta.trivial:
        raise InputError(
            "type='III' is not defined where fixed effects are held or shared; use 'II' or "
            "'marginal'."
        )
    found, rows = [], []
    for component in dict.fromkeys(term.component for term in terms):
        own = np.flatnonzero([c == component for c in fit.labels.components])
        coded = coded_by_deviations(fit, component)
        B = None if coded is None else other_coding(fit.problem.X[:, own], coded.X)
        if coded is None or B is None:
            raise InputError(
                "type='III' is not defined here: some combinations of factor levels have no rows, "
                "or columns of the formula determine each other. Use 'II' or 'marginal'."
            )
        for name, factors, columns in coded.terms:
            if name == INTERCEPT and fit.family.num_thresholds:
                continue  # the thresholds have taken its place
            L = np.zeros((columns.stop - columns.start, len(fit.labels.fixed)))
            L[:, own] = B[columns]
            found.append(FixedTerm(component, name, factors, own))
            rows.append(L)
    return found, rows
