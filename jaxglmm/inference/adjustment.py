"""Tests and intervals of several functions at once: adjusted p-values and critical values."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from jaxglmm.inference.quantiles import f_tail, p_value, scheffe, t_quantile, t_tail
from jaxglmm.inference.simultaneous import crossing, largest_of

_STEPWISE = ("holm", "hochberg", "bh", "by")  # for p-values alone
_TWO_SIDED = ("tukey", "dunnett", "scheffe")  # laws of sizes alone
METHODS = (
    "none",
    "tukey",
    "sidak",
    "bonferroni",
    *_STEPWISE,
    "mvt",
    "dunnett",
    "scheffe",
)


class Several(NamedTuple):
    """Functions that are tested together.

    Attributes:
        statistic: estimate over standard error, NaN for those that have none; shape (function,).
        df: shape (function,).
        correlation: of the estimates; shape (function, function).
        num_means: where they are all differences of this many means, else None.
        alternative: "two-sided", "less" or "greater" than zero, of all of them.
    """

    statistic: np.ndarray
    df: np.ndarray
    correlation: np.ndarray
    num_means: int | None = None
    alternative: str = "two-sided"

    @property
    def one_sided(self) -> bool:
        return self.alternative != "two-sided"


def effective(tests: Several, method: str, *, limits: bool = False) -> str:
    """The method that is used: none for a single function, Sidak's instead of Tukey's where they
    are no differences of pairs, Bonferroni's limits for stepwise p-values, multivariate t
    one-sided where there is no other: exact, where Tukey's, Dunnett's and Scheffe's are of sizes
    alone."""
    if len(tests.statistic) < 2:
        return "none"
    if tests.one_sided and method in _TWO_SIDED:
        return "mvt"
    if method == "tukey" and tests.num_means is None:
        return "sidak"
    return "bonferroni" if limits and method in _STEPWISE else method


def p_values(tests: Several, method: str) -> np.ndarray:
    """Adjusted; (function,), NaN where there is no statistic.

    "tukey": studentized range (Tukey; Kramer 1956, Biometrics 12:307-310, for unequal errors);
    "sidak", "bonferroni": of their number; "holm" (1979, Scand. J. Statist. 6:65-70), "hochberg"
    (1988, Biometrika 75:800-802), "bh" (Benjamini & Hochberg 1995, JRSS B 57:289-300) and "by"
    (Benjamini & Yekutieli 2001, Ann. Statist. 29:1165-1188): stepwise; "mvt": P(max |T| > |t|),
    one-sided P(max T > t), single-step by the functions' own correlation (Hothorn, Bretz &
    Westfall 2008, Biom. J. 50:346-363); "dunnett": emmeans' mixture of the ranges' and Sidak's,
    close to Dunnett's for differences from a control; "scheffe": F of the functions' rank (1953,
    Biometrika 40:87-104).
    """
    found = np.full(len(tests.statistic), np.nan)
    known = np.isfinite(tests.statistic)
    own = tests._replace(
        statistic=_ahead(tests)[known],
        df=tests.df[known],
        correlation=tests.correlation[np.ix_(known, known)],
    )
    if known.any():
        found[known] = _P_VALUES[effective(tests, method)](own, len(known))
    return found


def _ahead(tests: Several) -> np.ndarray:
    """Statistics, large where they speak for the alternative."""
    t = tests.statistic
    return {"two-sided": np.abs(t), "less": -t, "greater": t}[tests.alternative]


def critical(tests: Several, level: float, method: str) -> np.ndarray:
    """c of the simultaneous limits estimate -+ c se, or of the one limit of a one-sided
    alternative; (function,). Methods as in `p_values`."""
    quantile = _quantile(tests, level, effective(tests, method, limits=True))
    found = np.full(len(tests.df), np.nan)
    for df in np.unique(tests.df[~np.isnan(tests.df)]).tolist():
        found[tests.df == df] = quantile(df)
    return found


def _quantile(tests: Several, level: float, method: str) -> Callable[[float], float]:
    """The critical value by its degrees of freedom."""
    alpha, number = 1.0 - level, len(tests.df)
    known = np.isfinite(np.diagonal(tests.correlation))
    correlation = tests.correlation[np.ix_(known, known)]
    if method == "tukey" and tests.num_means is not None:
        return partial(_range_quantile, level, tests.num_means)
    if method == "dunnett":
        return partial(_dunnett_quantile, level, number)
    if method == "scheffe":
        return partial(scheffe, level, _rank(correlation))
    if method == "mvt":
        return partial(largest_of(correlation, one_sided=tests.one_sided).quantile, level)
    tails = {"sidak": -float(np.expm1(np.log(level) / number)), "bonferroni": alpha / number}
    tail = tails.get(method, alpha) * (1.0 if tests.one_sided else 0.5)
    return lambda df: float(t_quantile(tail, df))


def _unadjusted(tests: Several) -> np.ndarray:
    return p_value(tests.statistic, tests.df, "greater" if tests.one_sided else "two-sided")


def _none(tests: Several, number: int) -> np.ndarray:
    del number
    return _unadjusted(tests)


def _sidak(tests: Several, number: int) -> np.ndarray:
    return _sidak_of(_unadjusted(tests), number)


def _sidak_of(p: np.ndarray, number: int) -> np.ndarray:
    """1 - (1 - p)^number, of small p too."""
    with np.errstate(divide="ignore"):  # p = 1
        return -np.expm1(number * np.log1p(-np.minimum(p, 1.0)))


def _bonferroni(tests: Several, number: int) -> np.ndarray:
    del number
    return np.minimum(1.0, len(tests.statistic) * _unadjusted(tests))


def _holm(tests: Several, number: int) -> np.ndarray:
    del number
    return _stepwise(_unadjusted(tests), ascending=True)


def _hochberg(tests: Several, number: int) -> np.ndarray:
    del number
    return _stepwise(_unadjusted(tests), ascending=False)


def _stepwise(p: np.ndarray, *, ascending: bool) -> np.ndarray:
    """(n - rank + 1) p, made monotone from the smallest on (Holm) or from the largest."""
    order = np.argsort(p)
    scaled = np.arange(len(p), 0, -1) * p[order]
    if ascending:
        steps = np.maximum.accumulate(scaled)
    else:
        steps = np.minimum.accumulate(scaled[::-1])[::-1]
    found = np.empty_like(p)
    found[order] = np.minimum(steps, 1.0)
    return found


def _false_discoveries(which: str) -> Callable[[Several, int], np.ndarray]:
    def adjust(tests: Several, number: int) -> np.ndarray:
        del number
        from scipy import stats

        return stats.false_discovery_control(np.minimum(_unadjusted(tests), 1.0), method=which)

    return adjust


def _tukey(tests: Several, number: int) -> np.ndarray:
    del number
    assert tests.num_means is not None
    return _range_tail(tests.statistic, tests.num_means, tests.df)


def _dunnett(tests: Several, number: int) -> np.ndarray:
    return _dunnett_tail(tests.statistic, number, tests.df)


def _scheffe(tests: Several, number: int) -> np.ndarray:
    del number
    return f_tail(tests.statistic**2, _rank(tests.correlation), tests.df)


def _mvt(tests: Several, number: int) -> np.ndarray:
    del number
    law = largest_of(tests.correlation, one_sided=tests.one_sided)
    pairs = zip(tests.statistic.tolist(), tests.df.tolist(), strict=True)
    return np.array([law.tail(t, df) for t, df in pairs])


_P_VALUES: dict[str, Callable[[Several, int], np.ndarray]] = {
    "none": _none,
    "tukey": _tukey,
    "sidak": _sidak,
    "bonferroni": _bonferroni,
    "holm": _holm,
    "hochberg": _hochberg,
    "bh": _false_discoveries("bh"),
    "by": _false_discoveries("by"),
    "mvt": _mvt,
    "dunnett": _dunnett,
    "scheffe": _scheffe,
}


def _range_tail(t: np.ndarray, means: float, df: np.ndarray) -> np.ndarray:
    """P(studentized range of `means` normals > sqrt(2) t)."""
    from scipy import stats

    return np.asarray(stats.studentized_range.sf(np.sqrt(2.0) * t, means, df))


def _range_quantile(level: float, means: float, df: float) -> float:
    from scipy import stats

    return float(stats.studentized_range.ppf(level, means, df)) / np.sqrt(2.0)


def _dunnett_tail(t: np.ndarray, number: int, df: np.ndarray) -> np.ndarray:
    """(k - 1) / k of the tail of the range of so many means as have k differences, 1 / k of
    Sidak's, k = number."""
    means = 0.5 * (1.0 + np.sqrt(1.0 + 8.0 * number))
    sidak = _sidak_of(2.0 * t_tail(t, df), number)
    return (1.0 - 1.0 / number) * _range_tail(t, means, df) + sidak / number


def _dunnett_quantile(level: float, number: int, df: float) -> float:
    alpha = 1.0 - level
    low, high = (float(t_quantile(0.5 * alpha / m, df)) for m in (1, number))

    def apart(c: float) -> float:
        return float(_dunnett_tail(np.asarray(c), number, np.asarray(df))) - alpha

    # The mixture may lie above Bonferroni's; its range's part is at most that of all pairs.
    return crossing(apart, low, 2.0 * high)


def _rank(correlation: np.ndarray) -> int:
    return int(np.linalg.matrix_rank(correlation, tol=1e-7, hermitian=True))
