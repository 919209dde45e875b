"""`icc` and `r2` of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.families import Binomial, Cumulative, Gaussian
from jaxglmm.families.quasi import Quasi
from jaxglmm.frontend import fitting
from jaxglmm.frontend.checks import check_choice
from jaxglmm.frontend.prediction_programs import random_covariances
from jaxglmm.frontend.prediction_rows import fitted_rows
from jaxglmm.frontend.working import is_linear
from jaxglmm.inference.explained import LATENT, design_effects, observation_variance, shares
from jaxglmm.links import Log
from jaxglmm.predict.integral import marginal_means, rule_of
from jaxglmm.predict.linear import prior_covariances

if TYPE_CHECKING:
    import pandas as pd

    from jaxglmm.design import Problem
    from jaxglmm.frontend.result import GLMM

METHODS = ("theoretical", "lognormal", "delta", "trigamma")


class Components(NamedTuple):
    """Variances of the linear predictor: of its fixed part and, by factor, of its random one."""

    fixed: float
    random: np.ndarray


def icc(fit: GLMM) -> pd.DataFrame:
    """One row a grouping factor, and one for all of them."""
    import pandas as pd

    reason = _not_defined(fit)
    observation = np.nan if reason else _exact_variance(fit)
    parts = _components(fit)
    found = shares(parts.fixed, parts.random, observation)
    sizes = np.array([fit.num_obs / len(levels) for levels in fit.labels.levels] + [np.nan])
    return pd.DataFrame(
        {
            "group": [*fit.labels.groups, "total"],
            "variance": np.append(parts.random, np.sum(parts.random)),
            "icc_adjusted": found.adjusted,
            "icc_unadjusted": found.unadjusted,
            "group_size": sizes,
            "design_effect": design_effects(found.adjusted, sizes),
            "reason": reason,
        }
    )


def _not_defined(fit: GLMM) -> str:
    """Why the model has no intraclass correlation, a sentence; empty where it has."""
    law, link = fit.family, fit.link.name
    if not fit.problem.groupings:
        return "not defined: the model has no random effects."
    if len(law.components) > 1:
        return (
            "not defined: with a model of the dispersion or of zeros the variance of an "
            "observation differs from row to row."
        )
    if is_linear(law):
        no_residual = bool(law.known) and fit.arguments.get("dispersion") is not None
        return "not defined: the model has no residual variance." if no_residual else ""
    if isinstance(law, Binomial) and link in ("logit", "probit"):
        return ""
    if isinstance(law, Quasi):
        return (
            f"not defined: with a dispersion of its own '{law.name}' has no distribution, and so "
            "no latent variable whose variance is known."
        )
    return (
        f"not defined: the '{law.name}' law with the '{link}' link has no residual variance on the "
        "scale of the random effects. r2() approximates one, and the ICC that follows from it."
    )


def _exact_variance(fit: GLMM) -> float:
    """Of an observation of weight one, on the scale of the linear predictor."""
    if isinstance(fit.family, Gaussian):
        return fit.family_parameters["sigma"] ** 2
    return LATENT[fit.link.name]


def _components(fit: GLMM) -> Components:
    design = fitted_rows(fit).design
    mine = design.feeds == 0
    fixed = design.X[:, mine] @ np.asarray(fit.estimate.params.beta)[mine]
    return Components(
        fixed=float(np.var(fixed, ddof=1)) if len(fixed) > 1 else 0.0,
        random=_random_variances(fit),
    )


def _random_variances(fit: GLMM) -> np.ndarray:
    """Mean of z' Sigma z over the rows, of each grouping factor, for the mean's predictor."""
    design, found = fitted_rows(fit).design, []
    for k, Sigma in enumerate(random_covariances(fit.problem, fit.estimate.params.theta)):
        alone = design._replace(
            Z=design.Z[k : k + 1], columns=design.columns[k : k + 1], codes=design.codes[k : k + 1]
        )
        found.append(float(np.mean(prior_covariances(alone, [Sigma])[0, 0])))
    return np.array(found)


def r2(fit: GLMM, method: str | None, mean: str) -> pd.DataFrame:
    """One row: the shares, and what they were made of."""
    import pandas as pd

    check_choice("mean", mean, ("median", "mean"))
    method = _method(fit, method)
    parts = _components(fit)
    typical = np.nan
    if method in ("residual", "theoretical"):
        observation = _exact_variance(fit)
    else:
        typical, observation = _approximate(fit, method, mean)
    found = shares(parts.fixed, parts.random, observation)
    return pd.DataFrame(
        {
            "r2_marginal": [found.marginal],
            "r2_conditional": found.conditional,
            "icc_adjusted": found.adjusted[-1],
            "icc_unadjusted": found.unadjusted[-1],
            "var_fixed": parts.fixed,
            "var_random": float(np.sum(parts.random)),
            "var_observation": observation,
            "method": method,
            "typical_mean": typical,
        }
    )


def _method(fit: GLMM, method: str | None) -> str:
    """How the variance of an observation is found."""
    law, log = fit.family, isinstance(fit.link, Log)
    if len(law.components) > 1:
        raise InputError(
            "r2: a model of the dispersion or of zeros has no single variance of an observation, "
            "so that R2 is not defined."
        )
    if is_linear(law):
        if method is not None:
            raise InputError(
                f"method='{method}': the residual variance of this model is known; leave it out."
            )
        return "residual"
    latent = isinstance(law, (Binomial, Cumulative)) and fit.link.name in LATENT
    if method is None:
        return "theoretical" if latent else "lognormal" if log else "delta"
    check_choice("method", method, METHODS)
    if method == "theoretical" and not latent:
        raise InputError(
            "method='theoretical' is for binomial and cumulative models with the logit, probit, "
            "cloglog or loglog link; use 'delta'."
        )
    if method in ("lognormal", "trigamma") and not log:
        raise InputError(f"method='{method}' is for the logarithmic link; use 'delta'.")
    if method != "theoretical" and isinstance(law, Cumulative):
        raise InputError("method: an ordinal response has the method 'theoretical' alone.")
    return method


def _approximate(fit: GLMM, method: str, mean: str) -> tuple[float, float]:
    """The typical mean, that of the model without fixed effects but an intercept, and the variance
    of an observation there."""
    null = _null_model(fit.problem)
    solution = fitting.fit(null, fit.arguments["control"], None)
    at = solution.estimate.params
    law = fit.family
    S = np.zeros((1, 1, 1))
    if mean == "mean":
        design = fitted_rows(fit).design
        S[0, 0] = np.mean(prior_covariances(design, random_covariances(null, at.theta))[0, 0])
    with jax.enable_x64(True):
        eta, phi = jax.numpy.asarray(at.beta)[:1], jax.numpy.asarray(fit.estimate.params.phi)
        typical = marginal_means((eta,), rule_of(S), phi, law=law, scale="link").value
        mu, slope = jax.jvp(
            lambda e: law.response_mean(e, phi), (typical,), (jax.numpy.ones_like(typical),)
        )
        variance = law.response_variance(typical, phi, jax.numpy.ones_like(typical))
    value = float(mu[0])
    return value, observation_variance(method, value, float(variance[0]), float(slope[0]))


def _null_model(problem: Problem) -> Problem:
    """The same random effects and offset, with an intercept in place of the fixed effects."""
    return problem.replace(
        X=np.ones((problem.num_obs, 1)), predictors=(0,), restriction=None, prior=None
    )
