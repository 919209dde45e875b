"""The verb: `glmm(formula, data, family)`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxglmm.control import Control
from jaxglmm.families import AbstractFamily, Cumulative
from jaxglmm.frontend.build import build
from jaxglmm.frontend.fitting import fit as fit_problem
from jaxglmm.frontend.methods import check_method
from jaxglmm.frontend.result import GLMM
from jaxglmm.frontend.start import given_params
from jaxglmm.links import AbstractLink
from jaxglmm.params import Params


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
    priors: Mapping[str, Any] | None = None,
    control: Control = Control(),
    progress: bool | None = None,
) -> GLMM:
    """Fit a generalized linear mixed model by maximum likelihood (Laplace's approximation) or REML.

    g(E[y | b]) = X beta + Z b + offset, b ~ N(0, Sigma(theta)), y | b ~ family.

    Args:
        formula: "y ~ x + (1 + x | g)"; `cbind(successes, failures) ~`, `successes / trials ~`,
            `(x || g)`, `(1 | a:b)`, `offset(log(e))`; the fixed part is formulaic's.
        data: pandas, polars or pyarrow table, or a dict of arrays.
        family: a name ("gaussian", "student_t", "skew_normal", "lognormal", "gamma",
            "inverse_gaussian", "tweedie", "beta", "ordered_beta", "zero_one_beta", "binomial",
            "betabinomial", "poisson", "nbinom1", "nbinom2", "genpois", "compois",
            "truncated_poisson", "truncated_nbinom1", "truncated_nbinom2", "cumulative") or an
            instance of `jaxglmm.families`, such as `StudentT(df=4)`, or one of your own,
            `jaxglmm.families.custom(log_prob, ...)`.
        link: a name, a power, or `jaxglmm.links.Link`; None for the family's default.
        weights: prior weights, a column's name or an array: dispersion phi / w for gaussian, gamma
            and inverse_gaussian; the trials of a binomial proportion; else multipliers of the
            log-density (see `Control.weights`).
        trials: number of trials of a binomial proportion, a column's name or an array.
        offset: added to the linear predictor, a column's name or an array.
        dispersion: one-sided formula, "~ x + (1 | g)", for the logarithm of the first parameter
            that `family_parameters` names: sigma of gaussian, phi of gamma (Var = phi mu^2), size
            of nbinom2, phi (the precision) of beta. "~ 0" leaves a gaussian model no residual
            variance beside its random effects, as in glmmTMB: sigma is fixed at 1.2207e-4 (or
            within 2e-6 and 1e-3 of the spread of the responses).
        zero_inflation: one-sided formula for the logit of a probability of zeros, pi. Laws with
            mass at zero become P(0) = pi + (1 - pi) p(0), (1 - pi) p(y) elsewhere; those without
            (gamma, beta, truncated counts) hurdles, P(0) = pi; of "zero_one_beta" pi is the
            probability of a zero or a one. Random effects of the formulas are
            independent of those of others, unless terms of one group share an id: `(1 | id | g)`
            in each.
        thresholds: of family "cumulative", P(y <= j) = F(threshold_j - eta): "flexible",
            "symmetric" about their middle, or "equidistant".
        method: "laplace": maximum likelihood, random effects integrated out by Laplace's
            approximation (exactly, where the model is linear and normal). "reml": fixed effects are
            integrated out too, under a flat prior: restricted maximum likelihood for the linear
            mixed model (lme4, nlme), its Laplace approximation for all others (glmmTMB's
            REML = TRUE); `log_likelihood` is then the restricted one, which depends on the coding
            of the fixed effects. "approximate_laplace": fixed effects are maximised with the
            random ones for given variances, which is faster and slightly biased (lme4's nAGQ = 0);
            `log_likelihood` is Laplace's at these estimates. Either is about the fixed effects of
            the main formula; those of `dispersion` and `zero_inflation` are estimated with the
            variances (nlme, glmmTMB). "agq": maximum likelihood by adaptive Gauss-Hermite
            quadrature about each group's mode, for one grouping factor with at most three random
            effects: exact as points grow; `log_likelihood` compares with Laplace's. "mpl" and
            "rempl": pseudo-likelihood, maximum and restricted, of gaussian, binomial, poisson,
            gamma and inverse_gaussian (fitglme's MPL and REMPL, SAS GLIMMIX, MASS's glmmPQL):
            linear mixed models for working responses, made anew until they stand still; fast,
            and biased towards zero where responses are binary. `log_likelihood` is that of the
            last working response. `Control(estimate_dispersion=True)` gives binomial and poisson a
            dispersion.
        quadrature_points: for "agq", of each random effect; None for 11. One is Laplace's
            approximation.
        contrasts: "treatment", "sum" or "full", or {column: coding}.
        covariance: {group: structure}, the long way of `diag(1 + x | g)`; or {group: matrix} of
            zeros and ones: the covariances that are zero, and those to be estimated. Groups of
            the formulas `dispersion` and `zero_inflation` by {"disp": {group: structure}} and
            {"zi": {...}}: a group of several formulas has a structure in each.
        matrices: {name: matrix} for `propto(0 + f | g, name)`: symmetric positive definite, a
            data frame labelled by the levels of f, or an array in their order.
        missing: "drop" rows with NaN, inf or None in any used column, or "raise". What `scale`,
            `poly` or `bs` learn is from all rows that have their columns, as in R.
        subset: boolean array or column: rows to keep.
        start: parameters to start from, `Params` or a dict of beta, theta and phi. None for
            moments of the data; where a law with a dispersion then ends at a variance of zero on
            at most 200 rows, or every row is a level of its own, for large random effects too, and
            where counts, successes or categories end at one while most groups have no event, for
            a standard deviation of 1 as well: the highest maximum counts.
        priors: {name: density}, penalties of the log-likelihood: `jaxglmm.priors.Normal(0, 2.5)`
            and its like, or a function that returns log-densities. Names are those of
            `Control.fixed`; "fixed" is every coefficient of the main formula but the intercept,
            "sd" every standard deviation of a random effect, "corr(g)" all correlations of g (for
            `LKJ`). Densities are of the parameters as the tables show them. The estimates maximise
            log-likelihood + log-density; `log_likelihood` is the former alone.
        control: settings of the optimiser, parameters to hold and to share.
        progress: unused by a single fit.

    Returns:
        A `GLMM`. Failure to converge is its `status`, never an exception.

    Raises:
        InputError: input that cannot be fitted: names the column or argument and the remedy.
    """
    del progress
    check_method(method, quadrature_points)
    arguments = {
        "link": link,
        "weights": _own(weights),
        "trials": _own(trials),
        "offset": _own(offset),
        "method": method,
        "quadrature_points": quadrature_points,
        "contrasts": contrasts,
        "covariance": _own_each(covariance),
        "matrices": _own_each(matrices),
        "zero_inflation": zero_inflation,
        "dispersion": dispersion,
        "thresholds": thresholds,
        "missing": missing,
        "subset": _own(subset),
        "priors": dict(priors) if isinstance(priors, Mapping) else priors,
        "control": control,
    }
    problem, labels = build(formula, data, family, **arguments)
    given = None if start is None else given_params("start", start, problem)
    solution = fit_problem(problem, control, given)
    if isinstance(problem.family, Cumulative):
        arguments["thresholds"] = problem.family.thresholds
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
