"""glmm (PyPI), a Rust engine: as a user calls it, and with the least around its optimiser."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import glmm
import numpy as np
import pandas as pd

from benchmarks.problems import Problem
from benchmarks.protocol import Outcome, Unsupported

_FAMILIES = {
    "gaussian": "gaussian",
    "binomial": "binomial",
    "poisson": "poisson",
    "gamma": "gamma",
    "nbinom2": "negativebinomial",
}


class Glmm:
    """`glmm.fit` on the data frame, with its default standard errors (exact joint Hessian)."""

    name = "glmm"
    includes = "formula, design, optimisation, standard errors and Wald tables"
    compiles = False
    exact_only = True
    wald_se = "hessian"

    def columns(self, data: pd.DataFrame) -> Any:
        """The data in the form that the timed call is given."""
        return data

    def version(self) -> str:
        return version("glmm")

    def prepare(self, problem: Problem, data: pd.DataFrame) -> Callable[[], Any]:
        if problem.family not in _FAMILIES:
            raise Unsupported(f"no {problem.family} family")
        if problem.method == "reml" and problem.family != "gaussian":
            raise Unsupported("REML for gaussian only")
        response, weights = problem.response, None
        if problem.trials is not None:
            weights = data[problem.trials].to_numpy(dtype=np.float64)
            data = data.assign(proportion=data[response] / weights)
            response = "proportion"
        # one link for all backends; what only some backends would compute is left out
        options: dict[str, Any] = {
            "weights": weights,
            "wald_se": self.wald_se,
            "anova_test": "Wald",
            "satterthwaite": False,
        }
        if problem.family == "gamma":
            options["link"] = "log"
        if problem.family == "gaussian":
            options["reml"] = problem.method == "reml"
        columns = self.columns(data)
        formula, family = f"{response} ~ {problem.right}", _FAMILIES[problem.family]

        def fit() -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return glmm.fit(columns, formula, family=family, **options)

        return fit

    def read(self, result: Any) -> Outcome:
        status = "converged" if result.converged else "not converged"
        status += " (singular)" if result.singular else ""
        return Outcome(float(result.loglik), status, tuple(np.asarray(result.beta).tolist()))

    def note(self, problem: Problem) -> str:
        return ""

    def same_criterion(self, problem: Problem) -> bool:
        return True


class GlmmLean(Glmm):
    """`glmm.fit` on a dict of arrays, standard errors given theta: near to its engine alone."""

    name = "glmm-lean"
    includes = "formula, design, optimisation, standard errors given theta; a dict of arrays"
    wald_se = "rx"

    def columns(self, data: pd.DataFrame) -> Any:
        """Numbers as arrays, factors as lists of strings with R's default order of levels."""
        return {
            name: column.astype(str).tolist()
            if isinstance(column.dtype, pd.CategoricalDtype)
            else column.to_numpy()
            for name, column in data.items()
        }
