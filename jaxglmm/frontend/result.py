"""A fitted model: names put back on numbers. Methods delegate; arithmetic lies in the core."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jaxglmm import status as codes
from jaxglmm.ascent import Estimate
from jaxglmm.design import Problem
from jaxglmm.errors import InputError
from jaxglmm.families import AbstractFamily
from jaxglmm.frontend import fitting, tables
from jaxglmm.frontend.build import Labels
from jaxglmm.frontend.fitting import Fitted
from jaxglmm.frontend.model import ModelData
from jaxglmm.frontend.prediction import means, predict
from jaxglmm.inference.natural import Natural
from jaxglmm.links import AbstractLink

if TYPE_CHECKING:
    import pandas as pd

    from jaxglmm.report import Summary

_BOUNDS_SHOWN = 4
Kind = Literal["conditional", "population"]


@dataclass(frozen=True)
class Optimizer:
    """How the optimiser ended.

    `evaluations` of the log-likelihood took `mode_passes` derivative passes of the mode finder;
    `scaled_gradient` is the square root of the log-likelihood that the last Newton step promised,
    `smallest_eigenvalue` that of the negative Hessian scaled to a unit diagonal.
    `monte_carlo_error` is the standard error of the log-likelihood where iterative methods with
    random vectors were used, else zero.
    """

    iterations: int
    evaluations: int
    mode_passes: int
    scaled_gradient: float
    smallest_eigenvalue: float
    monte_carlo_error: float
    compile_seconds: float
    run_seconds: float


@dataclass(frozen=True)
class DataInfo:
    """Which data were used: rows, groups (number of levels), levels and contrasts of factors."""

    response: str
    num_rows: int
    num_used: int
    num_dropped_missing: int
    num_dropped_subset: int
    dropped_columns: tuple[str, ...]
    groups: dict[str, int]
    levels: dict[str, list[Any]]
    contrasts: dict[str, str]


@dataclass(frozen=True, eq=False, repr=False)
class GLMM:
    """A generalized linear mixed model, fitted.

    Attributes:
        formula: as typed.
        problem: the arrays that were fitted (see `jaxglmm.build`).
        labels: their names.
        solution: estimates without names.
        arguments: what else the call was given.
    """

    formula: str
    problem: Problem
    labels: Labels
    solution: Fitted
    arguments: dict[str, Any]

    # ----- numbers -----------------------------------------------------------------------------

    @property
    def method(self) -> str:
        """How it was fitted: "laplace", "reml" or "approximate_laplace"."""
        return self.problem.method

    @property
    def estimate(self) -> Estimate:
        """The core's estimate: unconstrained parameters, modes, Hessian."""
        return self.solution.estimate

    @property
    def data(self) -> ModelData:
        """Arrays and names as the front end made them."""
        return self.labels.data

    @property
    def family(self) -> AbstractFamily:
        """The law."""
        return self.problem.family

    @property
    def link(self) -> AbstractLink:
        """The law's link."""
        return self.problem.family.link

    @property
    def natural(self) -> Natural:
        """Standard deviations, correlations and family parameters with their Jacobian."""
        return self.solution.natural

    @property
    def b(self) -> tuple[np.ndarray, ...]:
        """Conditional modes of the random effects, (column, level) for each grouping factor."""
        return self.solution.b

    @property
    def log_likelihood(self) -> float:
        """Marginal log-likelihood by Laplace's approximation, fully normalised; restricted (beta
        integrated out) under "reml"."""
        return float(self.estimate.log_likelihood)

    @property
    def deviance(self) -> float:
        """-2 log-likelihood."""
        return -2.0 * self.log_likelihood

    @property
    def num_obs(self) -> int:
        """Rows that count: used, with a weight above zero."""
        return int(np.count_nonzero(self.problem.weights))

    @property
    def num_params(self) -> int:
        """Estimated parameters: fixed effects, covariance and family parameters."""
        return int(self.estimate.hessian.shape[0])

    @property
    def df_residual(self) -> int:
        """Rows used minus estimable fixed effects."""
        return self.num_obs - len(self.labels.fixed)

    @property
    def aic(self) -> float:
        """-2 log-likelihood + 2 num_params."""
        return self.deviance + 2.0 * self.num_params

    @property
    def bic(self) -> float:
        """-2 log-likelihood + log(num_obs) num_params."""
        return self.deviance + float(np.log(self.num_obs)) * self.num_params

    @property
    def family_parameters(self) -> dict[str, float]:
        """The law's own parameters on their natural scale."""
        names = self.family.phi_names
        values = np.asarray(self.natural.values)[len(self.natural.values) - len(names) :]
        return {**dict(zip(names, map(float, values), strict=True)), **self.family.known}

    @property
    def joint_covariance(self) -> np.ndarray:
        """Inverse Hessian in (beta, theta, phi); NaN where the likelihood is flat."""
        return self.solution.covariance

    # ----- how it went -------------------------------------------------------------------------

    @property
    def _code(self) -> int:
        """The core's code; columns dropped from X outrank plain convergence."""
        code = int(self.estimate.status)
        plain = code in (codes.CONVERGED, codes.CONVERGED_BOUNDARY)
        return codes.RANK_DEFICIENT if plain and self.labels.dropped else code

    @property
    def status(self) -> str:
        """How the fit ended, one of `jaxglmm.status.NAMES`."""
        return codes.NAMES[self._code]

    @property
    def status_message(self) -> str:
        """A sentence on the status, with what to do."""
        message = codes.MESSAGES[self._code]
        if self._code == codes.CONVERGED_BOUNDARY:
            message += _at_bounds(tables.at_bounds(self))
        if self.labels.dropped:
            message += f" Dropped columns: {', '.join(self.labels.dropped)}."
        return message

    @property
    def converged(self) -> bool:
        """Whether the estimates are a maximum of the likelihood."""
        plain = (codes.CONVERGED, codes.CONVERGED_BOUNDARY, codes.RANK_DEFICIENT)
        return int(self.estimate.status) in plain

    @property
    def is_singular(self) -> bool:
        """Whether a variance is zero or a correlation one in size."""
        return bool(self.estimate.singular)

    @property
    def optimizer(self) -> Optimizer:
        """Iterations, evaluations, scaled gradient, smallest eigenvalue and seconds."""
        e = self.estimate
        return Optimizer(
            iterations=int(e.iterations),
            evaluations=int(e.iterations) + 1,
            mode_passes=int(e.passes),
            scaled_gradient=float(np.sqrt(np.abs(e.decrement))),
            smallest_eigenvalue=float(e.smallest_eigenvalue),
            monte_carlo_error=float(e.monte_carlo_error),
            compile_seconds=self.solution.compile_seconds,
            run_seconds=self.solution.run_seconds,
        )

    @property
    def data_info(self) -> DataInfo:
        """Rows used and dropped, groups, levels and contrasts."""
        d = self.data
        return DataInfo(
            response=d.response_name,
            num_rows=d.num_rows,
            num_used=self.problem.num_obs,
            num_dropped_missing=d.num_dropped_missing,
            num_dropped_subset=d.num_dropped_subset,
            dropped_columns=d.dropped_columns,
            groups={g.name: len(g.levels) for g in d.groupings},
            levels=d.factor_levels,
            contrasts=d.contrasts,
        )

    # ----- tables ------------------------------------------------------------------------------

    def fixed_effects(
        self, level: float = 0.95, df: str = "none", vcov: str = "joint"
    ) -> pd.DataFrame:
        """Fixed effects with Wald tests and limits.

        Args:
            level: of the limits.
            df: "none" (normal) or "residual" (t on num_obs - number of fixed effects).
            vcov: "joint" (Hessian in all parameters) or "conditional" (theta and phi known).
        """
        freedom = {"none": np.inf, "residual": float(self.df_residual)}
        if not isinstance(df, str) or df not in freedom:
            raise InputError(f"df: '{df}' is not supported yet; use 'none' or 'residual'.")
        return tables.fixed_effects(self, _level(level), freedom[df], self._covariance(vcov))

    def covariance_parameters(self, level: float = 0.95) -> pd.DataFrame:
        """Standard deviations, correlations and family parameters with errors and limits."""
        return tables.covariance_parameters(self, _level(level))

    def random_effects(
        self, level: float = 0.95, uncertainty: Literal["conditional", "joint"] = "conditional"
    ) -> pd.DataFrame:
        """Conditional modes of the random effects.

        Args:
            level: of the limits.
            uncertainty: "conditional": parameters taken as known (lme4's condVar); "joint": with
                the uncertainty of all parameters (glmmTMB's).
        """
        if uncertainty not in ("conditional", "joint"):
            raise InputError(
                f"uncertainty: '{uncertainty}' is not known; use 'conditional' or 'joint'."
            )
        variances = self.solution.b_variance
        if uncertainty == "joint" and variances:
            extra = fitting.mode_variances(self.problem, self.estimate, self.joint_covariance)
            variances = tuple(v + e for v, e in zip(variances, extra, strict=True))
        return tables.random_effects(self, _level(level), variances)

    def vcov(self, kind: str = "joint") -> pd.DataFrame:
        """Covariance matrix of the fixed effects, labelled; "joint" or "conditional"."""
        import pandas as pd

        names = list(self.labels.fixed)
        return pd.DataFrame(self._covariance(kind), index=names, columns=names)

    def _covariance(self, kind: str) -> np.ndarray:
        p = len(self.labels.fixed)
        if kind == "joint":
            return self.joint_covariance[:p, :p]
        if kind == "conditional":
            return fitting.conditional_vcov(self.problem, self.estimate)
        raise InputError(f"vcov: '{kind}' is not supported yet; use 'joint' or 'conditional'.")

    def summary(self, level: float = 0.95) -> Summary:
        """The model, its statistics and its tables; prints as text, shows as HTML."""
        from jaxglmm.report import summarise

        return summarise(self, level=_level(level))

    def __repr__(self) -> str:
        return (
            f"<GLMM {self.formula!r}, {self.family.name}({self.link.name}): "
            f"log-likelihood {self.log_likelihood:.4f}, {self.status}>"
        )

    # ----- predictions -------------------------------------------------------------------------

    def fitted(self, kind: Kind = "conditional", scale: str = "response") -> np.ndarray:
        """Means (or linear predictors) of the rows used, in their order."""
        return means(self, kind, scale)

    def predict(
        self,
        newdata: Any = None,
        kind: str = "conditional",
        scale: str = "response",
        *,
        offset: Any = None,
        new_levels: str = "population",
    ) -> np.ndarray:
        """Means or linear predictors.

        Args:
            newdata: table with the columns of the formula; None for the rows used.
            kind: "conditional" on the random effects, or "population" (random effects zero).
            scale: "response" or "link".
            offset: for newdata, when the fit was given an offset= array.
            new_levels: "population" gives unseen levels a random effect of zero, "raise" refuses.

        Returns:
            One number a row of newdata, NaN where a predictor is missing.
        """
        return predict(self, newdata, kind, scale, offset=offset, new_levels=new_levels)

    def save(self, path: str | Path) -> None:
        """Write the fit to one file; `jaxglmm.load` reads it back."""
        from jaxglmm.frontend.storage import save

        save(self, Path(path))


def _at_bounds(found: list[str]) -> str:
    """A sentence that names the parameters, and how many more there are."""
    if not found:
        return ""
    shown = ", ".join(found[:_BOUNDS_SHOWN])
    more = f" and {len(found) - _BOUNDS_SHOWN} more" if len(found) > _BOUNDS_SHOWN else ""
    return f" At its bound: {shown}{more}."


def _level(level: float) -> float:
    if not isinstance(level, numbers.Real) or not 0 < level < 1:
        raise InputError(f"level: {level} is not between 0 and 1; 0.95 gives 95 % limits.")
    return float(level)
