"""The verbs of a fit that predict."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jaxglmm.frontend import fitting
from jaxglmm.frontend.part import Part
from jaxglmm.frontend.prediction import means, predict
from jaxglmm.frontend.prediction_limits import Errors

if TYPE_CHECKING:
    import pandas as pd


Mean = Literal["conditional", "population", "marginal"]
Scale = Literal["response", "link"]


class Predictions(Part):
    """Means and linear predictors, with errors and limits."""

    @functools.cached_property
    def mode_slopes(self) -> tuple[np.ndarray, ...]:
        """Slopes of the conditional modes in (beta, theta, phi), (param, column, level) for each
        grouping factor."""
        return fitting.mode_slopes(self._fit.problem, self._fit.estimate)

    def parameter_covariance(self, uncertainty: str) -> np.ndarray:
        """Of (beta, theta, phi): "joint"; "fixed", the fixed effects' part of that; "conditional"
        (or "cmsep"), their covariance given all others. NaN where nothing is known."""
        fit, joint = self._fit, self._fit.joint_covariance
        if uncertainty == "joint":
            return joint
        V, p = np.zeros_like(joint), len(fit.labels.fixed)
        V[:p, :p] = joint[:p, :p] if uncertainty == "fixed" else fit.vcov("conditional")
        return V

    def fitted(self, kind: Mean = "conditional", scale: Scale = "response") -> np.ndarray:
        """Means (or linear predictors) of the rows used, in their order."""
        return means(self._fit, kind, scale)

    def predict(
        self,
        newdata: Any = None,
        kind: Mean = "conditional",
        scale: Scale = "response",
        *,
        interval: Literal["confidence", "prediction"] | None = None,
        level: float = 0.95,
        uncertainty: Literal["fixed", "conditional", "joint"] = "joint",
        df: str = "none",
        simultaneous: bool = False,
        new_levels: Literal["population", "sample", "raise"] = "population",
        seed: int | None = None,
        offset: Any = None,
        weights: Any = None,
    ) -> Any:
        """Means or linear predictors, with errors and limits where an interval is asked for.

        Args:
            newdata: table with the columns of the formula; None for the rows used.
            kind: "conditional" on the random effects, at their modes; "population", random effects
                of zero; "marginal", the mean over the random effects E[mu(X beta + z'b)],
                b ~ N(0, Sigma), by Gauss-Hermite quadrature (no grouping factor is read).
            scale: "response", the mean: with zero inflation (1 - pi) mu; or "link", the linear
                predictor of the conditional model: of a marginal mean its link g(E[mu]).
            interval: "confidence", limits of the mean; "prediction", limits of one new response
                in these rows (of the proportion, where a response is successes of trials): of a
                "marginal" mean for a new group, of a "population" one for a group whose effects
                are zero. They are quantiles of the law averaged over the normal law of the errors.
            level: of the limits.
            uncertainty: whose errors count. "joint": of all parameters, and of the random effects
                (glmmTMB). "conditional": of the fixed and random effects, variances and the
                family's parameters taken as known (lme4's `predict(se.fit = TRUE)`, fitglme).
                "fixed": of the fixed effects alone (marginaleffects, emmeans).
            df: "none" (normal limits) or "residual" (t, as fitglme); of confidence limits.
            simultaneous: limits that hold for all rows together with this level, by Scheffe's
                method (fitglme): wide, and right for any number of rows.
            new_levels: "population" gives unseen levels a random effect of zero, whose error is its
                standard deviation; "sample" draws their effects by `seed`, one draw a level;
                "raise" refuses.
            seed: a whole number, for new_levels="sample".
            offset: for newdata, when the fit was given an offset= array.
            weights: for newdata and interval="prediction": trials of a binomial response, or prior
                weights (1 without them); a number, an array or a column's name. The column that
                the fit had is read.

        Returns:
            One number a row of newdata, NaN where a predictor is missing; of an ordinal response
            the probabilities of its categories, a column each. With an interval a data frame
            with the columns `estimate`, `std_error`, `conf_low`, `conf_high`, one row a row (for an
            ordinal response one a `row` and `category`); std_error is that of the estimate on its
            scale, for "prediction" the standard deviation of the new response. Confidence limits
            are formed on the link scale where the mean is a function of one linear predictor, else
            on the scale of the logarithm (positive means) or the logit (proportions) of the mean.

        Raises:
            InputError: an argument that is not known, columns that are missing, new predictors'
                levels.
        """
        return predict(
            self._fit,
            newdata,
            kind,
            scale,
            interval=interval,
            offset=offset,
            weights=weights,
            new_levels=new_levels,
            seed=seed,
            errors=Errors(level, uncertainty, df, simultaneous),
        )

    def partial_dependence(
        self,
        variables: str | Sequence[str],
        kind: Literal["average", "individual", "centered"] = "average",
        *,
        of: Mean = "conditional",
        scale: Scale = "response",
        num_points: int = 100,
        values: Mapping[str, Any] | None = None,
        data: Any = None,
    ) -> pd.DataFrame:
        """Predictions with one or two predictors moved over a grid, all else as in the data.

        Args:
            variables: a predictor, or two.
            kind: "average" over the rows (Friedman 2001, Ann. Statist. 29:1189-1232), "individual"
                curves of each row, or "centered" ones, less their value at the first point
                (Goldstein et al. 2015, J. Comput. Graph. Statist. 24:44-65).
            of, scale: what is predicted, `kind` and `scale` of `predict`.
            num_points: of the grid of a numeric predictor, over its range; all its values where
                these are fewer. A factor has its levels.
            values: {predictor: values} in place of the grid.
            data: a table in place of the rows used.

        Returns:
            A column for each predictor, `row` but for averages, `category` for an ordinal response,
            and `estimate`.
        """
        from jaxglmm.frontend.dependence import partial_dependence

        return partial_dependence(
            self._fit,
            variables,
            kind,
            of=of,
            scale=scale,
            num_points=num_points,
            values=values,
            data=data,
        )
