"""Many fitted models of one design: stacked numbers, tables with a `model` column."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm import status as codes
from jaxglmm.ascent import Estimate
from jaxglmm.design import Problem
from jaxglmm.errors import InputError
from jaxglmm.frontend import tables
from jaxglmm.frontend.build import Labels
from jaxglmm.frontend.checks import check_level
from jaxglmm.frontend.described import Described
from jaxglmm.inference.natural import Natural
from jaxglmm.params import Params

if TYPE_CHECKING:
    import pandas as pd

    from jaxglmm.frontend.many.design import AbstractFitted
    from jaxglmm.frontend.many.program import Outcome


@dataclass(frozen=True, eq=False, repr=False)
class Batch(Described):
    """Models of one design, or parts of one table, fitted; arrays have a leading axis of models.

    Attributes:
        formula: as typed.
        names: of the models: 0, 1, ..., those of the columns that held their responses, or the
            values of what `by` splits the table by.
        problem: the arrays that all share, its response being that of a model like them; or those
            of the whole table.
        labels: their names.
        fitted: estimates without names.
    """

    formula: str
    names: Sequence[Any]
    problem: Problem
    labels: Labels
    fitted: AbstractFitted

    # ----- numbers -----------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.names)

    @property
    def num_models(self) -> int:
        """Number of models."""
        return len(self.names)

    @property
    def solution(self) -> Outcome:
        """The numbers as they were computed."""
        return self.fitted.outcome

    @property
    def estimate(self) -> Estimate:
        """The core's estimates, stacked; `u` is empty without modes=True."""
        return self.fitted.estimate

    @property
    def joint_covariance(self) -> np.ndarray:
        """Inverse Hessian in (beta, theta, phi) of each model, (model, param, param); NaN where
        the likelihood is flat, zero for parameters that are held."""
        return self.fitted.covariance

    @property
    def params(self) -> Params:
        """Unconstrained parameters of the core: beta, theta and phi, (model, ...) each."""
        return self.estimate.params

    @property
    def coefficients(self) -> np.ndarray:
        """Fixed effects, (model, fixed), in the order of `labels.fixed`."""
        return np.asarray(self.params.beta)

    @property
    def theta(self) -> np.ndarray:
        """Unconstrained covariance parameters, (model, num_theta)."""
        return np.asarray(self.params.theta)

    @property
    def phi(self) -> np.ndarray:
        """Unconstrained parameters of the law, (model, num_phi)."""
        return np.asarray(self.params.phi)

    @property
    def natural(self) -> Natural:
        """Standard deviations, correlations and family parameters with their Jacobians."""
        return self.solution.natural

    @property
    def family_parameters(self) -> dict[str, np.ndarray]:
        """The law's own parameters on their natural scale, (model,) each."""
        names = self.family.phi_names
        values = np.asarray(self.natural.values)
        first = values.shape[1] - len(names)
        own = {name: values[:, first + k] for k, name in enumerate(names)}
        return {**own, **{n: np.full(len(self), v) for n, v in self.family.known.items()}}

    @property
    def log_likelihood(self) -> np.ndarray:
        """Of each model, as `GLMM.log_likelihood`."""
        return np.asarray(self.estimate.log_likelihood)

    @property
    def num_obs(self) -> np.ndarray:
        """Rows that count in each model: observed, with a weight above zero."""
        return self.fitted.num_obs

    @property
    def num_params(self) -> Any:
        """Estimated parameters of a model; (model,) where designs differ."""
        return self.fitted.num_params

    @property
    def aic(self) -> np.ndarray:
        """-2 log-likelihood + 2 num_params."""
        return -2.0 * self.log_likelihood + 2.0 * self.num_params

    @property
    def bic(self) -> np.ndarray:
        """-2 log-likelihood + log(num_obs) num_params."""
        logs = np.log(np.maximum(self.num_obs, 1))
        return -2.0 * self.log_likelihood + logs * self.num_params

    @property
    def b(self) -> tuple[np.ndarray, ...]:
        """Conditional modes of the random effects, (model, column, level) for each factor."""
        if self.solution.b is None:
            raise InputError(
                "The random effects were not kept: fit with modes=True to have those of all models."
            )
        return self.solution.b

    # ----- how it went -------------------------------------------------------------------------

    @functools.cached_property
    def _codes(self) -> np.ndarray:
        """The core's codes; columns dropped from X outrank plain convergence."""
        found = np.asarray(self.estimate.status)
        plain = np.isin(found, codes.PLAIN)
        unknown = bool(self.labels.dropped) | self.fitted.deficient | self.unknown
        found = np.where(plain & unknown, codes.RANK_DEFICIENT, found)
        return np.where(self.num_obs == 0, codes.NONFINITE, found)

    @functools.cached_property
    def unknown(self) -> np.ndarray:
        """Models of which some fixed effect cannot be told: no row that counts tells it."""
        flat = np.asarray(self.estimate.flat)
        if not flat.any():
            return flat
        p = self.coefficients.shape[1]
        variances = np.diagonal(self.joint_covariance, axis1=1, axis2=2)[:, :p]
        return flat & np.isnan(variances).any(axis=1)

    @property
    def status(self) -> np.ndarray:
        """How each fit ended, names of `jaxglmm.status.NAMES`."""
        return np.array(codes.NAMES, object)[self._codes]

    @property
    def converged(self) -> np.ndarray:
        """Which estimates are maxima of their likelihoods."""
        return np.isin(self._codes, codes.ENDED_WELL)

    @property
    def is_singular(self) -> np.ndarray:
        """In which models a variance is zero or a correlation one in size."""
        return np.asarray(self.estimate.singular, bool)

    @property
    def iterations(self) -> np.ndarray:
        """Steps of the optimiser."""
        return np.asarray(self.estimate.iterations)

    @property
    def compile_seconds(self) -> float:
        """What it took to look at the data and to have a program."""
        return self.fitted.compile_seconds

    @property
    def run_seconds(self) -> float:
        """What it took to fit."""
        return self.fitted.run_seconds

    def counts(self) -> dict[str, int]:
        """How many were attempted, converged, converged on the boundary, and failed."""
        boundary = int(np.sum(self._codes == codes.CONVERGED_BOUNDARY))
        well = int(np.sum(self.converged))
        return {
            "attempted": len(self),
            "converged": well - boundary,
            "boundary": boundary,
            "failed": len(self) - well,
        }

    # ----- tables ------------------------------------------------------------------------------

    def fixed_effects(self, level: float = 0.95) -> pd.DataFrame:
        """The table of `GLMM.fixed_effects` for every model, with a first column `model`."""
        p = len(self.labels.fixed)
        covariance = self.joint_covariance[:, :p, :p]
        level = check_level(level)
        return tables.fixed_effects(self, level, np.inf, covariance, models=self.names)

    def covariance_parameters(self, level: float = 0.95) -> pd.DataFrame:
        """The table of `GLMM.covariance_parameters` for every model, with a first column
        `model`."""
        return tables.covariance_parameters(self, check_level(level), self.names)

    def random_effects(self, level: float = 0.95) -> pd.DataFrame:
        """The table of `GLMM.random_effects` for every model; with modes=True only. Errors are NaN
        where they cost as much as the fit."""
        b, variances = self.b, self.solution.b_variance
        if variances is None:
            variances = tuple(np.full_like(of, np.nan) for of in b)
        own = self.fitted.own_levels(self.labels)
        table = tables.random_effects(
            self, check_level(level), variances, self.names, numbered=own is not None
        )
        if own is None:
            return table
        names, present = own
        return table.assign(level=names).loc[present].reset_index(drop=True)

    def __repr__(self) -> str:
        counts = self.counts()
        return (
            f"<Batch of {len(self)} models {self.formula!r}, {self.family.name}"
            f"({self.family.link.name}): {counts['converged']} converged, {counts['boundary']} on "
            f"the boundary, {counts['failed']} failed>"
        )
