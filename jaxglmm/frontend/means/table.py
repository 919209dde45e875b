"""The table of marginal means that knows what it is made of: contrasts, letters, joint tests."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import check_choice, check_level
from jaxglmm.frontend.means import contrast as making
from jaxglmm.frontend.means.estimates import NUMBERS, Estimates
from jaxglmm.frontend.means.nonlinear import on_response
from jaxglmm.frontend.means.specs import check_variable
from jaxglmm.inference.adjustment import METHODS
from jaxglmm.inference.estimable import Least, Linear
from jaxglmm.inference.quantiles import ALTERNATIVES, Alternative

_ALIASES = {"fdr": "bh", "dunnettx": "dunnett", None: None}
OWN: Any = object()


class Means(pd.DataFrame):
    """Marginal means, slopes or contrasts: a data frame, one row each.

    Columns: the variables (or `contrast`), `estimate`, `std_error`, `statistic`, `df`, `p_value`,
    `conf_low`, `conf_high`. Tests are of zero on the scale of the linear predictor. What pandas
    makes of it (rows, columns, sums) is an ordinary data frame; `estimates` is what it is made of,
    `notes` what a reader should know.
    """

    _metadata = ["estimates"]
    estimates: Estimates

    def __init__(self, estimates: Estimates) -> None:
        clash = [name for name in estimates.labels if name in NUMBERS]
        if clash:
            raise InputError(
                f"The variable '{clash[0]}' has the name of a column of this table. Rename it in "
                "the data and fit again."
            )
        super().__init__({**estimates.labels, **estimates.numbers()})
        self.estimates = estimates

    @property
    def _constructor(self) -> type[pd.DataFrame]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return pd.DataFrame

    @property
    def notes(self) -> tuple[str, ...]:
        """Scale, averages, adjustments."""
        return self.estimates.all_notes()

    def table(self) -> pd.DataFrame:
        """The same as an ordinary data frame."""
        return pd.DataFrame(self)

    def vcov(self) -> pd.DataFrame:
        """Covariance matrix of the estimates on the scale on which they are linear."""
        names = pd.MultiIndex.from_arrays(
            list(self.estimates.labels.values()), names=list(self.estimates.labels)
        )
        return pd.DataFrame(self.estimates.linear.covariance, index=names, columns=names)

    def contrast(
        self,
        method: Any = "pairwise",
        *,
        by: Any = OWN,
        adjust: str | None = None,
        level: float | None = None,
        ref: Any = 0,
        ratios: bool = True,
        interaction: bool = False,
        alternative: Alternative | None = None,
    ) -> Means:
        """Contrasts of the means, of those of each combination of `by` apart.

        Args:
            method: "pairwise" (a - b), "revpairwise" (b - a), "trt.vs.ctrl" (each - control), "eff"
                (each - average), "del.eff" (each - average of the others), "consec" (next -
                previous), "mean_chg" (average of those behind - of those before), "poly"
                (orthogonal polynomials), "identity"; {label: coefficients}; or a matrix with one
                row a contrast and one column a mean.
            by: variables; the means' own unless given, [] for none.
            adjust: as in `fit.emmeans`; emmeans' own choice for each method unless given ("tukey",
                "tukey", "dunnett", "bh", "bh", "mvt", "mvt", "none").
            level: of simultaneous limits; the means' own unless given.
            ref: the control, its place or name.
            ratios: on the response scale differences of logarithms are ratios, of logits odds
                ratios. Contrasts on other scales, or that do not add up to zero, stay as they are.
            interaction: the method for every variable in turn: contrasts of contrasts.
            alternative: as in `fit.emmeans`; the means' own unless given. One-sided, "tukey",
                "dunnett" and "scheffe" are "mvt", the law of the contrasts themselves.
        """
        means = self.estimates
        apart = self._by(by)
        if not isinstance(method, (str, Mapping)) and interaction:
            raise InputError("interaction=True needs a method by its name, such as 'pairwise'.")
        chosen = None if adjust is None else check_adjust(adjust)
        if level is not None:
            means = means.replace(level=check_level(level))
        if alternative is not None:
            check_choice("alternative", alternative, ALTERNATIVES)
            means = means.replace(alternative=alternative)
        if interaction:
            chosen = "none" if chosen is None else chosen
            return Means(making.interactions(means, method, apart, chosen, ratios))
        return Means(making.contrast(means, method, apart, chosen, ref, ratios))

    def cld(
        self, alpha: float = 0.05, *, adjust: str | None = None, decreasing: bool = False
    ) -> pd.DataFrame:
        """Compact letter display: means by size, those that share a letter do not differ.

        Args:
            alpha: level of the tests.
            adjust: of the pairwise tests, "tukey" unless given; if given, of the limits too (by
                Sidak where it is Tukey's).
            decreasing: the largest mean first.

        Returns:
            The table with a column `letters`, sorted within each combination of `by`.
        """
        means = self.estimates
        if means.what == "contrasts":
            raise InputError("cld: these are contrasts; letters are for means. Use means.cld().")
        check_level(alpha, "alpha")
        chosen = "tukey" if adjust is None else check_adjust(adjust)
        table = Means(means if adjust is None else means.replace(adjust=chosen)).table()
        values, pieces = table["estimate"].to_numpy(), []
        for rows in means.parts():
            size = -values[rows] if decreasing else values[rows]
            order = rows[np.argsort(size, kind="stable")]
            found = making.letters_of(means, order, alpha, chosen, rows)
            pieces.append(table.iloc[order].assign(letters=found))
        return pd.concat(pieces, ignore_index=True)

    def joint_tests(self) -> pd.DataFrame:
        """F tests of several contrasts at once; chi-squared by num_df where den_df is infinite.

        Of means: of each variable and their interactions, by differences of levels that are
        averaged over the other variables; of contrasts: that all are zero.

        Returns:
            The `by` variables, `term`, `statistic`, `num_df`, `den_df`, `p_value`.
        """
        means = self.estimates
        found = making.joint_tests(means)
        labels = {name: [means.labels[name][t.place] for t in found] for name in means.by}
        return pd.DataFrame(
            {
                **labels,
                "term": [t.term for t in found],
                "statistic": [t.joint.outcome.statistic for t in found],
                "num_df": [t.joint.outcome.num_df for t in found],
                "den_df": [t.joint.outcome.den_df for t in found],
                "p_value": [t.joint.outcome.p_value for t in found],
            }
        )

    def regrid(self) -> Means:
        """The means on the response scale as estimates of their own: contrasts of them are
        differences of means, with errors by the delta method; df are the least of theirs."""
        means = self.estimates
        if means.link is None:
            return self
        linear = means.linear
        eta = linear.estimate
        lost, df = ~linear.estimable, linear.df
        mean, slope = on_response(means.link, np.where(lost, 0.0, eta), means.sigma)
        covariance = slope[:, None] * linear.covariance * slope
        covariance[lost, :] = covariance[:, lost] = 0.0
        number = len(eta)
        own = Linear(
            L=np.eye(number),
            b=mean,
            V=covariance,
            offset=np.zeros(number),
            null=np.eye(number)[:, lost],
            freedom=Least(np.where(np.isnan(df), np.inf, df)),
        )
        return Means(means.replace(linear=own, link=None, is_response=True, sigma=0.0))

    def _by(self, by: Any) -> tuple[str, ...]:
        if by is OWN:
            return self.estimates.by
        wanted = [] if by is None else [by] if isinstance(by, str) else list(by)
        for name in wanted:
            check_variable("by", name, list(self.estimates.labels))
        return tuple(wanted)

    def __repr__(self) -> str:
        return "\n".join([self.table().to_string(), *(f"({note})" for note in self.notes)])

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return self.table().to_html() + notes


def check_adjust(adjust: Any) -> str:
    """The method of an adjustment by one of its names."""
    name = _ALIASES.get(adjust, adjust)
    check_choice("adjust", name, METHODS)
    return name
