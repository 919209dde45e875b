"""Bootstraps: the model refitted to responses drawn from the fit, or to drawn groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import (
    LARGEST_NUMBER,
    check_choice,
    check_level,
    check_seed,
    check_whole,
)
from jaxglmm.frontend.draws import in_units, portions
from jaxglmm.frontend.parameters import parameter_names
from jaxglmm.frontend.tables import every_parameter
from jaxglmm.frontend.working import is_linear
from jaxglmm.inference import resampling
from jaxglmm.pattern import Nested, find_nesting

if TYPE_CHECKING:
    import pandas as pd

    from jaxglmm.frontend.batch import Batch
    from jaxglmm.frontend.result import GLMM

KINDS = ("parametric", "cluster", "wild")
METHODS = ("percentile", "basic", "studentised", "bca")
Statistic = Callable[[dict[str, np.ndarray]], Any]


@dataclass(frozen=True, eq=False, repr=False)
class Bootstrap:
    """Estimates from data drawn like the data.

    Attributes:
        fit: what was drawn from.
        kind: "parametric", "cluster" or "wild".
        names: of the parameters, as `Control.fixed` calls them, or of the entries of a statistic.
        estimates: those of the fit; (param,).
        std_errors: and their standard errors by the Hessian, NaN for a statistic of the caller's.
        replicates: (draw, param); NaN where a fit failed.
        errors: standard errors of the replicates, (draw, param).
        counts: how many draws were attempted, converged, ended on the boundary, failed.
        statistic: the caller's, None for the parameters themselves.
    """

    fit: GLMM
    kind: str
    names: tuple[str, ...]
    estimates: np.ndarray
    std_errors: np.ndarray
    replicates: np.ndarray
    errors: np.ndarray
    counts: dict[str, int]
    statistic: Statistic | None

    def confint(self, level: float = 0.95, method: str = "percentile") -> pd.DataFrame:
        """Limits for every parameter.

        Args:
            level: of the limits.
            method: "percentile" (quantiles of the replicates: of B of them the p-quantile is that
                numbered (B + 1) p, interpolated), "basic" (2 estimate - the opposite
                quantile), "studentised" (quantiles of the replicates in their own standard errors)
                or "bca" (percentiles corrected for bias and acceleration; refits the model without
                each level of its first grouping factor, of kind="cluster" the outermost, or each
                row).

        Returns:
            Columns `parameter`, `estimate`, `bias` (mean replicate - estimate), `std_error`
            (standard deviation of the replicates), `conf_low`, `conf_high`, `num_draws` (draws that
            were fitted: those that failed are in no figure; see `counts`).
        """
        import pandas as pd

        check_choice("method", method, METHODS)
        level = check_level(level)
        low, high = self._limits(level, method)
        about = resampling.spread(self.estimates, self.replicates)
        return pd.DataFrame(
            {
                "parameter": list(self.names),
                "estimate": self.estimates,
                "bias": about.bias,
                "std_error": about.std_error,
                "conf_low": low,
                "conf_high": high,
                "num_draws": about.count,
            }
        )

    def _limits(self, level: float, method: str) -> resampling.Limits:
        if method == "percentile":
            return resampling.percentile(self.replicates, level)
        if method == "basic":
            return resampling.basic(self.estimates, self.replicates, level)
        if method == "bca":
            left_out = _left_out(self.fit, self.statistic, -1 if self.kind == "cluster" else 0)
            return resampling.accelerated(self.estimates, self.replicates, left_out, level)
        if self.statistic is not None:
            raise InputError(
                "method='studentised' needs the standard error of every replicate, which a "
                "statistic does not have. Use 'percentile', 'basic' or 'bca'."
            )
        return resampling.studentised(
            self.estimates, self.std_errors, self.replicates, self.errors, level
        )

    def __repr__(self) -> str:
        c = self.counts
        return (
            f"<Bootstrap ({self.kind}) of {self.fit.formula!r}: {c['attempted']} draws, "
            f"{c['converged']} converged, {c['boundary']} on the boundary, {c['failed']} failed>"
        )


def bootstrap(
    fit: GLMM,
    num_draws: int,
    seed: int,
    kind: str,
    statistic: Statistic | None,
    progress: bool | None,
) -> Bootstrap:
    """Draw, refit, collect."""
    check_choice("kind", kind, KINDS)
    check_whole("num_draws", num_draws, 2, LARGEST_NUMBER)
    check_seed(seed)
    names, estimates, own = _named(fit, statistic)
    found, errors, counts = [], [], dict[str, int]()
    for batch in _batches(fit, num_draws, seed, kind, progress):
        values, error, count = _of_batch(batch, statistic)
        found.append(values)
        errors.append(error)
        counts = {key: counts.get(key, 0) + number for key, number in count.items()}
    return Bootstrap(
        fit=fit,
        kind=kind,
        names=names,
        estimates=estimates,
        std_errors=own,
        replicates=np.concatenate(found),
        errors=np.concatenate(errors),
        counts=counts,
        statistic=statistic,
    )


def _batches(
    fit: GLMM, num_draws: int, seed: int, kind: str, progress: bool | None
) -> Iterator[Batch]:
    """The refits, in blocks."""
    if kind == "cluster":
        from jaxglmm.frontend.many.resample import refit_draws

        nesting, number = _nesting(fit)
        yield refit_draws(
            fit,
            nesting,
            lambda first, count: resampling.drawn(number, seed, range(first, first + count)),
            num_draws,
            progress,
        )
        return
    draw = _parametric(fit, seed) if kind == "parametric" else _wild(fit, seed)
    for first, count in portions(num_draws, fit.problem.num_obs):
        yield fit.refit_many(draw(first, count), progress=progress)


def _nesting(fit: GLMM) -> tuple[Nested | None, int]:
    """How the grouping factors lie in each other, and how many levels the outermost has, or rows
    there are."""
    groupings = fit.problem.groupings
    if len(groupings) < 2:
        return None, groupings[0].num_levels if groupings else fit.problem.num_obs
    num_levels = [g.num_levels for g in groupings]
    nesting = find_nesting([np.asarray(g.codes) for g in groupings], num_levels)
    if nesting is None:
        raise InputError(
            "kind='cluster' draws whole levels of the outermost grouping factor, but "
            f"{', '.join(fit.labels.groups)} are crossed: a level of one has no rows of its own. "
            "Use kind='parametric'."
        )
    return nesting, num_levels[-1]


def _parametric(fit: GLMM, seed: int) -> Callable[[int, int], np.ndarray]:
    return lambda first, count: fit.simulate(count, seed, first=first)


def _wild(fit: GLMM, seed: int) -> Callable[[int, int], np.ndarray]:
    """Of the outermost grouping factor, or of single rows."""
    problem = fit.problem
    if not is_linear(fit.family):
        raise InputError(
            "kind='wild' is for the normal law with identity link: the residuals of other laws "
            "depend on their means. Use kind='parametric'."
        )
    groupings = problem.groupings
    codes = groupings[-1].codes if groupings else np.arange(problem.num_obs)
    if any(resampling.splits(g.codes, codes) for g in groupings):
        raise InputError(
            "kind='wild' needs groups that are independent, but the grouping factors "
            f"{', '.join(fit.labels.groups)} are crossed. Use kind='parametric'."
        )
    known = fit.fitted("population"), np.asarray(problem.y), codes, seed
    return lambda first, count: resampling.wild_responses(*known, range(first, first + count))


def _named(
    fit: GLMM, statistic: Statistic | None
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Names, estimates and standard errors of the fit itself."""
    values, errors = every_parameter(fit, "estimate", "std_error")
    if statistic is None:
        return tuple(parameter_names(fit.data, fit.problem)), values[0], errors[0]
    made = _applied(statistic, fit, values)[0]
    names = tuple(f"statistic[{k}]" for k in range(len(made)))
    return names, made, np.full(len(made), np.nan)


