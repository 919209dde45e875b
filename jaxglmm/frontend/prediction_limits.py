"""Errors and limits of predictions: what the fit knows about rows, put through the core."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxglmm.frontend import fitting
from jaxglmm.frontend.freedom import plain_df
from jaxglmm.frontend.prediction_programs import (
    marginal_means,
    means,
    prior,
    prior_slopes,
    quantiles,
)
from jaxglmm.frontend.prediction_rows import PredictedRows, whole_prior
from jaxglmm.inference.quantiles import scheffe, t_quantile
from jaxglmm.inference.wald import delta_errors
from jaxglmm.predict import bands
from jaxglmm.predict.integral import Means
from jaxglmm.predict.linear import expanded, parameter_slopes
from jaxglmm.predict.responses import mixture, scale_errors

if TYPE_CHECKING:
    import pandas as pd

    from jaxglmm.frontend.result import GLMM

_ROUNDING = 1e-12  # a slope that is less than this of the largest one is zero
_INVOLVED = (
    1e-4  # of the error of a mean: what moves it by less, when it is e-fold, is not involved
)
_DENSE = 4_000_000  # numbers of a matrix whose rank is found


class Errors(NamedTuple):
    """What limits are made of: the arguments of `predict`."""

    level: float
    uncertainty: str
    df: str
    simultaneous: bool


class Known(NamedTuple):
    """What a fit knows of rows' linear predictors.

    Attributes:
        eta: estimates; shape (obs,) each.
        slopes: in all parameters; shape (obs, param) each.
        V: covariance of the parameters' errors, NaN where unknown; shape (param, param).
        C: covariance of the linear predictors with all parameters known, from the random effects;
            shape (predictor, predictor, obs).
        S: the part of C from random effects of which nothing is known.
        S_slopes: its derivatives in theta; shape (theta, predictor, predictor, obs).
    """

    eta: list[np.ndarray]
    slopes: list[np.ndarray]
    V: np.ndarray
    C: np.ndarray
    S: np.ndarray
    S_slopes: np.ndarray


def confidence(
    fit: GLMM, rows: PredictedRows, kind: str, scale: str, errors: Errors
) -> pd.DataFrame:
    """Means with errors and limits; one row a row, or a category of one."""
    known = _known(fit, rows, kind, errors.uncertainty)
    if kind == "marginal":
        at = marginal_means(fit, rows, scale)
        more = _slopes_in_theta(fit, known, at)
        known = known._replace(C=np.zeros_like(known.C))
    else:
        at, more = means(fit, known.eta, scale), None
    error, width = _errors(known, at, more), _width(fit, rows, kind, known, errors)
    low, high = _limits(fit, kind, scale, known, at, error, width)
    return _table(fit, rows, np.asarray(at.value), error, low, high)


def future(fit: GLMM, rows: PredictedRows, kind: str, scale: str, errors: Errors) -> pd.DataFrame:
    """The mean with the error and the limits of one response to come."""
    known = _known(fit, rows, kind, errors.uncertainty)
    at = marginal_means(fit, rows, scale) if kind == "marginal" else means(fit, known.eta, scale)
    V, f = np.nan_to_num(known.V, nan=0.0), np.size(fit.estimate.params.phi)
    slopes = np.stack([*known.slopes, *(_unit(known, len(V) - k) for k in range(f, 0, -1))])
    C = np.einsum("ani,ij,bnj->abn", slopes, V, slopes, optimize=True)
    m, p = len(known.eta), np.size(fit.estimate.params.beta)
    C[:m, :m] += known.C - known.S
    S = np.zeros_like(C)
    S[:m, :m] = known.S
    spread = scale_errors(known.S, known.S_slopes, V[p : len(V) - f, p : len(V) - f])
    tail = 0.5 * (1.0 - errors.level)
    weight = np.ones(len(rows.places)) if rows.weight is None else rows.weight
    ends = np.array([tail, 1.0 - tail])
    found, variance = quantiles(fit, known.eta, mixture(C, S, spread, m), weight, ends)
    own = [
        _without_unknown(s, known.V, known.C[a, a], len(V) - f) for a, s in enumerate(known.slopes)
    ]
    lost = np.isnan(sum(delta_errors(s, known.V) for s in own))
    low, high = np.where(lost, np.nan, found)
    return _table(
        fit, rows, np.asarray(at.value), np.sqrt(np.where(lost, np.nan, variance)), low, high
    )


def _unit(known: Known, place: int) -> np.ndarray:
    """Slopes of a parameter itself."""
    unit = np.zeros_like(known.slopes[0])
    unit[:, place] = 1.0
    return unit


def _known(fit: GLMM, rows: PredictedRows, kind: str, uncertainty: str) -> Known:
    conditional = kind == "conditional"
    design = rows.design if conditional else rows.design.without_groups()
    beta, V = np.asarray(fit.estimate.params.beta), fit.parameter_covariance(uncertainty)
    followed = conditional and uncertainty != "fixed" and len(design.Z) > 0
    unknown = whole_prior(rows) if kind == "marginal" else rows.prior_columns if followed else ()
    S = prior(fit, rows, unknown)
    C = fitting.row_covariances(fit.problem, fit.estimate, design) + S if followed else S
    own = design if followed else design.without_groups()
    return Known(
        eta=rows.predictors(beta, conditional=conditional),
        slopes=parameter_slopes(own, len(V), fit.mode_slopes if followed else ()),
        V=V,
        C=C,
        S=S,
        S_slopes=prior_slopes(fit, rows, unknown),
    )


def _errors(known: Known, at: Means, more: np.ndarray | None) -> np.ndarray:
    """Standard errors of means by the delta method, of the shape of the means.

    `more` is what their slopes in the parameters have beside those through the linear predictors;
    shape (param, ...).
    """
    by_eta, by_phi = np.asarray(at.by_eta), np.asarray(at.by_phi)
    first = known.V.shape[0] - len(by_phi)

    def of_one(by_eta: np.ndarray, by_phi: np.ndarray, more: np.ndarray | None) -> np.ndarray:
        slopes = np.einsum("an,ank->nk", by_eta, np.stack(known.slopes))
        slopes[:, first:] += by_phi.T
        if more is not None:
            slopes += more.T
        of_eta = np.einsum("an,acn,cn->n", by_eta, known.C, by_eta)
        slopes = _without_unknown(slopes, known.V, of_eta, first)
        return np.sqrt(delta_errors(slopes, known.V) ** 2 + of_eta)

    if np.ndim(at.value) == 1:
        return of_one(by_eta, by_phi, more)
    categories = range(len(at.value))
    return np.stack(
        [
            of_one(by_eta[:, k], by_phi[:, k], None if more is None else more[:, k])
            for k in categories
        ]
    )


def _without_unknown(
    slopes: np.ndarray, V: np.ndarray, of_eta: np.ndarray, first: int
) -> np.ndarray:
    """Slopes of means with zero for unknown (NaN) parameters that hardly move them: a dispersion
    next to none still moves conditional modes by some 1e-8. Dispersions come from `first` on, in
    logarithms; `of_eta` is the rest of the means' variance."""
    unknown = np.isnan(np.diagonal(V))
    slopes, size = slopes.copy(), np.abs(slopes)
    nothing = size < _ROUNDING * np.max(size, initial=0.0)
    error = np.sqrt(delta_errors(np.where(unknown, 0.0, slopes), V) ** 2 + of_eta)
    nothing[:, first:] |= size[:, first:] < _INVOLVED * error[:, None]
    slopes[nothing & unknown] = 0.0
    return slopes


