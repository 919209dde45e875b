"""The verbs of a fit on marginal means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from jaxglmm.frontend.checks import check_choice
from jaxglmm.frontend.part import Part
from jaxglmm.inference.quantiles import Alternative

if TYPE_CHECKING:
    from jaxglmm.frontend.means.table import Means

Scale = Literal["link", "response"]


class MarginalMeans(Part):
    """Marginal means, and the door to another package of them."""

    def emmeans(
        self,
        specs: str | list[str],
        by: str | list[str] | None = None,
        *,
        at: Mapping[str, Any] | None = None,
        scale: Scale = "link",
        level: float = 0.95,
        adjust: str = "none",
        weights: Any = "equal",
        offset: float | None = None,
        df: str | float = "none",
        vcov: Any = None,
        bias_adjust: bool | float = False,
        component: str = "cond",
        mode: str = "latent",
        nesting: Mapping[str, Any] | str | None = "auto",
        alternative: Alternative = "two-sided",
    ) -> Means:
        """Estimated marginal means: predictions on a grid of the factors' levels, averaged.

        Random effects are at zero. Factors are at all their levels, covariates at their means over
        the rows used, those of at most two values at both (Searle, Speed & Milliken 1980, Am.
        Statist. 34:216-221; emmeans).

        Args:
            specs: variables whose combinations have a mean each: "a", "a:b", ["a", "b"] or
                "~ a * b | c"; "1" for one mean of all.
            by: variables whose combinations are looked at one by one.
            at: {variable: values}: levels of a factor, numbers of a covariate, or a function of
                its column.
            scale: "link" or "response": taken back by the inverse link, with delta-method errors
                and limits taken back from the link scale.
            level: of the limits.
            adjust: for several means: "none", "sidak", "bonferroni", "mvt" (multivariate t),
                "scheffe", and for p-values "holm", "hochberg", "bh" or "fdr", "by"; "tukey" and
                "dunnett" are for contrasts.
            weights: of what is averaged over: "equal", "proportional" (to its frequencies),
                "outer" (to the products of theirs), "cells" (to each cell's), "flat" (equal where
                there are rows), or numbers.
            offset: in all cells, instead of the formula's (a function of the means of its columns,
                log of the mean of x for `offset(log(x))`) and of the mean of offset= of the fit.
            df: degrees of freedom as in `fixed_effects`, or a number.
            vcov: as in `fixed_effects`.
            bias_adjust: on the response scale add half the curvature of the inverse link times a
                variance: True for that of the random effects (its mean over the rows), or a
                standard deviation.
            component: "cond", "zi" (probability of zeros) or "disp" (dispersion); or "response",
                the mean of the response with zeros and all, by the delta method.
            mode: of an ordinal response: "latent" (its mean on the latent scale, less the
                thresholds' mean), "prob" (of each category, a variable by the response's name),
                "cum_prob" (up to each, `cut`), "exc_prob" (above each) or "mean_class".
            nesting: factors whose levels belong to those of others: they are averaged within these
                first, combinations without rows do not exist, and means of a nested factor stand
                beside the factors around it. "auto" finds those whose levels each have rows with
                one level of the other alone, and a in b where every term with a has b (`b / a`);
                {"drug": "route"} or {"c": ["a", "b"]} says so; None is for none.
            alternative: of the tests, that the estimate is not zero, "less" or "greater"; the limit
                on the other side of a one-sided test's is infinite, or the end of the scale.

        Returns:
            A `Means`, a data frame with the verbs contrast, cld, joint_tests, regrid. Means that
            the data do not determine are NaN.

        Raises:
            InputError: a variable or level that the model does not know, an option that it does
                not have.
        """
        from jaxglmm.frontend.means.ask import means
        from jaxglmm.frontend.means.question import Question

        return means(
            self._fit,
            Question(
                specs,
                by,
                at=at,
                scale=scale,
                level=level,
                adjust=adjust,
                weights=weights,
                offset=offset,
                df=df,
                vcov=vcov,
                component=component,
                mode=mode,
                nesting=nesting,
                alternative=alternative,
            ),
            bias_adjust,
        )

    def emtrends(
        self,
        specs: str | list[str],
        var: str,
        by: str | list[str] | None = None,
        *,
        at: Mapping[str, Any] | None = None,
        scale: Scale = "link",
        level: float = 0.95,
        adjust: str = "none",
        weights: Any = "equal",
        df: str | float = "none",
        vcov: Any = None,
        component: str = "cond",
        mode: str = "latent",
        nesting: Mapping[str, Any] | str | None = "auto",
        alternative: Alternative = "two-sided",
        delta: float | None = None,
    ) -> Means:
        """Slopes of the linear predictor, or of the mean, in a covariate, averaged as means are.

        Args:
            var: the covariate.
            scale: "link", or "response" for slopes of the mean (of the component; errors by the
                delta method).
            delta: step of the central difference quotient; a thousandth of the covariate's range.

        Other arguments, and what comes back, as in `emmeans`.
        """
        from jaxglmm.frontend.means.ask import slopes
        from jaxglmm.frontend.means.question import Question

        question = Question(
            specs,
            by,
            at=at,
            scale=scale,
            level=level,
            adjust=adjust,
            weights=weights,
            offset=None,
            df=df,
            vcov=vcov,
            component=component,
            mode=mode,
            nesting=nesting,
            alternative=alternative,
        )
        return slopes(self._fit, question, var, delta)

    def to_marginaleffects(
        self,
        kind: Literal["population", "conditional"] = "population",
        scale: Literal["response", "link"] = "response",
    ) -> Any:
        """The fit as the Python package marginaleffects takes it, which has to be installed.

            from marginaleffects import avg_slopes
            avg_slopes(fit.to_marginaleffects(), variables="x")

        Errors are those of the fixed effects; `vcov=` of its functions takes the kinds of
        `fixed_effects` by their names.

        Args:
            kind: with random effects at zero ("population") or at their modes ("conditional").
            scale: of the predictions: means of the response (probabilities of an ordinal one's
                categories), or linear predictors.
        """
        check_choice("kind", kind, ("population", "conditional"))
        check_choice("scale", scale, ("response", "link"))
        from jaxglmm.frontend.means.adapter import marginal_model

        return marginal_model(self._fit, kind, scale)
