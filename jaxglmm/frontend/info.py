"""What a fit tells about itself: how the optimiser ended, which data it used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Optimizer:
    """How the optimiser ended.

    `evaluations` of the log-likelihood took `mode_passes` derivative passes of the mode finder;
    `scaled_gradient` is the square root of the log-likelihood that the last Newton step promised,
    `smallest_eigenvalue` that of the negative Hessian scaled to a unit diagonal, zero where the
    responses tell nothing of some parameter.
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
