"""The negative binomial law with linear variance, given that there is something to count."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.families.nbinom1 import NegativeBinomial1
from jaxglmm.families.sampling import some_poisson_of_gamma
from jaxglmm.families.truncated import AbstractTruncated, excess
from jaxglmm.special import log_softplus


@dataclasses.dataclass(frozen=True)
class TruncatedNegativeBinomial1(AbstractTruncated, NegativeBinomial1):
    """`NegativeBinomial1` given y > 0; mu is the mean of the untruncated law.

    log P(0) = -mu / phi log1p(phi).
    """

    name = "truncated_nbinom1"

    def _log_rate(self, log_mean: Array, phi: Array) -> Array:
        return log_mean - phi[0] + log_softplus(phi[0])

    def sample(self, key: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        size = jnp.exp(self.link.log_mean(eta) - phi[0])
        return some_poisson_of_gamma(key, size, phi[0])

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        del weight
        phi = excess(y, mu, multiplier) / jnp.sum(multiplier * mu)
        return jnp.log(jnp.clip(phi, 0.01, 100.0))[None]
