"""The verbs of a fit about its coefficients: table, covariance, tests."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm.frontend import fitting, tables
from jaxglmm.frontend.checks import check_level
from jaxglmm.frontend.exponentials import with_exponentials
from jaxglmm.frontend.freedom import (
    Vcov,
    adjusted_covariance,
    covariance_of,
    freedom_of,
    parameters_covariance,
)
from jaxglmm.frontend.part import Part
from jaxglmm.inference.freedom import Known
from jaxglmm.inference.kenward_roger import Adjusted
from jaxglmm.inference.quantiles import Alternative

if TYPE_CHECKING:
    import pandas as pd


class Coefficients(Part):
    """Table, covariance and tests of the coefficients."""

    @functools.cached_property
    def variance_slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """Cov(beta) given (theta, phi), and its derivatives in those that are free."""
        fit = self._fit
        return fitting.conditional_slopes(fit.problem, fit.estimate)

    @functools.cached_property
    def adjusted_covariance(self) -> Adjusted:
        """Kenward and Roger's covariance of beta, and what their degrees of freedom need."""
        return adjusted_covariance(self._fit)

    def fixed_effects(
        self,
        level: float = 0.95,
        df: str = "none",
        vcov: Vcov = None,
        *,
        exponentiate: bool = False,
    ) -> pd.DataFrame:
        """Fixed effects with Wald tests and limits, and the thresholds of an ordinal response.

        Args:
            level: of the limits.
            df: of the t law: "none" (normal); "residual" (num_obs - number of fixed effects);
                "satterthwaite" (lmerTest; from the Hessian in the variance parameters);
                "kenward_roger" (pbkrtest; for the normal law by method="reml"). For laws that are
                not normal the last two are those of the working linear model at the mode, the one
                that pseudo-likelihood fits: an approximation. "satterthwaite" with clusters is
                clubSandwich's (normal law with identity link).
            vcov: covariance of the estimates. "joint": inverse Hessian in all parameters.
                "conditional": theta and phi known, so that thresholds have no error (lme4's).
                "kenward_roger": the adjusted one. "robust": from the scores of the rows that
                random effects link. {"cluster": a grouping factor, column or array, "type": "CR0"
                (the default), "CR1" (times G / (G - 1) for G clusters) or "CR2" (normal law with
                identity link)}: from those of clusters. None for what goes with `df`: "joint" with
                "none" and "residual", "conditional" with "satterthwaite", the adjusted one with
                "kenward_roger".
            exponentiate: add exp(estimate) and its limits, in columns named by family and link:
                `odds_ratio`, `rate_ratio`, `risk_ratio`, `hazard_ratio`, or `exp`.

        Raises:
            InputError: what is not known, or not defined for the model.
        """
        fit = self._fit
        level = check_level(level)
        freedom = freedom_of(fit, df, vcov)
        same = isinstance(freedom, Known)  # for thresholds too, which are no coefficients
        own = freedom.df if same else freedom.each(np.eye(len(freedom.covariance)))
        others = None
        if fit.family.num_thresholds and vcov is not None:
            others = parameters_covariance(fit, vcov)
        table = tables.fixed_effects(fit, level, own, freedom.covariance, others=others)
        return with_exponentials(fit, table) if exponentiate else table

    def vcov(self, kind: Vcov = "joint") -> pd.DataFrame:
        """Covariance matrix of the fixed effects, labelled; kinds as in `fixed_effects`.

        Those of a dispersion or zero-inflation formula are called `disp_x`, `zi_x`.
        """
        import pandas as pd

        fit = self._fit
        names = fit.data.full_names
        return pd.DataFrame(covariance_of(fit, kind), index=names, columns=names)

    def anova(
        self, type: str = "III", test: str = "F", df: str | None = None, *, vcov: Vcov = None
    ) -> pd.DataFrame:
        """Wald tests of the terms of the fixed parts.

        Args:
            type: "III": each term's coefficients are zero in the model whose factors are coded by
                deviations (contrasts="sum"), whatever the fit's own coding: car's type III of such
                a fit. "marginal": the same of the coefficients as they are coded (fitglme, nlme).
                "II": each term after all others but those that contain it (car). "I": each term
                after those before it in the formula (nlme's sequential tests; lmerTest's, which
                take the rows as independent there, are others where groups are unequal).
            test: "F" or "chisq".
            df: of the denominator of F: "residual" (the default), "none", "satterthwaite"
                (lmerTest; with a robust `vcov` the test HTZ of clubSandwich's `Wald_test`:
                Pustejovsky & Tipton 2018) or "kenward_roger" (pbkrtest's scaled F).
            vcov: as in `fixed_effects`.

        Returns:
            One row a term: component, term, statistic, num_df, den_df, p_value.

        Raises:
            InputError: a test that the model does not have.
        """
        from jaxglmm.frontend.anova import anova

        return anova(self._fit, type, test, df, vcov)

    def coef_test(
        self,
        H: Any = None,
        c: Any = 0.0,
        K: Any = None,
        df: str | None = None,
        *,
        test: str = "F",
        vcov: Vcov = None,
        alternative: Alternative = "two-sided",
    ) -> pd.DataFrame:
        """Wald's test of H beta + K b = c, all rows at once.

        Args:
            H: rows of coefficients of the fixed effects, in the order of `vcov()`; or {name:
                coefficient} for one row, or a list of such dicts. None for every fixed effect but
                the intercepts (with K: for none).
            c: one number, or one a row.
            K: rows of coefficients of the random effects, in the order of `random_effects()`. The
                test is then made with the covariance of beta^ - beta and b^ - b, variances taken
                as known (Henderson's equations; fitglme's REContrast).
            df: of the denominator of F, as in `anova`.
            test: "F" or "chisq".
            vcov: as in `fixed_effects`.
            alternative: of a single row: that the left side is not c, "less" or "greater".

        Returns:
            One row: statistic (of a one-sided test t or z), num_df (the rank of the rows), den_df,
            p_value.

        Raises:
            InputError: rows of the wrong width, names that are not known, hypotheses that
                contradict each other.
        """
        from jaxglmm.frontend.coef_test import coef_test

        return coef_test(self._fit, H, c, K, df, test, vcov, alternative)
