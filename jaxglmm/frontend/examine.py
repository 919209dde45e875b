"""The verbs of a fit that look at it: intervals, profiles, influence and residuals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from jaxglmm.frontend.part import Part

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class Examine(Part):
    """Intervals, profiles, influence and residuals."""

    def confint(
        self,
        method: Literal["wald", "profile", "bootstrap"] = "wald",
        level: float = 0.95,
        parameters: str | Sequence[str] | None = None,
        *,
        num_draws: int = 1000,
        seed: int | None = None,
        progress: bool | None = None,
    ) -> pd.DataFrame:
        """Limits for fixed effects, thresholds, standard deviations, correlations, ranges, shapes
        and the family's parameters.

        Args:
            method: "wald": estimate and standard error, on the scales of `fixed_effects` and
                `covariance_parameters`. "profile": values at which the likelihood, maximised over
                all else, has fallen by half the normal quantile's square, as lme4's and glmmTMB's;
                a bound (a standard deviation of 0, a correlation of 1, infinity) where it never
                falls so far. "bootstrap": quantiles of parametric replicates (`bootstrap` has
                other kinds and limits).
            level: of the limits.
            parameters: names of the tables as `Control.fixed` has them, or kinds ("fixed",
                "threshold", "sd", "corr", "range", "shape", "family"); None for all.
            num_draws, seed: of the bootstrap.
            progress: a bar, as in `refit_many`.

        Returns:
            Columns `parameter`, `type`, `estimate`, `conf_low`, `conf_high`. NaN for parameters
            that are held, and where no limit was found. Fixed effects of a fit by REML are no
            parameters of its criterion and have no profile.
        """
        from jaxglmm.frontend.profile import confint

        return confint(self._fit, method, level, parameters, num_draws, seed, progress)

    def profile(
        self,
        parameters: str | Sequence[str] | None = None,
        level: float = 0.99,
        *,
        num_points: int = 8,
        progress: bool | None = None,
    ) -> pd.DataFrame:
        """The likelihood along each parameter, maximised over all others (with priors: times their
        density).

        Args:
            parameters: as in `confint`.
            level: of the interval that the points span.
            num_points: on either side of the estimate, evenly spaced in zeta.
            progress: a bar, as in `refit_many`.

        Returns:
            Columns `parameter`, `value`, `zeta` (signed root of the deviance difference),
            `deviance`. Where a bound comes first it is the last point, with its own zeta.
        """
        from jaxglmm.frontend.profile import profile

        return profile(self._fit, parameters, level, num_points, progress)

    def influence(
        self,
        by: Any = None,
        method: Literal["exact", "one_step", "jackknife"] = "exact",
        *,
        progress: bool | None = None,
    ) -> pd.DataFrame:
        """How far the estimates move when a row, or a group of rows, is left out.

        Args:
            by: a grouping factor or another column of the model by its name, or an array with one
                value for each row of the data: the rows of each value are left out in turn. None
                for single rows.
            method: "exact": refits, all in one batch. "one_step": one Newton step of each refit
                from the fit's estimates (Pregibon 1981, Ann. Statist. 9:705-724). "jackknife": the
                infinitesimal jackknife, derivatives of the estimates in the weights of the rows
                (Jaeckel 1972), which costs a few evaluations in all.
            progress: a bar, as in `refit_many`.

        Returns:
            A row for each unit: `row` (place in the data), or `group` and `level`; `num_obs`, rows
            left out; `cooks_distance` of the fixed effects; `likelihood_displacement`, 2 (l - l_i)
            with l_i what is maximised, over all rows, at the estimates without the unit (Cook 1986;
            of the jackknife by the Hessian); `covariance_ratio`, that of the determinants of the
            covariance matrices of the fixed effects; `dfbetas_x` for every fixed effect, estimate
            less that without the unit in standard errors of the latter (of the jackknife, of the
            fit); `change_sd(g, x)` and so on, estimate less that without the unit; `status` of the
            refit. NaN where a refit failed.
        """
        from jaxglmm.frontend.influence import influence

        return influence(self._fit, by, method, progress)

    def residuals(
        self,
        type: Literal["raw", "pearson", "deviance", "quantile"] = "raw",
        conditional: bool = True,
        *,
        seed: int = 0,
    ) -> np.ndarray:
        """Residuals of the rows used, in their order.

        Args:
            type: "raw": response less its mean (of proportions where the law has trials).
                "pearson": in standard deviations of the law, its dispersion included. "deviance":
                signed root of the row's deviance, which R divides by no dispersion. "quantile":
                normal quantiles of the response's place in its distribution, at random where
                responses are discrete: standard normal if the model is right.
            conditional: at the modes of the random effects; else at random effects of zero
                (fitglme's marginal residuals), of "quantile" in the marginal distribution, random
                effects integrated out.
            seed: of quantile residuals of discrete responses.
        """
        from jaxglmm.frontend.of_rows import residuals

        return residuals(self._fit, type, conditional, seed)

    def hat_values(self) -> np.ndarray:
        """Derivatives of the fitted means in their own responses, row by row, with covariance
        parameters and the family's taken as known: lme4's `hatvalues`. Their sum is the effective
        number of parameters."""
        from jaxglmm.frontend.of_rows import hat_values

        return hat_values(self._fit)
