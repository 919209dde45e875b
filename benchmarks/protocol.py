"""What a backend is, and the row that a measurement becomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:  # NumPy starts after `machine.limit_threads`
    import pandas as pd

    from benchmarks.problems import Problem


class Unsupported(Exception):
    """This backend has no such family or term: becomes a row with status `unsupported`."""


class NotApplicable(Exception):
    """This backend is a variant that says nothing new on this problem: no row."""


class Unavailable(Exception):
    """The package, or R, is not installed: the backend is left out of the run."""


class Outcome(NamedTuple):
    """What a fit found. `seconds`: the backend's own clock (R), None where the runner's counts."""

    loglik: float
    status: str
    estimates: tuple[float, ...]
    seconds: float | None = None


class Backend(Protocol):
    """One fitter. `prepare` does what is not timed, its `fit` is timed, `read` is not timed.

    `includes` says what one `fit` covers; `compiles` whether the first call compiles,
    `exact_only` whether it factorises exactly at any size.
    """

    name: str
    includes: str
    compiles: bool
    exact_only: bool

    def version(self) -> str: ...

    def prepare(self, problem: Problem, data: pd.DataFrame) -> Callable[[], Any]: ...

    def read(self, result: Any) -> Outcome: ...

    def note(self, problem: Problem) -> str: ...

    def same_criterion(self, problem: Problem) -> bool:
        """False where the package maximises something else than the Laplace log-likelihood."""
        ...


@dataclass(frozen=True)
class Row:
    """One problem fitted by one backend; seconds, None where there is none.

    n, groups: rows, and levels of all grouping factors together; cold_s: the first fit in the
    running process (imports and data apart); compile_s: cold_s less a warm fit, where the backend
    compiles; warm_s: the median of `repeats` later fits; equal_loglik: within 1e-3 of the problem's
    best log-likelihood, None where the criterion is another one or a random number.
    """

    problem: str
    backend: str
    version: str
    n: int
    groups: int
    cold_s: float | None
    compile_s: float | None
    warm_s: float | None
    warm_min_s: float | None
    repeats: int
    loglik: float | None
    status: str
    equal_loglik: bool | None
    note: str
    estimates: tuple[float, ...] = ()
