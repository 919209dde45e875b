"""A law with two linear predictors: y ~ N(eta_0, exp(2 eta_1)), the seam for dispersion models."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxglmm.covariance import Diagonal, Unstructured
from jaxglmm.design import Grouping, Problem, Term, make_problem
from jaxglmm.families import AbstractFamily
from jaxglmm.links import Identity


@dataclasses.dataclass(frozen=True)
class LocationScale(AbstractFamily):
    """The normal law with a linear predictor for its log standard deviation."""

    link: Any = Identity()

    name = "location_scale"
    support = "real"
    weight_role = "multiplier"
    num_predictors = 2

    def log_kernel(self, y: Any, eta: Any, phi: Any, weight: Any) -> Any:
        mean, log_sd = eta
        return -0.5 * ((y - mean) * jnp.exp(-log_sd)) ** 2 - log_sd

    def log_base(self, y: Any, weight: Any) -> Any:
        return -0.5 * math.log(2 * math.pi) + 0.0 * y

    def initial_mean(self, y: Any, weight: Any) -> Any:
        return y

    def initial_phi(self, y: Any, mu: Any, weight: Any, multiplier: Any) -> Any:
        return jnp.zeros((0,), y.dtype)


def make_location_scale(num_levels: int = 8, size: int = 6, seed: int = 0) -> tuple[Problem, Any]:
    """Intercept and slope in the mean, an intercept in the log deviation, random effects in both.

    Returns the problem and psi = (two slopes, log deviation, L of the mean, L of the deviation).
    """
    rng = np.random.default_rng(seed)
    n = num_levels * size
    codes = np.resize(np.arange(num_levels), n).astype(np.int32)
    x = rng.normal(size=n)
    ones = np.ones(n)
    psi = np.array([0.4, -0.7, -0.3, 0.6, 0.2, 0.4, 0.3])
    L = np.array([[0.6, 0.0], [0.2, 0.4]])
    b = L @ rng.normal(size=(2, num_levels))
    log_sd = psi[2] + 0.3 * rng.normal(size=num_levels)[codes]
    mean = psi[0] + psi[1] * x + b[0, codes] + b[1, codes] * x
    Z = np.column_stack([ones, x, ones])
    terms = (Term(Unstructured(2)), Term(Diagonal(1), predictor=1))
    groups = (Grouping(codes, Z, num_levels, terms),)
    y, X = rng.normal(mean, np.exp(log_sd)), np.column_stack([ones, x, ones])
    return make_problem(y, X, LocationScale(), groups, predictors=(0, 0, 1)), psi
