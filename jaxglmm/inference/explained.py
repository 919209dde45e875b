"""Shares of a response's variance on the scale of the linear predictor: ICC and R2.

With the variances of the fixed part (f), of the random effects (l) and of the observations (o),

    ICC = l / (l + o),    R2 marginal = f / (f + l + o),    R2 conditional = (f + l) / (f + l + o)

(Nakagawa, Johnson & Schielzeth 2017, J. R. Soc. Interface 14:20170213). Random slopes have the
mean of z' Sigma z over the rows (Johnson 2014, Methods Ecol. Evol. 5:944-946).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

# Variance of the latent variable of which a proportion, or an ordered category, is a cut.
LATENT = {
    "logit": math.pi**2 / 3.0,
    "probit": 1.0,
    "cloglog": math.pi**2 / 6.0,
    "loglog": math.pi**2 / 6.0,
}


class Shares(NamedTuple):
    """adjusted: l / (l + o); unadjusted: l / (f + l + o)."""

    adjusted: np.ndarray
    unadjusted: np.ndarray
    marginal: float
    conditional: float


def shares(fixed: float, random: np.ndarray, observation: float) -> Shares:
    """Of the variances of the fixed part, of the random effects by factor, and of observations.

    ICCs are by factor, with that of all of them last.
    """
    total = float(np.sum(random))
    parts = np.append(random, total)
    whole = fixed + total + observation
    with np.errstate(invalid="ignore", divide="ignore"):
        return Shares(
            adjusted=parts / np.float64(total + observation),
            unadjusted=parts / np.float64(whole),
            marginal=float(np.float64(fixed) / whole),
            conditional=float(np.float64(fixed + total) / whole),
        )


def design_effects(icc: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """1 + (mean group size - 1) ICC: by how much the variance of a mean is larger than that of as
    many independent observations (Kish 1965)."""
    return 1.0 + (sizes - 1.0) * icc


def observation_variance(method: str, mean: float, variance: float, slope: float) -> float:
    """Of a response with this mean and variance, on the scale of its linear predictor.

    Args:
        method: "delta": variance / slope^2; of the logarithmic link also "lognormal":
            log(1 + variance / mean^2), and "trigamma": psi_1(mean^2 / variance) (table 1 of the
            paper above, where variance / mean^2 is 1 / lambda for the Poisson law, 1 / lambda +
            1 / theta for the negative binomial and 1 / nu for the gamma law).
        mean, variance: of the response.
        slope: d mean / d eta.
    """
    if method == "delta":
        return variance / slope**2
    ratio = variance / mean**2
    if method == "lognormal":
        return math.log1p(ratio)
    from scipy import special

    return float(special.polygamma(1, 1.0 / ratio))
