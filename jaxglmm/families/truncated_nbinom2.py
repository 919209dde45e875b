"""The negative binomial law with quadratic variance, given that there is something to count."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.families.base import BOUNDARY, INTERIOR
from jaxglmm.families.nbinom2 import NegativeBinomial2
from jaxglmm.families.sampling import some_poisson_of_gamma
from jaxglmm.families.truncated import AbstractTruncated, excess
from jaxglmm.special import log_softplus


@dataclasses.dataclass(frozen=True)
class TruncatedNegativeBinomial2(AbstractTruncated, NegativeBinomial2):
    """`NegativeBinomial2` given y > 0; mu is the mean of the untruncated law.

    log P(0) = -size log1p(mu / size).
    """

    name = "truncated_nbinom2"

    def _log_rate(self, log_mean: Array, phi: Array) -> Array:
        return phi[0] + log_softplus(log_mean - phi[0])

    def sample(self, key: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        log_ratio = self.link.log_mean(eta) - phi[0]
        return some_poisson_of_gamma(key, jnp.exp(phi[0]), log_ratio)

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        del weight
        size = jnp.sum(multiplier * mu * mu) / jnp.maximum(excess(y, mu, multiplier), 1e-10)
        return jnp.log(jnp.clip(size, 0.1, 100.0))[None]

    def limit(self, phi: Array, start: Array) -> Array:
        """At size = 1e7 the law is Poisson's, at 1e-7 the logarithmic one, to within rounding."""
        del start
        return jnp.where(jnp.abs(phi[0]) > jnp.log(1e7), BOUNDARY, INTERIOR)
