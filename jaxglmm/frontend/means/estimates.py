"""Estimates with their labels, and the numbers of their table."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxglmm.frontend.means.nesting import Nesting
from jaxglmm.frontend.means.nonlinear import limit_on_response, on_response
from jaxglmm.inference.adjustment import Several, critical, effective, p_values
from jaxglmm.inference.estimable import Linear
from jaxglmm.links import AbstractLink

NUMBERS = (
    "estimate",
    "std_error",
    "statistic",
    "df",
    "p_value",
    "conf_low",
    "conf_high",
)
_WRITTEN = {
    "sidak": "Sidak",
    "bonferroni": "Bonferroni",
    "tukey": "Tukey",
    "holm": "Holm",
    "hochberg": "Hochberg",
    "bh": "Benjamini & Hochberg",
    "by": "Benjamini & Yekutieli",
    "mvt": "multivariate t",
    "dunnett": "Dunnett, approximately",
    "scheffe": "Scheffe",
}


@dataclass(frozen=True, eq=False)
class Estimates:
    """Means, slopes or contrasts.

    Attributes:
        labels: the columns that tell the rows apart, one entry a row each.
        by: those whose combinations are looked at one by one.
        linear: the estimates on the scale on which they are linear.
        link: whose inverse takes them to the response scale; None where they are on it.
        is_response: whether the table is on the response scale.
        level: of the limits.
        adjust: for several tests.
        is_pairwise: whether the rows of each part are all differences of its means.
        sigma: of the bias adjustment.
        what: "means", "slopes" or "contrasts".
        notes: on all of them.
        scale: what that of the estimates is called, the link's name unless given.
        nesting: which variables of the grid are nested in which.
        alternative: of the tests, which have the one limit that goes with it.
    """

    labels: dict[str, list[Any]]
    by: tuple[str, ...]
    linear: Linear
    link: AbstractLink | None
    is_response: bool
    level: float
    adjust: str = "none"
    is_pairwise: bool = False
    sigma: float = 0.0
    what: str = "means"
    notes: tuple[str, ...] = ()
    scale: str = ""
    nesting: Nesting = field(default_factory=dict)
    alternative: str = "two-sided"

    @property
    def own(self) -> tuple[str, ...]:
        """The columns that tell the rows of a part apart."""
        return tuple(name for name in self.labels if name not in self.by)

    @property
    def transformed(self) -> bool:
        return self.is_response and self.link is not None

    def parts(self, by: Sequence[str] | None = None) -> list[np.ndarray]:
        """Rows of each combination of `by`, in the order in which they first appear."""
        names = self.by if by is None else by
        number = len(self.linear.L)
        keys = list(zip(*(self.labels[name] for name in names), strict=True)) or [()] * number
        found: dict[Any, list[int]] = {}
        for row, key in enumerate(keys):
            found.setdefault(key, []).append(row)
        return [np.array(rows) for rows in found.values()]

    def rows(self, chosen: np.ndarray) -> dict[str, list[Any]]:
        """The labels of some rows."""
        return {name: [values[i] for i in chosen] for name, values in self.labels.items()}

    def numbers(self) -> dict[str, np.ndarray]:
        """The columns of the table, each (row,)."""
        linear = self.linear
        estimate, covariance, df = linear.estimate, linear.covariance, linear.df
        variance = np.diagonal(covariance)
        error = np.sqrt(np.where(variance > 0, variance, np.nan))  # what is held has no error
        statistic = estimate / error
        correlation = covariance / (error[:, None] * error)
        p_value, width = np.full((2, len(estimate)), np.nan)
        for rows in self.parts():
            tests = self._tests(rows, statistic, df, correlation)
            p_value[rows] = p_values(tests, self.adjust)
            width[rows] = critical(tests, self.level, self.adjust) * error[rows]
        limits = self._limits(estimate, width)
        if self.transformed:
            link, sigma = self.link, self.sigma
            assert link is not None
            estimate, slope = on_response(link, estimate, sigma)
            ends = [limit_on_response(link, limit, slope, sigma) for limit in limits]
            limits = np.minimum(*ends), np.maximum(*ends)
            error = np.abs(slope) * error
        columns = (estimate, error, statistic, df, p_value, *limits)
        return dict(zip(NUMBERS, columns, strict=True))

    def _limits(self, estimate: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nothing = np.where(np.isnan(width), np.nan, np.inf)
        below = nothing if self.alternative == "less" else width
        above = nothing if self.alternative == "greater" else width
        return estimate - below, estimate + above

    def _tests(
        self, rows: np.ndarray, statistic: np.ndarray, df: np.ndarray, correlation: np.ndarray
    ) -> Several:
        own = correlation[np.ix_(rows, rows)]
        num_means = self._num_means(len(rows))
        return Several(statistic[rows], df[rows], own, num_means, self.alternative)

    def _num_means(self, size: int) -> int | None:
        """Of which a part's rows are all the pairwise differences, where they are."""
        return round(0.5 * (1.0 + np.sqrt(1.0 + 8.0 * size))) if self.is_pairwise else None

    def all_notes(self) -> tuple[str, ...]:
        """What a reader of the table should know."""
        found = list(self.notes)
        if self.link is not None:
            scale = self.scale or self.link.name
            if self.is_response:
                found.append(
                    f"limits are taken back from the {scale} scale, on which the tests are"
                )
            else:
                found.append(f"on the {scale} scale, not that of the response")
        if self.sigma:
            found.append(f"bias adjustment with a standard deviation of {self.sigma:.4g}")
        if self.alternative != "two-sided":
            found.append(f"one-sided tests and limits: {self.alternative} than zero")
        sizes = sorted({len(rows) for rows in self.parts()})
        if self.adjust != "none" and sizes and sizes[-1] > 1:
            found.append(self._adjusted(sizes))
        if not np.all(self.linear.estimable):
            found.append("NaN where the data do not determine the mean (columns were dropped)")
        return tuple(found)

    def _adjusted(self, sizes: Sequence[int]) -> str:
        size = sizes[-1]
        count = np.zeros(size)
        pairs = self._num_means(size)
        tests = Several(count, count, np.zeros((size, size)), pairs, self.alternative)
        p, limits = (effective(tests, self.adjust, limits=is_limits) for is_limits in (False, True))
        p, limits = _WRITTEN.get(p, p), _WRITTEN.get(limits, limits)
        how = p if p == limits else f"{p}, limits: {limits}"
        return f"p-values and limits of {' or '.join(map(str, sizes))} together: {how}"

    def replace(self, **changes: Any) -> Estimates:
        """The same with other settings."""
        return dataclasses.replace(self, **changes)
