"""The beta law with zeros and ones of a probability of their own."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxglmm.families.base import BOUNDARY, INTERIOR, UNBOUNDED, AbstractFamily
from jaxglmm.families.beta import Beta
from jaxglmm.families.support import TailFunction, with_ends
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.unit import Logit
from jaxglmm.special import softplus

_NEVER = 15.0  # a logit this far from 0: a probability within 3e-7 of 0 or 1


@dataclasses.dataclass(frozen=True)
class ZeroOneBeta(AbstractFamily):
    """With probability zoi 0 or 1, else between them Beta(mu phi, (1 - mu) phi).

    P(0) = zoi (1 - coi), P(1) = zoi coi, (1 - zoi) times the beta density elsewhere; mu is the mean
    of the responses between 0 and 1, that of all is zoi coi + (1 - zoi) mu. phi = (log phi,
    logit zoi, logit coi). The density is a product: with a predictor for zoi the model is a beta
    one of the responses inside, a binomial one of which lie at the ends, and a share of ones.
    Ospina & Ferrari (2010), Statistical Papers 51:111-126, eq. (3), the law BEINF; zoi and coi are
    brms's names.
    """

    link: AbstractLink = Logit()

    name = "zero_one_beta"
    support = "unit_closed"
    weight_role = "multiplier"
    elementwise = True
    dispersed = True
    zeros = "own"
    phi_names = ("phi", "zoi", "coi")
    at_limit = (
        "zoi or coi is at 0 or 1: without ones 'beta' with zero_inflation='~ 1' is the same "
        "model, with neither zeros nor ones 'beta' alone."
    )

    def natural(self, phi: Array) -> Array:
        return jnp.concatenate([jnp.exp(phi[:1]), lax.logistic(phi[1:])])

    def coordinate(self, number: int, value: float) -> tuple[int, float]:
        return number, math.log(value / (1.0 - value)) if number else math.log(value)

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        _, zoi, coi = phi
        at_end = -softplus(-zoi) - softplus(jnp.where(y == 1.0, -coi, coi))
        between = Beta(self.link).log_kernel(_inside(y), eta, phi, weight) - softplus(zoi)
        return jnp.where(_is_end(y), at_end, between)

    def log_base(self, y: Array, weight: Array) -> Array:
        return jnp.where(_is_end(y), 0.0, Beta(self.link).log_base(_inside(y), weight))

    def response_mean(self, eta: Array, phi: Array) -> Array:
        zoi, coi = lax.logistic(phi[1]), lax.logistic(phi[2])
        return zoi * coi + (1.0 - zoi) * self.link.mean(eta)

    def response_variance(self, eta: Array, phi: Array, weight: Array) -> Array:
        zoi, coi = lax.logistic(phi[1]), lax.logistic(phi[2])
        between = Beta(self.link).response_variance(eta, phi, weight)
        apart = self.link.mean(eta) - coi
        return zoi * coi * (1.0 - coi) + (1.0 - zoi) * (between + zoi * apart**2)

    def tails(self, eta: Array, phi: Array, weight: Array) -> TailFunction:
        _, zoi, coi = phi
        zero, one = lax.logistic(zoi) * lax.logistic(-coi), lax.logistic(zoi) * lax.logistic(coi)
        inside = Beta(self.link).tails(eta, phi, weight)
        return with_ends(inside, zero, lax.logistic(-zoi), one)

    def sample(self, key: Array, eta: Array, phi: Array, weight: Array) -> Array:
        keys = jax.random.split(key)
        inside = Beta(self.link).sample(keys[0], eta, phi, weight)
        u, v = jax.random.uniform(keys[1], (2, *inside.shape), inside.dtype)
        end = jnp.where(v < lax.logistic(phi[2]), 1.0, 0.0)
        return jnp.where(u < lax.logistic(phi[1]), end, inside)

    def saturated(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        """Of a response inside, that of the beta law; an end has the probability that it has."""
        between = Beta(self.link).saturated(_inside(y), eta, phi, weight) - softplus(phi[1])
        return jnp.where(_is_end(y), self.log_prob(y, eta, phi, weight), between)

    def initial_mean(self, y: Array, weight: Array) -> Array:
        """Zeros and ones say nothing of the mean: they begin at that of the others."""
        del weight
        others = jnp.where(_is_end(y), 0.0, 1.0)
        count = jnp.sum(others)
        typical = (jnp.sum(others * y) + 0.5) / (count + 1.0)
        return jnp.where(_is_end(y), typical, y)

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        """The precision by moments inside; the shares with half a response more on either side."""
        of_ends = jnp.where(_is_end(y), multiplier, 0.0)
        of_others = jnp.where(_is_end(y), 0.0, multiplier)
        precision = Beta(self.link).initial_phi(_inside(y), mu, weight, of_others)
        # No response inside tells it.
        precision = jnp.where(jnp.isfinite(precision), precision, 0.0)
        ends, others = jnp.sum(of_ends), jnp.sum(of_others)
        ones = jnp.sum(jnp.where(y == 1.0, multiplier, 0.0))
        zoi = jnp.log(ends + 0.5) - jnp.log(others + 0.5)
        coi = jnp.log(ones + 0.5) - jnp.log(ends - ones + 0.5)
        return jnp.concatenate([precision, jnp.stack([zoi, coi])])

    def limit(self, phi: Array, start: Array) -> Array:
        """zoi or coi at 0 or 1: the beta law, or one with zeros (or ones) alone."""
        never = jnp.any(jnp.abs(phi[1:]) > _NEVER)
        bound = jnp.where(never, BOUNDARY, INTERIOR)
        return jnp.where(Beta(self.link).limit(phi, start) == UNBOUNDED, UNBOUNDED, bound)


def _is_end(y: Array) -> Array:
    return (y == 0.0) | (y == 1.0)


def _inside(y: Array) -> Array:
    """y, and 1/2 in place of 0 and 1."""
    return jnp.where(_is_end(y), 0.5, y)
