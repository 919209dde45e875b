"""GPBoost (PyPI), C++: a fit is the model's construction and optimisation, no standard errors."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import formulaic
import gpboost
import numpy as np
import pandas as pd

from benchmarks.problems import Problem
from benchmarks.protocol import Outcome, Unsupported

_LIKELIHOODS = {
    "gaussian": "gaussian",
    "poisson": "poisson",
    "gamma": "gamma",
    "nbinom2": "negative_binomial",
    "beta": "beta",
}


class GPBoost:
    name = "gpboost"
    includes = "optimisation; arrays are built; no standard errors"
    compiles = False

    def version(self) -> str:
        return version("gpboost")

    def prepare(self, problem: Problem, data: pd.DataFrame) -> Callable[[], Any]:
        if problem.slope is not None:
            raise Unsupported("random slopes are independent of the intercept here: another model")
        design = formulaic.model_matrix(problem.fixed, data).to_numpy(dtype=np.float64)
        y = data[problem.response].to_numpy(dtype=np.float64)
        weights = None
        if problem.trials is not None:
            weights = data[problem.trials].to_numpy(dtype=np.float64)
            y = y / weights
        likelihood = _LIKELIHOODS.get(problem.family)
        if problem.family == "binomial":
            likelihood = "bernoulli_logit" if weights is None else "binomial_logit"
        groups = pd.factorize(data[problem.group])[0]
        threads = int(os.environ.get("OMP_NUM_THREADS", "1"))

        def fit() -> Any:
            model = gpboost.GPModel(
                likelihood=likelihood,
                group_data=groups,
                weights=weights,
                num_parallel_threads=threads,
            )
            model.fit(y=y, X=design)
            return model

        return fit

    def read(self, result: Any) -> Outcome:
        loglik = -float(result.get_current_neg_log_likelihood())
        coefficients = np.ravel(result.get_coef(format_pandas=False))
        return Outcome(loglik, "finished", tuple(coefficients.tolist()))

    def note(self, problem: Problem) -> str:
        return "default tolerance (relative change 1e-6); it reports no convergence flag"

    def same_criterion(self, problem: Problem) -> bool:
        return True
