"""A fitted model: names put back on numbers. Methods delegate; arithmetic lies in the core."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jaxglmm import status as codes
from jaxglmm.ascent import Estimate
from jaxglmm.design import Problem
from jaxglmm.frontend import fitting, tables
from jaxglmm.frontend.accounts import Accounts
from jaxglmm.frontend.accuracy import Accuracy, doubt
from jaxglmm.frontend.build import Labels
from jaxglmm.frontend.checks import check_choice, check_level
from jaxglmm.frontend.coefficients import Coefficients
from jaxglmm.frontend.described import Described
from jaxglmm.frontend.examine import Examine
from jaxglmm.frontend.fitting import Fitted
from jaxglmm.frontend.info import DataInfo, Optimizer
from jaxglmm.frontend.means.verbs import MarginalMeans
from jaxglmm.frontend.predictions import Predictions
from jaxglmm.frontend.redraw import Redraw
from jaxglmm.frontend.remarks import remarks
from jaxglmm.inference.effects import mode_variances
from jaxglmm.inference.natural import Natural
from jaxglmm.inference.vcov import smallest_eigenvalue
from jaxglmm.restriction import HELD

if TYPE_CHECKING:
    import pandas as pd

    from jaxglmm.report import Summary


@dataclass(frozen=True, eq=False, repr=False)
class GLMM(
    Described, Coefficients, Predictions, Accounts, Redraw, Accuracy, MarginalMeans, Examine
):
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
        """How it was fitted: "laplace", "reml", "approximate_laplace", "agq", "mpl" or "rempl"."""
        return self.problem.method

    @property
    def estimate(self) -> Estimate:
        """The core's estimate: unconstrained parameters, modes, Hessian."""
        return self.solution.estimate

    @property
    def natural(self) -> Natural:
        """Standard deviations, correlations and family parameters with their Jacobian."""
        return self.solution.natural

    @property
    def b(self) -> tuple[np.ndarray, ...]:
        """Conditional modes of the random effects, (column, level) for each grouping factor."""
        return self.solution.b

    @functools.cached_property
    def b_variance(self) -> tuple[np.ndarray, ...]:
        """Their variances with all parameters known, in the same shapes."""
        known = self.solution.b_variance
        if known is not None:
            return known
        return fitting.conditional_variances(self.problem, self.estimate)

    @property
    def log_likelihood(self) -> float:
        """Marginal log-likelihood by the fit's method (Laplace's approximation, quadrature), fully
        normalised; restricted (beta integrated out) under "reml". Under "mpl" and "rempl" that of
        the last working response, which compares with no other model's."""
        return float(self.estimate.log_likelihood)

    @property
    def log_prior(self) -> float:
        """Log-density of the priors at the estimates; zero without priors. The estimates maximise
        log_likelihood + log_prior."""
        return 0.0 if self.estimate.log_prior is None else float(self.estimate.log_prior)

    @property
    def deviance(self) -> float:
        """-2 log-likelihood."""
        return -2.0 * self.log_likelihood

    @property
    def num_obs(self) -> int:
        """Rows that count: used, with a weight above zero."""
        return int(np.count_nonzero(self.counted))

    @property
    def num_params(self) -> int:
        """Estimated parameters: fixed effects, covariance and family parameters that are free."""
        return int(self.estimate.hessian.shape[0])

    @property
    def df_residual(self) -> int:
        """Rows used minus estimable fixed effects (of the conditional model), parameters of
        thresholds among them."""
        thresholds = self.family.num_phi if self.family.num_thresholds else 0
        restriction, components = self.problem.restriction, self.labels.components
        free = range(len(components)) if restriction is None else restriction.beta.index
        places = zip(free, components, strict=True)
        estimated = {k for k, component in places if component == "cond" and k != HELD}
        return self.num_obs - len(estimated) - thresholds

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
    def held_covariances(self) -> list[bool]:
        """Which rows of `covariance_parameters` are held."""
        return tables.held_rows(self)

    @property
    def shared(self) -> tuple[tuple[str, ...], ...]:
        """Groups of parameters that are one and the same, by name (`Control.shared`)."""
        return self.labels.shared

    @property
    def joint_covariance(self) -> np.ndarray:
        """Inverse Hessian in (beta, theta, phi); NaN where the likelihood is flat, zero for
        parameters that are held."""
        return self.solution.covariance

    # ----- how it went -------------------------------------------------------------------------

    @property
    def _code(self) -> int:
        """The core's code; columns dropped from X outrank plain convergence."""
        code = int(self.estimate.status)
        plain = code in codes.PLAIN
        return codes.RANK_DEFICIENT if plain and self.labels.dropped else code

    @property
    def status(self) -> str:
        """How the fit ended, one of `jaxglmm.status.NAMES`."""
        return codes.NAMES[self._code]

    @property
    def status_message(self) -> str:
        """A sentence on the status, with what to do."""
        return codes.MESSAGES[self._code] + remarks(self, self._code)

    @property
    def converged(self) -> bool:
        """Whether the estimates are a maximum of the likelihood."""
        return int(self.estimate.status) in codes.ENDED_WELL

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
            smallest_eigenvalue=smallest_eigenvalue(e.hessian),
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

    @property
    def laplace_doubt(self) -> str:
        """Why Laplace's approximation may be poor for such data, a sentence; empty for most.

        By the design alone: binary responses with few rows a group. `check_laplace` measures."""
        return doubt(self)

    # ----- tables ------------------------------------------------------------------------------

    def covariance_parameters(self, level: float = 0.95) -> pd.DataFrame:
        """Standard deviations, correlations and family parameters with errors and limits."""
        return tables.covariance_parameters(self, check_level(level))

    def random_effects(
        self,
        level: float = 0.95,
        uncertainty: Literal["conditional", "cmsep", "joint"] = "conditional",
    ) -> pd.DataFrame:
        """Conditional modes of the random effects; sorted by `rank`, a caterpillar plot's data.

        Args:
            level: of the limits.
            uncertainty: "conditional": parameters taken as known (lme4's condVar); "cmsep": with
                the uncertainty of the fixed effects, variances taken as known (fitglme's: Booth &
                Hobert 1998); "joint": with that of all parameters (glmmTMB's).
        """
        check_choice("uncertainty", uncertainty, ("conditional", "cmsep", "joint"))
        variances = self.b_variance
        if uncertainty != "conditional" and variances:
            extra = mode_variances(self.mode_slopes, self.parameter_covariance(uncertainty))
            variances = tuple(v + e for v, e in zip(variances, extra, strict=True))
        return tables.random_effects(self, check_level(level), variances)

    def summary(self, level: float = 0.95) -> Summary:
        """The model, its statistics and its tables; prints as text, shows as HTML."""
        from jaxglmm.report import summarise

        return summarise(self, level=check_level(level))

    def __repr__(self) -> str:
        return (
            f"<GLMM {self.formula!r}, {self.family.name}({self.link.name}): "
            f"log-likelihood {self.log_likelihood:.4f}, {self.status}>"
        )

    def save(self, path: str | Path) -> None:
        """Write the fit to one file; `jaxglmm.load` reads it back."""
        from jaxglmm.frontend.storage import save

        save(self, Path(path))
