"""The Poisson law given that there is something to count."""

from __future__ import annotations

import dataclasses

from jax import Array

from jaxglmm.families.poisson import Poisson
from jaxglmm.families.sampling import some_poisson
from jaxglmm.families.truncated import AbstractTruncated


@dataclasses.dataclass(frozen=True)
class TruncatedPoisson(AbstractTruncated, Poisson):
    """`Poisson` given y > 0; mu is the mean of the untruncated law. log P(0) = -mu."""

    name = "truncated_poisson"

    def _log_rate(self, log_mean: Array, phi: Array) -> Array:
        del phi
        return log_mean

    def sample(self, key: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        del phi
        return some_poisson(key, self.link.mean(eta))
