"""jaxglmm twice: the compiled engine on a built problem, and the call on a data frame."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax
import numpy as np
import pandas as pd

import jaxglmm as jg
from benchmarks.problems import Problem
from benchmarks.protocol import Outcome
from jaxglmm.status import NAMES


def _options(problem: Problem) -> dict[str, Any]:
    """Arguments beyond formula and data."""
    method = {} if problem.method == "laplace" else {"method": problem.method}
    return {"family": problem.family, **method}


class _Jaxglmm:
    compiles = True
    exact_only = False

    def version(self) -> str:
        try:
            return f"{version('jaxglmm')} (jax {jax.__version__})"
        except PackageNotFoundError:  # run from a checkout: the commit is with the rows
            return f"checkout (jax {jax.__version__})"

    def note(self, problem: Problem) -> str:
        return ""

    def same_criterion(self, problem: Problem) -> bool:
        return True


class Engine(_Jaxglmm):
    """`jax.jit(jg.maximise)` on a problem that `jg.build` has made, in float64.

    Compiled as the README says: on CPUs XLA's older code generator takes half the time.
    """

    name = "jaxglmm-engine"
    includes = "optimisation; arrays are built; no standard errors"

    def prepare(self, problem: Problem, data: pd.DataFrame) -> Callable[[], Any]:
        with jax.enable_x64(True):
            built, _ = jg.build(problem.formula, data, **_options(problem))
        on_cpu = jax.default_backend() == "cpu"
        options: dict[str, Any] = {"xla_cpu_use_fusion_emitters": False} if on_cpu else {}
        maximise = jax.jit(jg.maximise, compiler_options=options)

        def fit() -> Any:
            with jax.enable_x64(True):
                return jax.block_until_ready(maximise(built))

        return fit

    def read(self, result: Any) -> Outcome:
        beta = np.asarray(result.params.beta, dtype=np.float64)
        status = NAMES[int(result.status)]
        return Outcome(float(result.log_likelihood), status, tuple(beta.tolist()))


class Call(_Jaxglmm):
    """`jg.glmm(formula, data)` from a pandas frame to a fitted model."""

    name = "jaxglmm"
    includes = "formula, design, optimisation, covariance of the parameters"

    def prepare(self, problem: Problem, data: pd.DataFrame) -> Callable[[], Any]:
        return lambda: jg.glmm(problem.formula, data, progress=False, **_options(problem))

    def read(self, result: Any) -> Outcome:
        estimates = result.fixed_effects()["estimate"].to_numpy(dtype=np.float64)
        return Outcome(float(result.log_likelihood), result.status, tuple(estimates.tolist()))
