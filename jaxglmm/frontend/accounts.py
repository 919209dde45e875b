"""The verbs of a fit that give an account of it: tables, matrices, and the call made again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jaxglmm.families import AbstractFamily
from jaxglmm.frontend.part import Part

if TYPE_CHECKING:
    import pandas as pd

    from jaxglmm.frontend.result import GLMM


class Accounts(Part):
    """Tables, matrices, and the call made again."""

    def update(
        self,
        formula: str | None = None,
        data: Any = None,
        family: str | AbstractFamily | None = None,
        **changes: Any,
    ) -> GLMM:
        """The same call with other arguments.

        Args:
            formula: a dot on the left is the old response, one on the right all old terms, random
                ones and offsets too: ". ~ . + x", "log(.) ~ .", ". ~ . - x - (1 | g)".
            data: None for the columns that the fit used.
            family: with its own default link, unless link= is among the changes.
            changes: other arguments of `glmm`.

        Raises:
            InputError: a column that the fit did not keep, a term to take away that is not there,
                arrays with an entry a row (weights, offset) that belong to other data.
        """
        from jaxglmm.frontend.update import update

        return update(self._fit, formula, data, family, changes)

    def icc(self) -> pd.DataFrame:
        """Intraclass correlations: the share of the random effects in the variance.

        sigma_g^2 / (sum of the random effects' variances + sigma^2), where the variance of an
        observation on the scale of the linear predictor is sigma^2 (gaussian, identity link),
        pi^2 / 3 (binomial, logit) or 1 (probit). Other models have none: NaN, and the `reason`.

        Returns:
            One row a grouping factor and one for their `total`: `variance` (with random slopes the
            mean of z' Sigma z over the rows), `icc_adjusted`, `icc_unadjusted` (the variance of the
            fixed part in the denominator: Nakagawa et al. 2017), `group_size` (mean) and
            `design_effect`, 1 + (group_size - 1) icc_adjusted; prior weights count as one.
        """
        from jaxglmm.frontend.explained import icc

        return icc(self._fit)

    def r2(
        self,
        method: Literal["theoretical", "lognormal", "delta", "trigamma"] | None = None,
        mean: Literal["median", "mean"] = "median",
    ) -> pd.DataFrame:
        """R2 of Nakagawa, Johnson & Schielzeth (2017), marginal (fixed effects) and conditional
        (random ones too), on the scale of the linear predictor: an approximation, but for gaussian
        models with the identity link.

        Args:
            method: the variance of an observation on that scale. None: "theoretical" for binomial
                and cumulative models (logit: pi^2 / 3, probit: 1, cloglog and loglog: pi^2 / 6),
                "lognormal" for other laws with the log link, log(1 + Var(y) / mu^2), "delta" for
                the rest, Var(y) / (dmu/deta)^2; "trigamma" (log link) is psi_1(mu^2 / Var(y)).
            mean: where mu is: the model with an intercept in place of the fixed effects is fitted,
                and mu is its mean at random effects of zero, "median" (performance up to 0.10), or
                over them, "mean" (the paper's eq. 5.8; MuMIn).

        Returns:
            One row: `r2_marginal`, `r2_conditional`, `icc_adjusted`, `icc_unadjusted`, the
            variances `var_fixed`, `var_random`, `var_observation` they are made of, `method`
            ("residual" for gaussian) and `typical_mean`, mu.

        Raises:
            InputError: a method that the model does not have; a model of the dispersion or of
                zeros.
        """
        from jaxglmm.frontend.explained import r2

        return r2(self._fit, method, mean)

    @property
    def response(self) -> np.ndarray:
        """The responses of the rows used, in the units of the formula: numbers of successes for
        `cbind(s, f) ~` and `s / n ~`, the categories of an ordinal response."""
        from jaxglmm.frontend.tidy import response

        return response(self._fit)

    def design_matrix(self, part: Literal["fixed", "random"] = "fixed") -> Any:
        """X, a data frame with a column a term; or Z, a sparse matrix (scipy's csr_array) whose
        columns are in the order of the rows of `random_effects()`. Rows are those used."""
        from jaxglmm.frontend.tidy import design_matrix

        return design_matrix(self._fit, part)

    def tidy(
        self,
        effects: str | Sequence[str] = ("fixed", "ran_pars"),
        level: float = 0.95,
        **arguments: Any,
    ) -> pd.DataFrame:
        """Estimates in the columns of broom.mixed, spelt as marginaleffects does.

        Args:
            effects: "fixed", "ran_pars" (standard deviations, terms `sd__x`, correlations,
                `cor__Intercept.x`, and the family's parameters) or "ran_vals" (conditional modes);
                or several.
            level: of the limits.
            arguments: of `fixed_effects` (df, vcov).

        Returns:
            Columns `effect`, `component`, `group`, `level`, `term`, `estimate`, `std_error`,
            `statistic`, `df`, `p_value`, `conf_low`, `conf_high`; what a part does not have is NaN.
        """
        from jaxglmm.frontend.tidy import tidy

        return tidy(self._fit, effects, level, **arguments)

    def glance(self) -> pd.DataFrame:
        """The fit in one row: `nobs`, `sigma` (NaN where the law has none), `log_lik`, `aic`,
        `bic`, `deviance`, `df_residual`, `num_params`, `converged`, `singular`, `method`, `family`,
        `link`."""
        from jaxglmm.frontend.tidy import glance

        return glance(self._fit)

    def augment(self) -> pd.DataFrame:
        """The columns of the data on the rows used, with `.fitted` and `.fixed` (conditional and
        population means; of an ordinal response the likeliest category), `.linear` (the conditional
        linear predictor), `.resid` (response, as a proportion of its trials, less `.fitted`),
        `.hat` (`hat_values()`) and `.cooksd`, r^2 h / ((1 - h)^2 p) with Pearson residuals r, hat
        values h and p fixed effects of the mean: lme4's `cooks.distance`, which refits nothing
        (`influence()` has the distances of refits). An ordinal response has none of the last
        three."""
        from jaxglmm.frontend.tidy import augment

        return augment(self._fit)

    # ----- what the package maketables (pyfixest's etable) looks for ------------------------------

    @property
    def __maketables_coef_table__(self) -> pd.DataFrame:
        from jaxglmm.frontend.tidy import coefficient_table

        return coefficient_table(self._fit)

    def __maketables_stat__(self, key: str) -> Any:
        from jaxglmm.frontend.tidy import statistic

        return statistic(self._fit, key)

    @property
    def __maketables_depvar__(self) -> str:
        return self._fit.labels.response

    @property
    def __maketables_fixef_string__(self) -> None:
        return None

    @property
    def __maketables_vcov_info__(self) -> dict[str, Any]:
        return {"vcov_type": "joint Hessian", "clustervar": None}

    @property
    def __maketables_stat_labels__(self) -> dict[str, str]:
        from jaxglmm.frontend.tidy import LABELS

        return LABELS

    @property
    def __maketables_default_stat_keys__(self) -> list[str]:
        return ["N", "n_groups", "ll", "aic", "bic"]
