"""Tests of linear hypotheses about the coefficients of a fit: H beta + K b = c."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend import fitting
from jaxglmm.frontend.anova import denominator, table
from jaxglmm.frontend.checks import check_choice
from jaxglmm.frontend.freedom import Vcov, covariance_of, freedom_of, plain_df
from jaxglmm.frontend.model import INTERCEPT
from jaxglmm.inference.freedom import Freedom, Known
from jaxglmm.inference.henderson import of_random_effects
from jaxglmm.inference.linear import linear_test, one_sided
from jaxglmm.inference.quantiles import ALTERNATIVES

if TYPE_CHECKING:
    import pandas as pd

    from jaxglmm.frontend.result import GLMM


def coef_test(
    fit: GLMM, H: Any, c: Any, K: Any, df: str | None, test: str, vcov: Vcov, alternative: str
) -> pd.DataFrame:
    """The table of `GLMM.coef_test`."""
    df = denominator(test, df)
    check_choice("alternative", alternative, ALTERNATIVES)
    of_random = None if K is None else _matrix("K", K, *_random_size(fit))
    rows = fixed_rows(fit, H, of_random)
    right = _right_side(c, len(rows))
    _check_single(rows, alternative)
    if of_random is None:
        _check_possible(rows, right)
        freedom, beta = freedom_of(fit, df, vcov), np.asarray(fit.estimate.params.beta)
        return _tested(freedom, beta, rows, right, test, alternative)
    if df not in ("none", "residual") or vcov not in (None, "conditional"):
        raise InputError(
            "K: tests of random effects take variances as known: use df='none' or 'residual' and "
            "leave vcov out."
        )
    _check_possible(np.hstack([rows, of_random]), right)
    estimate, covariance = _combined(fit, rows, of_random)
    freedom = Known(covariance, plain_df(fit, df))
    return _tested(freedom, estimate, np.eye(len(rows)), right, test, alternative)


def _check_single(rows: np.ndarray, alternative: str) -> None:
    if alternative != "two-sided" and len(rows) > 1:
        raise InputError(
            f"alternative='{alternative}': a one-sided test has one row, but H has {len(rows)}. "
            "Test them one by one, or leave alternative out."
        )


def _tested(
    freedom: Freedom,
    estimate: np.ndarray,
    L: np.ndarray,
    right: np.ndarray,
    test: str,
    alternative: str,
) -> pd.DataFrame:
    found = linear_test(freedom, estimate, L, right, test)
    if alternative != "two-sided":
        found = one_sided(found, float((L @ estimate - right)[0]), alternative)
    return table({}, [found])


def fixed_rows(fit: GLMM, H: Any, beside: np.ndarray | None = None) -> np.ndarray:
    """H as a matrix (row, fixed): rows, one row, {name: coefficient} for one row, or a list of such
    dicts. None: every coefficient but the intercepts; nothing of them `beside` rows of K."""
    names = fit.data.full_names
    if H is None and beside is not None:
        return np.zeros((len(beside), len(names)))
    if H is None:
        tested = [name for name in fit.labels.fixed if name != INTERCEPT]
        return np.eye(len(names))[[n in tested for n in fit.labels.fixed]]
    if isinstance(H, Mapping):
        H = [H]
    if isinstance(H, list) and H and all(isinstance(row, Mapping) for row in H):
        H = [_named_row(row, names) for row in H]
    what = "fixed effects (their order is that of fit.vcov())"
    rows = _matrix("H", H, len(names), what)
    if beside is not None and len(rows) != len(beside):
        raise InputError(
            f"H has {len(rows)} rows and K has {len(beside)}: each row of H and the same row of K "
            "make one hypothesis. Give as many of both."
        )
    return rows


def _named_row(row: Mapping[Any, Any], names: list[str]) -> list[Any]:
    for name in row:
        if name not in names:
            raise InputError(
                f"H: '{name}' is no fixed effect of this fit; they are {', '.join(names)}."
            )
    return [row.get(name, 0.0) for name in names]


def _random_size(fit: GLMM) -> tuple[int, str]:
    size = sum(b.size for b in fit.b)
    return size, "random effects (their order is that of fit.random_effects())"


def _matrix(name: str, values: Any, width: int, what: str) -> np.ndarray:
    try:
        rows = np.atleast_2d(np.asarray(values, float))
    except (TypeError, ValueError):
        raise InputError(f"{name}: expected numbers, a row for each hypothesis.") from None
    if rows.ndim != 2 or rows.shape[1] != width or not len(rows):
        raise InputError(
            f"{name} has shape {rows.shape}, but needs {width} columns, one for each of the {what}."
        )
    if not np.all(np.isfinite(rows)):
        raise InputError(f"{name} has entries that are missing or infinite. Give numbers.")
    return rows


def _right_side(c: Any, num_rows: int) -> np.ndarray:
    try:
        right = np.asarray(c, float)
        right = np.broadcast_to(right, (num_rows,)).astype(float)
    except (TypeError, ValueError):
        raise InputError(f"c: expected one number, or one for each of {num_rows} rows.") from None
    if not np.all(np.isfinite(right)):
        raise InputError("c has entries that are missing or infinite. Give numbers.")
    return right


def _check_possible(rows: np.ndarray, right: np.ndarray) -> None:
    """Rows that depend on each other need right sides that do as well."""
    found = np.linalg.lstsq(rows, right, rcond=None)[0]
    if np.linalg.norm(rows @ found - right) > 1e-8 * (1.0 + np.linalg.norm(right)):
        raise InputError(
            "c: no coefficients meet these hypotheses all at once: rows of H (and K) that depend "
            "on each other have values that contradict each other."
        )


def _combined(fit: GLMM, H: np.ndarray, K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """H beta + K b, and its covariance given the variance parameters."""
    parts, start = [], 0
    for b in fit.b:
        own = K[:, start : start + b.size].reshape(len(K), b.shape[1], b.shape[0])
        parts.append(np.swapaxes(own, 1, 2))  # (row, column, level)
        start += b.size
    estimate = H @ np.asarray(fit.estimate.params.beta)
    estimate += sum(np.einsum("rcl,cl->r", k, b) for k, b in zip(parts, fit.b, strict=True))
    at = fitting.run_at_estimate(of_random_effects, fit.problem, fit.estimate, tuple(parts))
    shares, of_random = map(np.asarray, at.outputs)
    return estimate, _with_fixed(fit, at, H, shares) + of_random


def _with_fixed(fit: GLMM, at: fitting.AtEstimate, H: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """(H - shares) Cov(beta) (H - shares)', the shares being in the fit's basis of the free
    fixed effects."""
    p, restriction = at.problem.X.shape[1], fit.problem.restriction
    if at.basis is not None:
        shares = shares[:, :p] @ at.basis.A
    free = H if restriction is None else H @ restriction.beta.matrix
    matrix = covariance_of(fit, "conditional")
    if restriction is not None:
        kept = [restriction.beta.index.index(k) for k in range(restriction.beta.num_free)]
        matrix = matrix[np.ix_(kept, kept)]
    apart = free - shares[:, :p]
    return apart @ matrix @ apart.T
