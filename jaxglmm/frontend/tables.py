"""The tables of a fit: one function a table, names beside numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm.inference.wald import delta_errors, on_fisher_scale, on_log_scale, wald

if TYPE_CHECKING:
    import pandas as pd

    from jaxglmm.covariance import Parameter
    from jaxglmm.frontend.model import TermData
    from jaxglmm.frontend.result import GLMM

# A standard deviation whose error is this many times itself lies on the boundary: a Wald interval
# says nothing there.
_BOUNDARY = 100.0
_KINDS = {
    "sd": "standard deviation",
    "corr": "correlation",
    "range": "range",
    "shape": "shape",
}


def fixed_effects(fit: GLMM, level: float, df: float, covariance: np.ndarray) -> pd.DataFrame:
    """Estimates of the fixed effects with Wald tests and limits."""
    import pandas as pd

    beta = np.asarray(fit.estimate.params.beta)
    result = wald(beta, np.diagonal(covariance), level, df)
    return pd.DataFrame(
        {
            "component": ["cond"] * len(beta),
            "term": list(fit.labels.fixed),
            "estimate": beta,
            "std_error": result.std_error,
            "statistic": result.statistic,
            "df": result.df,
            "p_value": result.p_value,
            "conf_low": result.low,
            "conf_high": result.high,
        }
    )


def covariance_parameters(fit: GLMM, level: float) -> pd.DataFrame:
    """Standard deviations, correlations and family parameters with delta-method errors.

    Limits are formed on the logarithmic scale for positive parameters and on Fisher's for
    correlations; errors and limits of a parameter on the boundary are NaN.
    """
    import pandas as pd

    rows = _covariance_rows(fit)
    values = np.asarray(fit.natural.values)
    table = pd.DataFrame(rows, columns=["component", "group", "name1", "name2", "type"])
    se = _natural_errors(fit, table, values)
    correlation = (table["type"] == "corr").to_numpy()
    low, high = on_log_scale(values, se, level)
    r_low, r_high = on_fisher_scale(values, se, level)
    table["estimate"] = values
    table["std_error"] = se
    table["conf_low"] = np.where(correlation, r_low, low)
    table["conf_high"] = np.where(correlation, r_high, high)
    return table


def _covariance_rows(fit: GLMM) -> list[tuple[str, str, str, str | None, str]]:
    """Names in the order of `inference.natural`."""
    rows: list[tuple[str, str, str, str | None, str]] = []
    for data, grouping in zip(fit.data.groupings, fit.problem.groupings, strict=True):
        for about, term in zip(data.terms, grouping.terms, strict=True):
            rows += [
                ("cond", data.name, *_names(about, p), p.kind) for p in term.covariance.parameters
            ]
    rows += [("cond", "family", name, None, "family") for name in fit.family.phi_names]
    return rows


def _names(term: TermData, parameter: Parameter) -> tuple[str, str | None]:
    """The column or the pair of columns that a parameter belongs to."""
    if term.shared is not None:
        return term.shared, None
    i, j = parameter.i, parameter.j
    return term.names[i], None if j is None else term.names[j]


def at_bounds(fit: GLMM) -> list[str]:
    """`the correlation of x and Intercept in g` for each covariance parameter at a bound."""
    rows = _covariance_rows(fit)[: len(fit.solution.at_bound)]
    return [
        f"the {_KINDS[kind]} of {first}{f' and {second}' if second else ''} in {group}"
        for (_, group, first, second, kind), bound in zip(rows, fit.solution.at_bound, strict=True)
        if bound
    ]


def _natural_errors(fit: GLMM, table: pd.DataFrame, values: np.ndarray) -> np.ndarray:
    """Delta-method errors, NaN for parameters on the boundary and for what depends on them."""
    p = len(fit.estimate.params.beta)
    se = delta_errors(np.asarray(fit.natural.jacobian), fit.joint_covariance[p:, p:])
    correlation = (table["type"] == "corr").to_numpy()
    with np.errstate(invalid="ignore"):
        edge = np.where(correlation, 1.0 - np.abs(values) < 1e-6, se > _BOUNDARY * np.abs(values))
    edge[: len(fit.solution.at_bound)] |= fit.solution.at_bound
    se = np.where(edge, np.nan, se)
    lost = {
        (group, name)
        for group, name, kind, error in zip(
            table["group"], table["name1"], table["type"], se, strict=True
        )
        if kind == "sd" and np.isnan(error)
    }
    for i in np.flatnonzero(table["type"] != "sd"):
        group = table["group"].iloc[i]
        if {(group, table["name1"].iloc[i]), (group, table["name2"].iloc[i])} & lost:
            se[i] = np.nan
    return se


def random_effects(fit: GLMM, level: float, variances: tuple[np.ndarray, ...]) -> pd.DataFrame:
    """Conditional modes with errors, limits and rank (1 = largest) within group and term."""
    import pandas as pd

    parts = [
        _one_grouping(data.name, data.levels, labels, b, variance, level)
        for data, labels, b, variance in zip(
            fit.data.groupings, fit.labels.columns, fit.b, variances, strict=True
        )
    ]
    if parts:
        return pd.concat(parts, ignore_index=True)
    return _one_grouping("", [], (), np.zeros((0, 0)), np.zeros((0, 0)), level)


def _one_grouping(
    name: str,
    levels: list[Any],
    terms: tuple[str, ...],
    b: np.ndarray,
    variance: np.ndarray,
    level: float,
) -> pd.DataFrame:
    import pandas as pd

    q, n = b.shape
    result = wald(b.T.ravel(), variance.T.ravel(), level)
    rank = np.empty_like(b, dtype=np.int64)
    for column in range(q):
        rank[column, np.argsort(-b[column], kind="stable")] = np.arange(1, n + 1)
    return pd.DataFrame(
        {
            "component": ["cond"] * (n * q),
            "group": [name] * (n * q),
            "level": [value for value in levels for _ in range(q)],
            "term": list(terms) * n,
            "estimate": b.T.ravel(),
            "std_error": result.std_error,
            "conf_low": result.low,
            "conf_high": result.high,
            "rank": rank.T.ravel(),
        }
    )
