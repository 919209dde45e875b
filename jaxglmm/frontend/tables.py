"""The tables of a fit: one function a table, names beside numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from jaxglmm.frontend.ordinal import threshold_names
from jaxglmm.frontend.parameters import Row, covariance_rows, parameter_names
from jaxglmm.inference.natural import thresholds_among
from jaxglmm.inference.wald import delta_errors, on_fisher_scale, on_log_scale, wald

if TYPE_CHECKING:
    import pandas as pd

    from jaxglmm.frontend.batch import Batch
    from jaxglmm.frontend.result import GLMM

Models: TypeAlias = Sequence[Any] | None  # the names of those of a batch

# A standard deviation whose error is this many times itself lies on the boundary: a Wald interval
# says nothing there.
_BOUNDARY = 100.0
_KINDS = {
    "sd": "standard deviation",
    "corr": "correlation",
    "range": "range",
    "shape": "shape",
}


def fixed_effects(
    fit: GLMM | Batch,
    level: float,
    df: float | np.ndarray,
    covariance: np.ndarray,
    *,
    others: np.ndarray | None = None,
    models: Models = None,
) -> pd.DataFrame:
    """Fixed effects, and thresholds of an ordinal response, with Wald tests and limits.

    `covariance` is that of the fixed effects and `df` one number, or one of each where there are
    no thresholds; `models` names those of a batch. Thresholds are
    parameters of the law: their errors are those of `others`, the covariance of all parameters
    (NaN for those that are taken as known), or of the joint one where none is given.
    """
    beta = np.asarray(fit.estimate.params.beta)
    thresholds = threshold_names(fit.data.categories)
    values, errors = _thresholds(fit, others)
    estimate = np.concatenate([beta, values], axis=-1)
    held = [name in fit.held for name in [*fit.data.full_names, *thresholds]]
    own = np.diagonal(covariance, axis1=-2, axis2=-1)
    variances = np.where(held, np.nan, np.concatenate([own, errors**2], axis=-1))
    result = wald(estimate, variances, level, df)
    return _table(
        models,
        {
            "component": [*fit.labels.components, *["threshold"] * len(thresholds)],
            "term": [*fit.labels.fixed, *thresholds],
        },
        {
            "estimate": estimate,
            "std_error": result.std_error,
            "statistic": result.statistic,
            "df": result.df,
            "p_value": result.p_value,
            "conf_low": result.low,
            "conf_high": result.high,
        },
    )


def _table(
    models: Models, labels: dict[str, list[Any]], numbers: dict[str, np.ndarray]
) -> pd.DataFrame:
    """Labels beside numbers (row,); or those of all models (model, row) under each other."""
    import pandas as pd

    if models is None:
        return pd.DataFrame({**labels, **numbers})
    num_rows = next((len(names) for names in labels.values()), 0)
    first = {"model": np.repeat(np.asarray(models), num_rows)}
    repeated = {name: values * len(models) for name, values in labels.items()}
    return pd.DataFrame(
        {**first, **repeated, **{name: values.ravel() for name, values in numbers.items()}}
    )


def _thresholds(fit: GLMM | Batch, covariance: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Values and delta-method errors; (..., threshold) each."""
    values, jacobian = np.asarray(fit.natural.values), np.asarray(fit.natural.jacobian)
    p, own = fit.estimate.params.beta.shape[-1], thresholds_among(fit.family, values.shape[-1])
    whole = fit.joint_covariance if covariance is None else covariance
    errors = delta_errors(jacobian[..., own, :], whole[..., p:, p:])
    return values[..., own], errors


def _without_thresholds(fit: GLMM | Batch, natural: np.ndarray, axis: int) -> np.ndarray:
    return np.delete(natural, thresholds_among(fit.family, natural.shape[axis]), axis=axis)


def covariance_parameters(fit: GLMM | Batch, level: float, models: Models = None) -> pd.DataFrame:
    """Standard deviations, correlations and family parameters with delta-method errors.

    Limits are formed on the logarithmic scale for positive parameters, on Fisher's for correlations
    and on their own for others; errors and limits of a parameter on the boundary are NaN.
    """
    rows = covariance_rows(fit.data, fit.problem)
    values = _without_thresholds(fit, np.asarray(fit.natural.values), -1)
    se = _natural_errors(fit, rows, values)
    correlation = _of_kind(rows, "corr")
    low, high = on_log_scale(values, se, level)
    r_low, r_high = on_fisher_scale(values, se, level)
    signed, own = _signed(fit, rows), wald(values, se**2, level)
    names = ("component", "group", "name1", "name2", "type")
    return _table(
        models,
        {name: [row[k] for row in rows] for k, name in enumerate(names)},
        {
            "estimate": values,
            "std_error": se,
            "conf_low": np.where(signed, own.low, np.where(correlation, r_low, low)),
            "conf_high": np.where(signed, own.high, np.where(correlation, r_high, high)),
        },
    )


def _of_kind(rows: list[Row], kind: str) -> np.ndarray:
    return np.array([row.kind == kind for row in rows], bool)


def _signed(fit: GLMM | Batch, rows: list[Row]) -> np.ndarray:
    """Which parameters of the law may have either sign."""
    return np.array([r.kind == "family" and r.name1 in fit.family.signed for r in rows], bool)


