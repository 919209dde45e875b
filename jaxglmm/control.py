"""Settings of a fit."""

from __future__ import annotations

import dataclasses
from typing import Literal

from jaxglmm.errors import InputError

FACTORISATIONS = ("auto", "crossed", "paired", "iterative")


@dataclasses.dataclass(frozen=True)
class Control:
    """How the optimiser works; hashable, so it is part of a compiled program's key.

    Attributes:
        max_iterations: limit on the steps of the outer optimiser.
        tolerance: a fit has converged when a Newton step promises less than this in
            log-likelihood; None is 1e-7 in double and 1e-4 in single precision. The last steps
            then go on to rounding level.
        weights: "prior" divides the dispersion of gaussian, gamma and inverse_gaussian (lme4, glm,
            fitglme) and multiplies the log-density of the other laws; "likelihood" multiplies the
            log-density of every law (glmmTMB, frequency weights).
        factorisation: how crossed grouping factors are eliminated: "crossed" (dense), "paired"
            (sparse but for the last matrix), "iterative" (random vectors, for very many levels),
            or "auto" for the cheapest one that fits.
        probes: number of random vectors where that is "iterative"; the error of the log-likelihood
            falls with its root.
    """

    max_iterations: int = 300
    tolerance: float | None = None
    weights: Literal["prior", "likelihood"] = "prior"
    factorisation: Literal["auto", "crossed", "paired", "iterative"] = "auto"
    probes: int = 16

    def __post_init__(self) -> None:
        if self.weights not in ("prior", "likelihood"):
            raise InputError(
                f"Control(weights=...): '{self.weights}' is not known; use 'prior' or 'likelihood'."
            )
        if self.factorisation not in FACTORISATIONS:
            known = ", ".join(f"'{name}'" for name in FACTORISATIONS)
            raise InputError(
                f"Control(factorisation=...): {self.factorisation!r} is not known; use {known}."
            )
        if not isinstance(self.probes, int) or self.probes < 2:
            raise InputError("Control(probes=...): a whole number of at least 2 is needed.")
        if not isinstance(self.max_iterations, int) or self.max_iterations < 1:
            raise InputError("Control(max_iterations=...): a whole number of at least 1 is needed.")
        numeric = isinstance(self.tolerance, (int, float))
        if self.tolerance is not None and not (numeric and self.tolerance > 0):
            raise InputError("Control(tolerance=...): a positive number is needed.")
