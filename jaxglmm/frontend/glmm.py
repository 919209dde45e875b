"""The verb: `glmm(formula, data, family)`."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxglmm.control import Control
from jaxglmm.design import METHODS, Problem
from jaxglmm.errors import InputError
from jaxglmm.families import AbstractFamily
from jaxglmm.frontend.build import build
from jaxglmm.frontend.fitting import fit as fit_problem
from jaxglmm.frontend.result import GLMM
from jaxglmm.links import AbstractLink
from jaxglmm.params import Params

_KNOWN = (*METHODS, "agq", "mpl", "rempl")


def glmm(
    formula: str,
    data: Any,
    family: str | AbstractFamily = "gaussian",
    *,
    link: str | float | AbstractLink | None = None,
    weights: Any = None,
    trials: Any = None,
    offset: Any = None,
    zero_inflation: str | None = None,
    dispersion: str | None = None,
    thresholds: str = "flexible",
    method: str = "laplace",
    quadrature_points: int | None = None,
    contrasts: str | Mapping[str, str] = "treatment",
    covariance: Mapping[str, Any] | None = None,
    matrices: Mapping[str, Any] | None = None,
    missing: str = "drop",
    subset: Any = None,
    start: Params | Mapping[str, Any] | None = None,
    control: Control = Control(),
    progress: bool | None = None,
) -> GLMM:
    """Fit a generalized linear mixed model by maximum likelihood (Laplace's approximation) or REML.

    g(E[y | b]) = X beta + Z b + offset, b ~ N(0, Sigma(theta)), y | b ~ family.

    Args:
        formula: "y ~ x + (1 + x | g)"; `cbind(successes, failures) ~`, `successes / trials ~`,
            `(x || g)`, `(1 | a:b)`, `offset(log(e))`; the fixed part is formulaic's.
        data: pandas, polars or pyarrow table, or a dict of arrays.
        family: a name ("gaussian", "binomial", "poisson", "gamma", "inverse_gaussian", "nbinom2",
            "beta") or an instance of `jaxglmm.families`.
        link: a name, a power, or `jaxglmm.links.Link`; None for the family's default.
        weights: prior weights, a column's name or an array: dispersion phi / w for gaussian, gamma
            and inverse_gaussian; the trials of a binomial proportion; else multipliers of the
            log-density (see `Control.weights`).
        trials: number of trials of a binomial proportion, a column's name or an array.
        offset: added to the linear predictor, a column's name or an array.
        dispersion: "~ 0" leaves a gaussian model no residual variance beside its random effects,
            as in glmmTMB: sigma is fixed at 1.2207e-4 (or within 2e-6 and 1e-3 of the spread of
            the responses). Other formulas are not yet supported.
        zero_inflation, thresholds, quadrature_points: reserved; only the defaults are supported
            yet.
        method: "laplace": maximum likelihood, random effects integrated out by Laplace's
            approximation (exactly, where the model is linear and normal). "reml": fixed effects are
            integrated out too, under a flat prior: restricted maximum likelihood for the linear
            mixed model (lme4, nlme), its Laplace approximation for all others (glmmTMB's
            REML = TRUE); `log_likelihood` is then the restricted one, which depends on the coding
            of the fixed effects. "approximate_laplace": fixed effects are maximised with the
            random ones for given variances, which is faster and slightly biased (lme4's nAGQ = 0);
            `log_likelihood` is Laplace's at these estimates. "agq", "mpl" and "rempl" are not yet
            supported.
        contrasts: "treatment", "sum" or "full", or {column: coding}.
        covariance: {group: structure}, the long way of `diag(1 + x | g)`; or {group: matrix} of
            zeros and ones: the covariances that are zero, and those to be estimated.
        matrices: {name: matrix} for `propto(0 + f | g, name)`: symmetric positive definite, a
            data frame labelled by the levels of f, or an array in their order.
        missing: "drop" rows with NaN, inf or None in any used column, or "raise".
        subset: boolean array or column: rows to keep.
        start: parameters to start from, `Params` or a dict of beta, theta and phi.
        control: settings of the optimiser.
        progress: unused by a single fit.

    Returns:
        A `GLMM`. Failure to converge is its `status`, never an exception.

    Raises:
        InputError: input that cannot be fitted: names the column or argument and the remedy.
    """
    del progress
    _check_supported(method, zero_inflation, thresholds, quadrature_points)
    arguments = {
        "link": link,
        "weights": _own(weights),
        "trials": _own(trials),
        "offset": _own(offset),
        "method": method,
        "contrasts": contrasts,
        "covariance": _own_each(covariance),
        "matrices": _own_each(matrices),
        "dispersion": dispersion,
        "missing": missing,
        "subset": _own(subset),
        "control": control,
    }
    problem, labels = build(formula, data, family, **arguments)
    given = None if start is None else _start(start, problem)
    solution = fit_problem(problem, control, given)
    return GLMM(
        formula=formula, problem=problem, labels=labels, solution=solution, arguments=arguments
    )


def _own(argument: Any) -> Any:
    """A copy of an array: what the caller does to it later must not reach the fit."""
    return argument if argument is None or isinstance(argument, str) else np.array(argument)


def _own_each(given: Any) -> Any:
    """The same for the arrays and data frames of a dict."""
    if not isinstance(given, Mapping):
        return given
    return {
        name: value if isinstance(value, str) else copy.deepcopy(value)
        for name, value in given.items()
    }


def _check_supported(
    method: str,
    zero_inflation: str | None,
    thresholds: str,
    quadrature_points: int | None,
) -> None:
    if method not in _KNOWN:
        raise InputError(f"method: '{method}' is not known; known methods: {', '.join(_KNOWN)}.")
    later = {
        f"method='{method}'": method not in METHODS,
        "zero_inflation": zero_inflation is not None,
        "thresholds": thresholds != "flexible",
        "quadrature_points": quadrature_points is not None,
    }
    for argument, used in later.items():
        if used:
            raise InputError(
                f"{argument}: not yet supported; this version fits by method='laplace', 'reml' or "
                "'approximate_laplace', with a constant dispersion and without zero inflation. "
                "Leave the argument out."
            )


def _start(start: Params | Mapping[str, Any], problem: Problem) -> Params:
    if not isinstance(start, (Mapping, Params)):
        raise InputError(
            f"start: expected Params or a dict of beta, theta and phi, got {type(start).__name__}."
        )
    parts = start if isinstance(start, Mapping) else vars(start)
    names = [field for field in inspect.signature(Params).parameters]
    unknown = set(parts) - set(names)
    if unknown or set(names) - set(parts):
        raise InputError(f"start: expected beta, theta and phi, got {', '.join(map(str, parts))}.")
    sizes = {
        "beta": problem.X.shape[1],
        "theta": sum(g.num_theta for g in problem.groupings),
        "phi": problem.family.num_phi,
    }
    arrays = {}
    for name, size in sizes.items():
        try:
            values = np.asarray(parts[name], float)
        except (TypeError, ValueError) as error:
            raise InputError(f"start: {name} must hold numbers ({error}).") from error
        if values.shape != (size,) or not np.all(np.isfinite(values)):
            raise InputError(
                f"start: {name} must hold {size} finite numbers, got {values.tolist()}."
            )
        arrays[name] = values
    return Params(**arrays)
