"""The peers of a batch: the same fits one after another, in a process for each core."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import turn
from benchmarks.batches import PROBLEMS, BatchProblem

Result = tuple[float, np.ndarray, np.ndarray]  # seconds, log-likelihoods, fixed effects


@functools.cache
def _loop(peer: str, name: str) -> dict[str, Callable[[np.ndarray], Any]]:
    """In a worker: what `share` made of the first data it was given."""
    del peer, name
    return {}


def _glmm(problem: BatchProblem, data: Any) -> Callable[[np.ndarray], Any]:
    """`glmm.fit` on a dict of arrays, standard errors given theta: the least it does."""
    import glmm

    from benchmarks.backends.glmm_ import _FAMILIES, GlmmLean

    backend = GlmmLean()
    weights = None if problem.trials is None else data[problem.trials].to_numpy(np.float64)
    columns, family = backend.columns(data), _FAMILIES[problem.family]
    options: dict[str, Any] = {"wald_se": "rx", "anova_test": "Wald", "satterthwaite": False}
    if problem.family == "gaussian":
        options["reml"] = False

    def fit(y: np.ndarray) -> Any:
        response = y if weights is None else y / weights
        found = glmm.fit(
            {**columns, "y": response},
            f"y ~ {problem.right}",
            family=family,
            weights=weights,
            **options,
        )
        return float(found.loglik), np.asarray(found.beta)

    return fit


def _gpboost(problem: BatchProblem, data: Any) -> Callable[[np.ndarray], Any]:
    import formulaic
    import gpboost

    fixed = problem.right.split(" + (")[0]
    X = formulaic.model_matrix(fixed, data).to_numpy(np.float64)
    group = next(name for name in data if f"| {name})" in problem.right)
    codes = data[group].cat.codes.to_numpy()
    weights = None if problem.trials is None else data[problem.trials].to_numpy(np.float64)
    likelihood = {"nbinom2": "negative_binomial"}.get(problem.family, "bernoulli_logit")
    likelihood = likelihood if weights is None else "binomial_logit"

    def fit(y: np.ndarray) -> Any:
        model = gpboost.GPModel(
            likelihood=likelihood, group_data=codes, weights=weights, num_parallel_threads=1
        )
        model.fit(y=y if weights is None else y / weights, X=X)
        value = -float(model.get_current_neg_log_likelihood())
        return value, np.ravel(model.get_coef(format_pandas=False))

    return fit


def share(peer: str, name: str, data: Any, Y: np.ndarray) -> Result:
    """In a worker: fit these models; the seconds it took."""
    kept, problem = _loop(peer, name), PROBLEMS[name]
    if "fit" not in kept:
        kept["fit"] = _glmm(problem, data) if peer == "glmm" else _gpboost(problem, data)
        kept["fit"](Y[0])  # warms up
    fit = kept["fit"]
    turn.begin(lambda: fit(Y[0]))
    began = time.perf_counter()
    found = [fit(y) for y in Y]
    seconds = time.perf_counter() - began
    return seconds, np.array([v for v, _ in found]), np.stack([b for _, b in found])


def by_python(pool: Executor, peer: str, name: str, data: Any, Y: np.ndarray, parts: int) -> Result:
    """All models by so many workers at once."""
    jobs = [pool.submit(share, peer, name, data, Y[k::parts]) for k in range(parts)]
    return _joined([job.result() for job in jobs], len(Y), parts)


BY_R = {"lme4-refit": "lme4", "glmmTMB": "glmmTMB"}


def by_r(peer: str, name: str, data: Any, Y: np.ndarray, parts: int) -> Result:
    """`refit` in so many R processes at once; R times its loop."""
    problem = PROBLEMS[name]
    with tempfile.TemporaryDirectory(prefix="benchmark-r-") as folder:
        path = Path(folder)
        data.to_csv(path / "data.csv", index=False)
        left = "y" if problem.trials is None else f"cbind(y, {problem.trials} - y)"
        family = "" if problem.family == "gaussian" else problem.family
        running = []
        for k in range(parts):
            np.savetxt(path / f"y{k}.csv", Y[k::parts], delimiter=",")
            script = str(Path(__file__).parent / "backends" / "refit.R")
            form, package = f"{left} ~ {problem.right}", BY_R[peer]
            words = [str(path), str(k), package, form, family, problem.trials or ""]
            running.append(
                subprocess.Popen(
                    ["Rscript", "--vanilla", script, *words], stdout=subprocess.DEVNULL
                )
            )
        if any(process.wait() for process in running):
            raise RuntimeError("R failed; its messages are above")
        found = [np.loadtxt(path / f"out{k}.csv", delimiter=",", ndmin=2) for k in range(parts)]
    return _joined([(float(f[0, 0]), f[1:, 0], f[1:, 1:]) for f in found], len(Y), parts)


def _joined(found: list[Result], number: int, parts: int) -> Result:
    values, beta = np.empty(number), np.empty((number, found[0][2].shape[1]))
    for k, (_, value, coefficients) in enumerate(found):
        values[k::parts], beta[k::parts] = value, coefficients
    return max(seconds for seconds, _, _ in found), values, beta


def available(peer: str) -> bool:
    """Whether the peer is installed."""
    if peer in BY_R:
        return shutil.which("Rscript") is not None
    return importlib.util.find_spec(peer) is not None
