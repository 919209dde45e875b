"""Which covariance matrix of the fixed effects, and which degrees of freedom, a caller asks for.

`freedom_of(fit, df, vcov)` is the one door for tables, contrasts, marginal means and predictions:
what it returns has `covariance`, `each(L)` and `together(L)` (`inference.freedom`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend import fitting
from jaxglmm.frontend.by_cluster import MOST
from jaxglmm.frontend.checks import check_choice
from jaxglmm.frontend.robust import of_fixed_alone, robust, robust_freedom
from jaxglmm.frontend.working import is_linear, working_model
from jaxglmm.inference import vcov as matrices
from jaxglmm.inference.blocks import blocks_of, independent_clusters
from jaxglmm.inference.freedom import Freedom, KenwardRoger, Known, Satterthwaite
from jaxglmm.inference.kenward_roger import Adjusted, kenward_roger

if TYPE_CHECKING:
    from jaxglmm.frontend.result import GLMM

Vcov: TypeAlias = str | Mapping[str, Any] | None
DF = ("none", "residual", "satterthwaite", "kenward_roger")
_KINDS = (
    "use 'joint', 'conditional', 'kenward_roger', 'robust' or "
    "{'cluster': ..., 'type': 'CR0' | 'CR1' | 'CR2'}."
)


def freedom_of(fit: GLMM, df: str = "none", vcov: Vcov = None) -> Freedom:
    """Covariance and degrees of freedom of the fixed effects, all components in the fit's order.

    Args:
        fit: the model.
        df: "none", "residual", "satterthwaite" or "kenward_roger".
        vcov: as in `GLMM.fixed_effects`; None for what `df` is made for.

    Raises:
        InputError: what is not known, or not defined for the model.
    """
    check_choice("df", df, DF)
    _check_kind(vcov)
    if df == "satterthwaite":
        return _satterthwaite(fit, vcov)
    if df == "kenward_roger":
        return _kenward_roger(fit, vcov)
    if isinstance(vcov, Mapping) or vcov == "robust":
        return Known(covariance_of(fit, vcov), plain_df(fit, df), covariance_of(fit, "joint"))
    return Known(covariance_of(fit, "joint" if vcov is None else vcov), plain_df(fit, df))


def plain_df(fit: GLMM, df: str) -> float:
    """The degrees of freedom "none" or "residual"."""
    return float(fit.df_residual) if df == "residual" else np.inf


def covariance_of(fit: GLMM, kind: Vcov) -> np.ndarray:
    """Cov(beta) of a kind; (fixed, fixed)."""
    p = len(fit.labels.fixed)
    return parameters_covariance(fit, kind)[:p, :p]


def parameters_covariance(fit: GLMM, kind: Vcov) -> np.ndarray:
    """Cov(beta, theta, phi) of a kind, NaN for (theta, phi) where it is of beta alone."""
    _check_kind(kind)
    if isinstance(kind, Mapping) or kind == "robust":
        return robust(fit, kind)
    if kind == "joint":
        return fit.joint_covariance
    if kind == "conditional":
        return of_fixed_alone(fit, fitting.conditional_vcov(fit.problem, fit.estimate))
    if kind == "kenward_roger":
        return of_fixed_alone(fit, fit.adjusted_covariance.covariance)
    raise InputError(f"vcov: {kind!r} is not known; {_KINDS}")


def _check_kind(kind: Any) -> None:
    """A matrix, say, compares with no name."""
    if not isinstance(kind, str | Mapping | None):
        raise InputError(f"vcov: a {type(kind).__name__} is no kind of covariance; {_KINDS}")


def _satterthwaite(fit: GLMM, vcov: Vcov) -> Freedom:
    if isinstance(vcov, Mapping) or vcov == "robust":
        return robust_freedom(fit, vcov)
    _check_working_model(fit, "satterthwaite")
    if vcov not in (None, "conditional", "joint"):
        raise InputError(
            f"vcov: df='satterthwaite' is not defined for vcov={vcov!r}; use 'conditional', "
            "'joint' or clusters."
        )
    conditional, slopes = fit.variance_slopes
    covariance = conditional if vcov is None else covariance_of(fit, vcov)
    first = len(fit.estimate.hessian) - len(slopes)
    parameters = matrices.along_curved(fit.estimate.hessian)[0][first:, first:]
    return Satterthwaite(covariance, conditional, slopes, parameters)


def _kenward_roger(fit: GLMM, vcov: Vcov) -> KenwardRoger:
    if vcov not in (None, "kenward_roger"):
        raise InputError(
            f"vcov: df='kenward_roger' has a covariance matrix of its own, so vcov={vcov!r} has no "
            "place beside it; leave it out, or use df='satterthwaite'."
        )
    return KenwardRoger(*fit.adjusted_covariance)


def adjusted_covariance(fit: GLMM) -> Adjusted:
    """Kenward and Roger's matrices, for the caller's fixed effects."""
    _check_working_model(fit, "kenward_roger")
    if is_linear(fit.family) and fit.method not in ("reml", "rempl"):
        raise InputError(
            "df: 'kenward_roger' is defined for restricted maximum likelihood; fit with "
            "method='reml'."
        )
    seen = working_model(fit.problem, fit.estimate)
    if seen is None:
        raise InputError(
            f"df: 'kenward_roger' needs a positive weight of every row, but family "
            f"'{fit.family.name}' has negative ones here; use 'none' or 'residual'."
        )
    codes = [term.codes for term in seen.model.terms]
    blocks = blocks_of(independent_clusters(codes, len(seen.rows)))
    if blocks.index.size * blocks.size * (seen.model.num_params + 3) > MOST:
        raise InputError(
            "df: 'kenward_roger' needs the covariance matrix of all rows that random effects link, "
            f"here of {blocks.size} rows at once: too much memory. Use 'satterthwaite'."
        )
    found = kenward_roger(seen.model, blocks)
    covariance, conditional, slopes = (
        fitting.beta_outward(fit.problem, seen.basis, matrix)
        for matrix in (found.covariance, found.conditional, found.slopes)
    )
    return Adjusted(covariance, conditional, slopes, found.parameters)


def _check_working_model(fit: GLMM, df: str) -> None:
    """One linear predictor, so that the model at its mode is a linear one of one response."""
    if fit.family.num_predictors > 1:
        raise InputError(
            f"df: '{df}' is not defined for a model with a dispersion or zero-inflation formula; "
            "use 'none' or 'residual'."
        )
    if fit.family.num_thresholds:
        raise InputError(
            f"df: '{df}' is not defined for an ordinal response; use 'none' or 'residual'."
        )
