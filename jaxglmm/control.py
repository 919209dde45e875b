"""Settings of a fit."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, Literal

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
        pl_iterations, pl_tolerance: of "mpl" and "rempl": how often working responses are made
            anew, and the relative change of the linear predictor that ends it (fitglme's
            PLIterations and PLTolerance).
        estimate_dispersion: of "mpl" and "rempl" with binomial or poisson responses: their variance
            times a dispersion phi that is estimated (quasi-likelihood; fitglme's DispersionFlag)
            instead of one.
        staged: begin with pseudo-likelihood and approximate Laplace before the method itself, as
            fitglme does; for models whose direct start leads nowhere.
        fixed: {name: value}: parameters held at a value (glmmTMB's map). Names are those of the
            tables: terms of the fixed effects ("x"; "disp_x" and "zi_x" of the further formulas),
            "sd(g, x)", "corr(g, x, Intercept)", "range(g, x)" and "shape(g, x)" of the random
            effects, thresholds ("1|2") and the family's own ("sigma", "size"); values are on the
            scales shown there.
        shared: groups of names, [("x1", "x2"), ...]: parameters that are one and the same.
    """

    max_iterations: int = 300
    tolerance: float | None = None
    weights: Literal["prior", "likelihood"] = "prior"
    factorisation: Literal["auto", "crossed", "paired", "iterative"] = "auto"
    probes: int = 16
    pl_iterations: int = 100
    pl_tolerance: float = 1e-8
    estimate_dispersion: bool = False
    staged: bool = False
    fixed: Mapping[str, float] | None = dataclasses.field(default=None, hash=False)
    shared: Sequence[Sequence[str]] = dataclasses.field(default=(), hash=False)

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
        if not isinstance(self.pl_iterations, int) or self.pl_iterations < 1:
            raise InputError("Control(pl_iterations=...): a whole number of at least 1 is needed.")
        if not isinstance(self.pl_tolerance, (int, float)) or not self.pl_tolerance > 0:
            raise InputError("Control(pl_tolerance=...): a positive number is needed.")
        numeric = isinstance(self.tolerance, (int, float))
        if self.tolerance is not None and not (numeric and self.tolerance > 0):
            raise InputError("Control(tolerance=...): a positive number is needed.")
        object.__setattr__(self, "fixed", _held(self.fixed))
        object.__setattr__(self, "shared", _groups(self.shared))

    def tolerance_at(self, eps: float) -> float:
        """The tolerance in numbers that are rounded by `eps`."""
        return self.tolerance or max(1e-7, 1e3 * eps)

    @property
    def of_optimiser(self) -> Control:
        """The settings that a compiled program depends on."""
        return dataclasses.replace(self, fixed=None, shared=())


def _held(fixed: Any) -> dict[str, float] | None:
    if not fixed and (fixed is None or isinstance(fixed, Mapping)):
        return None
    if not isinstance(fixed, Mapping):
        raise InputError("Control(fixed=...): a dict of names and values is needed: {'x': 0.5}.")
    for name, value in fixed.items():
        real = isinstance(value, numbers.Real) and not isinstance(value, bool)
        if not (isinstance(name, str) and real and math.isfinite(value)):
            raise InputError(
                f"Control(fixed=...): {name!r}: {value!r} is no name with a finite number."
            )
    return {name: float(value) for name, value in fixed.items()}


def _groups(shared: Any) -> tuple[tuple[str, ...], ...]:
    listed = isinstance(shared, Sequence) and not isinstance(shared, str)
    if listed and all(isinstance(g, Sequence) and not isinstance(g, str) for g in shared):
        groups = tuple(map(tuple, shared))
        if all(len(g) > 1 and all(isinstance(name, str) for name in g) for g in groups):
            return groups
    raise InputError(
        "Control(shared=...): a list of groups of two or more names is needed: [('x1', 'x2')]."
    )
