"""How good Laplace's approximation is for a model: compared with quadrature, or judged unseen."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxglmm.ascent.reduction import reduce, reduce_params
from jaxglmm.errors import InputError
from jaxglmm.frontend import programs
from jaxglmm.frontend.methods import check_points, check_quadrature
from jaxglmm.frontend.part import Part
from jaxglmm.frontend.shown import shown_values
from jaxglmm.frontend.tables import every_parameter
from jaxglmm.inference.accuracy import newton_step
from jaxglmm.inference.basis import change_basis
from jaxglmm.params import Params
from jaxglmm.rows import arrange

if TYPE_CHECKING:
    import pandas as pd

    from jaxglmm.frontend.result import GLMM

_POINTS = {1: 25, 2: 15, 3: 9}
"""Points where none are asked for, by the number of random effects."""
_POOR = 0.1
"""Standard errors: a shift that a reader should know of."""
_FEW = 10
"""Binary rows a level below which Laplace's approximation is in doubt."""


@dataclass(frozen=True, eq=False, repr=False)
class LaplaceCheck:
    """Laplace's approximation beside adaptive Gauss-Hermite quadrature.

    Attributes:
        points: of the quadrature, for each random effect.
        laplace: the log-likelihood of the fit.
        log_likelihood: that by quadrature, at the same parameters.
        table: one row a parameter: `parameter`, `estimate`, `std_error` (of the fit), `shift` (of
            one Newton step up the log-likelihood by quadrature) and `shift_in_se`.
    """

    points: int
    laplace: float
    log_likelihood: float
    table: pd.DataFrame

    @property
    def largest_shift(self) -> float:
        """The largest shift, in standard errors."""
        return float(np.nanmax(np.abs(self.table["shift_in_se"]), initial=0.0))

    @property
    def poor(self) -> bool:
        """Whether quadrature would move some estimate by a tenth of its standard error or more, or
        cannot be done at the estimates."""
        known = np.isfinite(self.log_likelihood)
        return not known or self.largest_shift >= _POOR

    def __repr__(self) -> str:
        verdict = (
            "poor: fit by method='agq' with enough quadrature_points"
            if self.poor
            else "good enough"
        )
        return (
            f"Laplace's approximation beside quadrature with {self.points} points\n"
            f"log-likelihood: {self.laplace:.4f} and {self.log_likelihood:.4f}\n\n"
            f"{self.table.to_string(index=False, float_format='{:.4g}'.format)}\n\n"
            f"Largest shift of an estimate: {self.largest_shift:.3g} standard errors: {verdict}."
        )


class Accuracy(Part):
    """How good Laplace's approximation is."""

    def check_laplace(self, points: int | None = None) -> LaplaceCheck:
        """Compare Laplace's approximation with quadrature at the estimates.

        One Newton step up the log-likelihood by adaptive Gauss-Hermite quadrature shows where the
        estimates of `method="agq"` lie, at the price of one evaluation and its Hessian. Laplace's
        approximation errs where a group says little of its random effects and their variance is
        large: binary responses with few rows a group above all.

        Args:
            points: of the quadrature, for each random effect; None for 25, 15 or 9 with one, two
                or three of them.

        Returns:
            A `LaplaceCheck`: `poor`, `largest_shift`, `table` and both log-likelihoods.

        Raises:
            InputError: a fit by another method, several grouping factors or more than three random
                effects, more points than memory allows.
        """
        return check_laplace(self._fit, points)


def check_laplace(fit: GLMM, points: int | None) -> LaplaceCheck:
    """`GLMM.check_laplace`."""
    if fit.method != "laplace":
        raise InputError(
            f"check_laplace: the fit is by method='{fit.method}'. Fit by method='laplace' to "
            "compare its approximation with quadrature."
        )
    problem = fit.problem
    if points is not None:
        check_points("points", points)
    else:
        latent = problem.groupings[0].num_latent if problem.groupings else 1
        points = _POINTS.get(latent, 1)
    check_quadrature(problem.groupings, fit.data, points, "check_laplace", "points")
    value, moved = _step(fit, points)
    before = shown_values(fit.estimate.params, problem, fit.data)
    after = shown_values(moved, problem, fit.data)
    return LaplaceCheck(points, fit.log_likelihood, value, _table(fit, before, after))


def _step(fit: GLMM, points: int) -> tuple[float, Params]:
    """The log-likelihood by quadrature, and parameters a step of Newton's away."""
    whole, estimate = fit.problem, fit.estimate
    problem, basis = change_basis(reduce(whole, xp=np))
    params = reduce_params(whole, estimate.params)
    params = params if basis is None else basis.inward(params)
    params = jax.tree.map(np.asarray, params)
    by_quadrature = problem.replace(method="agq", quadrature_points=points)
    rows = arrange(by_quadrature, xp=np)
    with jax.enable_x64(True):
        nodes = rows.family.num_nodes
        done = programs.run(newton_step, (rows, params, estimate.u), num_nodes=nodes)
    value, moved = jax.tree.map(np.asarray, done.outputs)
    beta = moved.beta if basis is None else basis.T @ (moved.beta + basis.origin)
    if whole.restriction is not None:
        beta = whole.restriction.beta.expand(beta)
    return float(value), dataclasses.replace(moved, beta=beta)


def _table(fit: GLMM, before: dict[str, float], after: dict[str, float]) -> pd.DataFrame:
    import pandas as pd

    std_error = every_parameter(fit, "std_error")[0, 0]
    shift = np.array([after[name] - before[name] for name in before])
    with np.errstate(invalid="ignore", divide="ignore"):
        in_se = np.where(std_error > 0, shift / std_error, np.nan)
    columns: dict[str, Any] = {
        "parameter": list(before),
        "estimate": list(before.values()),
        "std_error": std_error,
        "shift": shift,
        "shift_in_se": in_se,
    }
    return pd.DataFrame(columns)


def doubt(fit: GLMM) -> str:
    """Why Laplace's approximation may be poor, by the design alone; empty where that tells
    nothing."""
    problem = fit.problem
    one_trial = problem.family.name == "binomial" and np.all(np.asarray(problem.trials) <= 1)
    if fit.method not in ("laplace", "approximate_laplace", "reml") or not one_trial:
        return ""
    named = zip(fit.data.groupings, problem.groupings, strict=True)
    sizes = {of.name: np.bincount(g.codes, minlength=g.num_levels) for of, g in named}
    few = {name: float(np.median(size)) for name, size in sizes.items() if np.median(size) < _FEW}
    if not few:
        return ""
    groups = " and ".join(f"{rows:g} of '{name}'" for name, rows in few.items())
    single = len(sizes) == 1 and problem.groupings[0].num_latent in _POINTS
    check = "fit.check_laplace() compares it with quadrature, " if fit.method == "laplace" else ""
    remedy = f"; {check}method='agq' fits by quadrature" if single else ""
    return (
        "Laplace's approximation can be poor for binary responses with few rows a group (the "
        f"median is {groups}){remedy}"
    )