def at_bounds(fit: GLMM) -> list[str]:
    """`the correlation of x and Intercept in g` for each covariance parameter at a bound."""
    rows = covariance_rows(fit.data, fit.problem)[: len(fit.solution.at_bound)]
    return [
        f"the {_KINDS[row.kind]} of {' and '.join(row.columns)} in {row.group}"
        for row, bound in zip(rows, fit.solution.at_bound, strict=True)
        if bound
    ]


def _natural_errors(fit: GLMM | Batch, rows: list[Row], values: np.ndarray) -> np.ndarray:
    """Delta-method errors, NaN for parameters on the boundary and for what depends on them, and
    for those that are held."""
    p = fit.estimate.params.beta.shape[-1]
    jacobian = _without_thresholds(fit, np.asarray(fit.natural.jacobian), -2)
    se = delta_errors(jacobian, fit.joint_covariance[..., p:, p:])
    correlation, at_bound = _of_kind(rows, "corr"), np.asarray(fit.solution.at_bound)
    with np.errstate(invalid="ignore"):
        edge = np.where(correlation, 1.0 - np.abs(values) < 1e-6, se > _BOUNDARY * np.abs(values))
    edge &= ~_signed(fit, rows)
    edge[..., : at_bound.shape[-1]] |= at_bound
    se = np.where(edge, np.nan, se)
    lost = np.any(depend_on_deviations(rows) & np.isnan(se)[..., None, :], axis=-1)
    return np.where(lost | np.array(held_rows(fit), bool), np.nan, se)


def depend_on_deviations(rows: list[Row]) -> np.ndarray:
    """Which parameters mean nothing (first axis) where which standard deviation is zero."""
    pairs = [(row.kind, {(row.group, column) for column in row.columns}) for row in rows]
    found = [
        [kind != "sd" and other == "sd" and bool(own & of_other) for other, of_other in pairs]
        for kind, own in pairs
    ]
    return np.array(found, bool).reshape(len(rows), len(rows))


def held_rows(fit: GLMM | Batch) -> list[bool]:
    """Which rows of `covariance_parameters` are held at a value."""
    return [row.name in fit.held for row in covariance_rows(fit.data, fit.problem)]


def every_parameter(fitted: GLMM | Batch, *columns: str, level: float = 0.95) -> np.ndarray:
    """Columns of `fixed_effects` and `covariance_parameters` for all parameters, in the order of
    `parameter_names`; (column, model, param), one model of a fit. NaN in what a table lacks."""
    tables = fitted.fixed_effects(level), fitted.covariance_parameters(level)
    number = sum(map(len, tables)) // len(parameter_names(fitted.data, fitted.problem))

    def of_all(name: str) -> np.ndarray:
        parts = [table.get(name, np.full(len(table), np.nan)) for table in tables]
        return np.concatenate(
            [np.asarray(part, float).reshape(number, -1) for part in parts], axis=1
        )

    return np.stack([of_all(name) for name in columns])


def random_effects(
    fit: GLMM | Batch,
    level: float,
    variances: tuple[np.ndarray, ...],
    models: Models = None,
    *,
    numbered: bool = False,
) -> pd.DataFrame:
    """Conditional modes with errors, limits and rank (1 = largest) within group and term; levels
    by their names, or `numbered`."""
    parts = [
        _one_grouping(
            data.name,
            list(range(b.shape[-1])) if numbered else data.levels,
            components,
            terms,
            b,
            variance,
            level,
        )
        for data, components, terms, b, variance in zip(
            fit.data.groupings,
            fit.labels.column_components,
            fit.labels.columns,
            fit.b,
            variances,
            strict=True,
        )
    ]
    if not parts:
        empty = np.zeros((*np.shape(fit.estimate.log_likelihood), 0, 0))
        parts = [_one_grouping("", [], (), (), empty, empty, level)]
    labels = {name: [v for part in parts for v in part[0][name]] for name in parts[0][0]}
    numbers = {
        name: np.concatenate([part[1][name] for part in parts], axis=-1) for name in parts[0][1]
    }
    return _table(models, labels, numbers)


def _one_grouping(
    name: str,
    levels: list[Any],
    components: tuple[str, ...],
    terms: tuple[str, ...],
    b: np.ndarray,
    variance: np.ndarray,
    level: float,
) -> tuple[dict[str, list[Any]], dict[str, np.ndarray]]:
    """Labels and numbers, the terms of a level under each other."""
    q, n = b.shape[-2:]

    def by_level(values: np.ndarray) -> np.ndarray:
        return np.swapaxes(values, -2, -1).reshape(*values.shape[:-2], n * q)

    result = wald(by_level(b), by_level(variance), level)
    rank = np.empty_like(b, dtype=np.int64)
    order = np.argsort(-b, axis=-1, kind="stable")
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(1, n + 1), b.shape), axis=-1)
    labels = {
        "component": list(components) * n,
        "group": [name] * (n * q),
        "level": [value for value in levels for _ in range(q)],
        "term": list(terms) * n,
    }
    numbers = {
        "estimate": by_level(b),
        "std_error": result.std_error,
        "conf_low": result.low,
        "conf_high": result.high,
        "rank": by_level(rank),
    }
    return labels, numbers
