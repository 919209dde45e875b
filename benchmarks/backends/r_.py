"""lme4 and glmmTMB in one long-lived R process; R times each call itself."""

from __future__ import annotations

import abc
import atexit
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.problems import Problem
from benchmarks.protocol import Outcome, Unavailable, Unsupported


class RProcess:
    """Rscript running server.R; one line out, one line back. `peak_mb` reads what R has used."""

    def __init__(self) -> None:
        if shutil.which("Rscript") is None:
            raise Unavailable("Rscript is not on the path")
        self.folder = tempfile.TemporaryDirectory(prefix="benchmark-r-")
        server = Path(__file__).with_name("server.R")
        self.process = subprocess.Popen(
            ["Rscript", "--vanilla", str(server)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self.close)
        self.r, self.blas, self.lme4, self.glmmtmb = self.ask("info")
        self._loaded = ""

    def ask(self, *words: str) -> list[str]:
        """Send one command, skip what packages print, return the fields of the answer."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("\t".join(words) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("@@"):
                return line[2:].rstrip("\n").split("\t")
        raise RuntimeError("the R process ended; its messages are above")

    def use(self, problem: Problem, data: pd.DataFrame) -> None:
        """Make `data` the data frame `d` of the R process; written and read once a problem."""
        if self._loaded == problem.name:
            return
        path = Path(self.folder.name) / f"{problem.name}.csv"
        if not path.exists():
            data.to_csv(path, index=False)
        levels = (
            f"{name}=" + "|".join(str(level) for level in column.cat.categories)
            for name, column in data.items()
            if isinstance(column.dtype, pd.CategoricalDtype)
        )
        self.ask("data", str(path), ";".join(levels))
        self._loaded = problem.name

    def describe(self) -> str:
        """R's version and the BLAS it runs on."""
        return f"{self.r.split(' (')[0]} with {Path(self.blas).parent.name} BLAS"

    def close(self) -> None:
        """End the process and delete its data; twice does no harm."""
        if self.process.poll() is None and self.process.stdin is not None:
            self.process.stdin.close()
            self.process.wait(timeout=30)
        self.folder.cleanup()


@cache
def r_process() -> RProcess:
    """The one R process of this run."""
    return RProcess()


def r_left(problem: Problem) -> str:
    """The response as R writes it: `cbind(successes, failures)` where there are trials."""
    if problem.trials is None:
        return problem.response
    return f"cbind({problem.response}, {problem.trials} - {problem.response})"


def r_reml(problem: Problem) -> str:
    """The `REML` argument."""
    return "TRUE" if problem.method == "reml" else "FALSE"


class _RBackend(abc.ABC):
    name: str
    includes = "formula, design, optimisation, standard errors"
    compiles = False
    exact_only = True

    def __init__(self) -> None:
        self.r = r_process()
        if not self.version():
            raise Unavailable(f"the R package {self.name} is not installed")

    @abc.abstractmethod
    def version(self) -> str:
        """Of the R package; empty where it is not installed."""

    @abc.abstractmethod
    def call(self, problem: Problem) -> str:
        """The fit, in R."""

    def prepare(self, problem: Problem, data: pd.DataFrame) -> Callable[[], Any]:
        text = self.call(problem)

        def fit() -> list[str]:
            self.r.use(problem, data)
            return self.r.ask("fit", self.name, text)

        return fit

    def read(self, result: list[str]) -> Outcome:
        seconds, loglik, status, beta = result
        estimates = tuple(float(b) for b in beta.split(",") if b)
        return Outcome(float(loglik), status, estimates, float(seconds))


class Lme4(_RBackend):
    name = "lme4"

    def version(self) -> str:
        return self.r.lme4

    def call(self, problem: Problem) -> str:
        formula = f"{r_left(problem)} ~ {problem.right}"
        families = {"binomial": "binomial", "poisson": "poisson", "gamma": 'Gamma(link = "log")'}
        if problem.family == "gaussian":
            return f"lmer({formula}, d, REML = {r_reml(problem)})"
        if problem.method == "reml":
            raise Unsupported("REML for gaussian only")
        if problem.family == "nbinom2":
            return f"glmer.nb({formula}, d)"
        if problem.family not in families:
            raise Unsupported(f"no {problem.family} family")
        return f"glmer({formula}, d, family = {families[problem.family]})"

    def note(self, problem: Problem) -> str:
        if problem.family == "gaussian":
            return ""
        if not self.same_criterion(problem):
            return "another criterion (expected weights or a plug-in dispersion): not comparable"
        return "default control: tolPwrss = 1e-7 stops the inner iteration early"

    def same_criterion(self, problem: Problem) -> bool:
        return problem.family not in ("gamma", "nbinom2")


_GLMMTMB_FAMILIES = {
    "gamma": 'Gamma(link = "log")',
    "beta": "beta_family",
    "student_t": "t_family",
    "ordered_beta": "ordbeta",
}  # the others are called there as here


class GlmmTMB(_RBackend):
    name = "glmmTMB"

    def version(self) -> str:
        return self.r.glmmtmb

    def call(self, problem: Problem) -> str:
        if problem.family in ("inverse_gaussian", "lognormal", "skew_normal", "cumulative"):
            raise Unsupported(f"no {problem.family} family in the version measured")
        family = _GLMMTMB_FAMILIES.get(problem.family, problem.family)
        formula = f"{r_left(problem)} ~ {problem.right}"
        return f"glmmTMB({formula}, d, family = {family}, REML = {r_reml(problem)})"

    def note(self, problem: Problem) -> str:
        return ""

    def same_criterion(self, problem: Problem) -> bool:
        return True