def _limits(
    fit: GLMM,
    kind: str,
    scale: str,
    known: Known,
    at: Means,
    error: np.ndarray,
    width: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Of the linear predictor where the mean is a function of it alone, which is then taken."""
    value = np.asarray(at.value)
    if scale == "link":
        return bands.limits(value, error, width, "real")
    alone = len(known.eta) == 1 and value.ndim == 1 and not np.any(np.asarray(at.by_phi))
    if kind != "marginal" and alone:
        itself = Means(known.eta[0], np.ones((1, len(value))), np.zeros_like(at.by_phi), at.by_cov)
        ends = bands.limits(known.eta[0], _errors(known, itself, None), width, "real")
        first, second = (np.asarray(means(fit, [end], scale).value) for end in ends)
        return np.minimum(first, second), np.maximum(first, second)
    return bands.limits(value, error, width, "unit" if value.ndim > 1 else fit.link.range)


def _width(fit: GLMM, rows: PredictedRows, kind: str, known: Known, errors: Errors) -> float:
    """Standard errors from an estimate to its limits."""
    df = plain_df(fit, errors.df)
    if not errors.simultaneous:
        return float(t_quantile(0.5 - 0.5 * errors.level, df))
    dim = _dimension(fit, rows, kind, known)
    return scheffe(errors.level, dim, df)


def _dimension(fit: GLMM, rows: PredictedRows, kind: str, known: Known) -> int:
    """How many independent errors the linear predictors of the rows have."""
    most, slopes = sum(map(len, known.eta)), list(known.slopes)
    if kind == "marginal":
        slopes.append(np.moveaxis(known.S_slopes, -1, 0).reshape(len(rows.places), -1))
        return min(bands.dimension(*slopes), most)
    if not np.any(known.C):
        return min(bands.dimension(*slopes), most)
    if most * sum(b.size for b in fit.b) > _DENSE:
        return most
    effects = expanded(rows.design, [b.shape[1] for b in fit.b])
    known_ones = np.concatenate(
        [np.concatenate([of, z], axis=1) for of, z in zip(slopes, effects, strict=True)]
    )
    return min(bands.dimension(known_ones) + int(np.sum(np.any(known.S, axis=(0, 1)))), most)


def _slopes_in_theta(fit: GLMM, known: Known, at: Means) -> np.ndarray:
    """Of marginal means in all parameters, by way of the random effects' covariance alone; shape
    (param, ...)."""
    p = np.size(fit.estimate.params.beta)
    slopes = np.einsum("ac...n,tacn->t...n", np.asarray(at.by_cov), known.S_slopes)
    found = np.zeros((len(known.V), *slopes.shape[1:]))
    found[p : p + len(slopes)] = slopes
    return found


def nothing(
    fit: GLMM, rows: PredictedRows, scale: str, interval: str | None
) -> np.ndarray | pd.DataFrame:
    """The same without a complete row."""
    ordinal = bool(fit.data.categories) and scale == "response"
    none = np.zeros((len(fit.data.categories), 0) if ordinal else 0)
    return rows.scatter(none.T) if interval is None else _table(fit, rows, none, none, none, none)


def _table(
    fit: GLMM,
    rows: PredictedRows,
    estimate: np.ndarray,
    error: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> pd.DataFrame:
    """One row a row of the data; of an ordinal response one for each of its categories."""
    import pandas as pd

    columns = {"estimate": estimate, "std_error": error, "conf_low": low, "conf_high": high}
    placed = {name: rows.scatter(values.T) for name, values in columns.items()}
    if estimate.ndim == 1:
        return pd.DataFrame(placed)
    n, k = placed["estimate"].shape
    labels = {"row": np.repeat(np.arange(n), k), "category": list(fit.data.categories) * n}
    return pd.DataFrame({**labels, **{name: v.ravel() for name, v in placed.items()}})
