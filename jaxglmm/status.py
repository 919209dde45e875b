"""How a fit ended: one code, one word, one sentence."""

from __future__ import annotations

CONVERGED, CONVERGED_BOUNDARY, SEPARATED, RANK_DEFICIENT, MAX_ITERATIONS, NONFINITE = range(6)

PLAIN = (CONVERGED, CONVERGED_BOUNDARY)
ENDED_WELL = (*PLAIN, RANK_DEFICIENT)
"""At a maximum of the likelihood."""

NAMES = (
    "converged",
    "converged_boundary",
    "separated",
    "rank_deficient",
    "max_iterations",
    "nonfinite",
)

MESSAGES = (
    "Converged: the gradient is zero to rounding and the Hessian is positive definite.",
    "Converged on the boundary: a variance is zero, a correlation is one in size, or a parameter "
    "of the family is at its limit. The estimates are the maximum; a simpler model fits as well.",
    "No finite maximum: a combination of the predictors separates the responses, so some "
    "coefficients run to infinity. Drop or merge the predictor, or penalise it (priors=).",
    "Some parameters cannot be told apart: columns of the fixed effects were dropped, or the "
    "likelihood is flat along a combination of parameters.",
    "Not converged: the iteration limit was reached. Centre and rescale the predictors (a random "
    "slope in particular), simplify the random effects, or raise Control(max_iterations=...).",
    "The log-likelihood is not finite or has no upper bound: look for a response without "
    "variation, a perfect fit, or values too large for the link.",
)