def _of_batch(
    batch: Batch, statistic: Statistic | None
) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """Replicates and their standard errors, NaN where a fit failed, and the counts.

    A fit whose fixed effects cannot all be told apart (a drawn table may lack a category) is no
    estimate of them: it counts as failed.
    """
    found, errors = every_parameter(batch, "estimate", "std_error")
    if statistic is not None:
        found = _applied(statistic, batch, found)
        errors = np.full_like(found, np.nan)
    lost, counts = batch.converged & batch.unknown, batch.counts()
    counts["converged"] -= int(np.sum(lost))
    counts["failed"] += int(np.sum(lost))
    failed = (lost | ~batch.converged)[:, None]
    return np.where(failed, np.nan, found), np.where(failed, np.nan, errors), counts


def _applied(statistic: Statistic, fitted: GLMM | Batch, values: np.ndarray) -> np.ndarray:
    """The statistic of parameters (model, param); (model, k)."""
    names, number = parameter_names(fitted.data, fitted.problem), len(values)
    try:
        found = np.asarray(statistic(dict(zip(names, values.T, strict=True))), float)
    except KeyError as error:
        raise InputError(
            f"statistic: there is no parameter {error}. They are {', '.join(names)}."
        ) from error
    if found.ndim not in (1, 2) or found.shape[0] != number:
        raise InputError(
            f"statistic: of {number} models it gave an array of shape {found.shape}, but must give "
            f"one number for each, ({number},), or some, ({number}, k)."
        )
    return found[:, None] if found.ndim == 1 else found


def _left_out(fit: GLMM, statistic: Statistic | None, factor: int = 0) -> np.ndarray:
    """The estimates without each level of a grouping factor, or each row; (unit, param)."""
    problem = fit.problem
    codes = problem.groupings[factor].codes if problem.groupings else np.arange(problem.num_obs)
    y = in_units(np.asarray(problem.y, float), fit.data)
    missing: Any = np.nan if y.dtype.kind == "f" else None
    Y = np.where(resampling.units_of(codes), missing, y)
    return _of_batch(fit.refit_many(Y, progress=False), statistic)[0]
