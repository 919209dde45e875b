"""GPBoost (PyPI), C++: a fit is the model's construction and optimisation, no standard errors.

With several factors its default is iterative (conjugate gradients, stochastic Lanczos quadrature):
the log-likelihood that it reports is then random, so that a row has the exact one at its estimates.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import formulaic
import gpboost
import numpy as np
import pandas as pd

from benchmarks.problems import Problem
from benchmarks.protocol import NotApplicable, Outcome, Unsupported

_LIKELIHOODS = {
    "gaussian": "gaussian",
    "poisson": "poisson",
    "gamma": "gamma",
    "nbinom2": "negative_binomial",
    "beta": "beta",
}


@dataclass(frozen=True)
class _Model:
    """What a fit needs: `y` (a proportion where there are trials), fixed columns, level codes."""

    likelihood: str
    y: np.ndarray
    design: np.ndarray
    codes: np.ndarray
    weights: np.ndarray | None

    def make(self, inversion: str) -> Any:
        return gpboost.GPModel(
            likelihood=self.likelihood,
            group_data=self.codes,
            weights=self.weights,
            matrix_inversion_method=inversion,
            num_parallel_threads=int(os.environ.get("OMP_NUM_THREADS", "1")),
        )

    def exact_loglik(self, fitted: Any) -> float:
        """The log-likelihood by Cholesky factors at the estimates of `fitted`."""
        coefficients = np.ravel(fitted.get_coef(format_pandas=False))
        value = self.make("cholesky").neg_log_likelihood(
            cov_pars=np.ravel(fitted.get_cov_pars(format_pandas=False)),
            y=self.y,
            fixed_effects=self.design @ coefficients,
            aux_pars=fitted.get_aux_pars(format_pandas=False),
        )
        return -float(value)


def _model(problem: Problem, data: pd.DataFrame) -> _Model:
    design = formulaic.model_matrix(problem.fixed, data).to_numpy(dtype=np.float64)
    y = data[problem.response].to_numpy(dtype=np.float64)
    likelihood, weights = _LIKELIHOODS.get(problem.family, ""), None
    if problem.family == "binomial":
        likelihood = "bernoulli_logit" if problem.trials is None else "binomial_logit"
    if problem.trials is not None:
        weights = data[problem.trials].to_numpy(dtype=np.float64)
        y = y / weights
    return _Model(likelihood, y, design, problem.codes(data), weights)


_DEFAULT = 1e-6  # relative change of the log-likelihood at which it stops


class GPBoost:
    """Its defaults."""

    name = "gpboost"
    includes = "optimisation; arrays are built; no standard errors; iterative with several factors"
    compiles = False
    exact_only = False
    inversion = "default"
    tolerance = _DEFAULT

    def version(self) -> str:
        return version("gpboost")

    def prepare(self, problem: Problem, data: pd.DataFrame) -> Callable[[], Any]:
        if len(problem.terms) == 1 and type(self) is not GPBoost:
            raise NotApplicable("the default with one factor")
        if any(term.slope is not None for term in problem.terms):
            raise Unsupported("random slopes are independent of the intercept here: another model")
        if problem.method == "reml":
            raise Unsupported("no REML")
        if problem.family not in (*_LIKELIHOODS, "binomial"):
            raise Unsupported(f"no {problem.family} family")
        model = _model(problem, data)
        random = self.inversion == "default" and len(problem.terms) > 1
        check = model.exact_loglik if random and not problem.iterative else None

        def fit() -> Any:
            fitted = model.make(self.inversion)
            if self.tolerance != _DEFAULT:
                fitted.set_optim_params({"delta_rel_conv": self.tolerance})
            fitted.fit(y=model.y, X=model.design)
            return fitted, check

        return fit

    def read(self, result: Any) -> Outcome:
        fitted, check = result
        loglik = -float(fitted.get_current_neg_log_likelihood()) if check is None else check(fitted)
        coefficients = np.ravel(fitted.get_coef(format_pandas=False))
        return Outcome(loglik, "finished", tuple(coefficients.tolist()))

    def note(self, problem: Problem) -> str:
        word = "default " if self.tolerance == _DEFAULT else ""
        note = f"{word}tolerance (relative change {self.tolerance:g}); no convergence flag"
        if self.inversion != "default" or len(problem.terms) == 1:
            return note
        which = "its own random" if problem.iterative else "the exact"
        return f"{note}; iterative: {which} log-likelihood at its estimates"

    def same_criterion(self, problem: Problem) -> bool:
        return True


class GPBoostCholesky(GPBoost):
    """Cholesky factors where the default is iterative: several factors."""

    name = "gpboost-cholesky"
    includes = "as gpboost, by Cholesky factors; for models with several factors"
    exact_only = True
    inversion = "cholesky"


class GPBoostTight(GPBoost):
    """To the log-likelihood that others end with, where the default stops before it."""

    name = "gpboost-tight"
    includes = "as gpboost, until a relative change of 1e-8; for models with several factors"
    tolerance = 1e-8


class GPBoostCholeskyTight(GPBoostCholesky):
    """Both."""

    name = "gpboost-cholesky-tight"
    includes = "as gpboost-cholesky, until a relative change of 1e-8"
    tolerance = 1e-8
