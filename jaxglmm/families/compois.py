"""The Conway-Maxwell-Poisson law, parameterised by its mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.families.base import BOUNDARY, INTERIOR, AbstractFamily
from jaxglmm.families.lattice import NUM_NODES, lattice, log_density, variance
from jaxglmm.families.sampling import log_concave_counts
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.power import Log


@dataclasses.dataclass(frozen=True)
class ConwayMaxwellPoisson(AbstractFamily):
    """P(y) proportional to lambda^y / (y!)^nu with mean mu; nu = 1 / phi, phi = (log phi,).

    phi > 1 is overdispersion, phi < 1 underdispersion, phi = 1 the Poisson law; the variance is
    about phi mu. lambda solves E y = mu (see `jaxglmm.families.lattice`).
    Huang (2017), Statistical Modelling 17:359-380; `compois` of glmmTMB.
    """

    link: AbstractLink = Log()

    name = "compois"
    support = "count"
    weight_role = "multiplier"
    dispersed = True
    zeros = "present"
    elementwise = True
    peaks_at_mean = True
    num_nodes = NUM_NODES
    phi_names = ("phi",)
    at_limit = "phi is near zero, or so large that the counts are geometric."

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        log_mu, nu = self.link.log_mean(eta), jnp.exp(-phi[0])
        at = jax.lax.stop_gradient
        return log_density(y, log_mu, nu, lattice(at(log_mu), at(nu)))

    def log_base(self, y: Array, weight: Array) -> Array:
        del weight
        return jnp.zeros_like(y)

    def response_variance(self, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        return variance(lattice(self.link.log_mean(eta), jnp.exp(-phi[0])))

    def sample(self, key: Array, eta: Array, phi: Array, weight: Array) -> Array:
        """By rejection: the law is log-concave, with its mode at lambda^(1 / nu)."""
        log_p, like, _ = self._log_prob_of_y(eta, phi, weight)
        nu = jnp.exp(-phi[0])
        sums = lattice(jnp.broadcast_to(self.link.log_mean(eta), like.shape), nu)
        mode = jnp.floor(jnp.exp(sums.delta / nu + jnp.log1p(sums.mu)))
        return log_concave_counts(key, log_p, mode)

    def _log_prob_of_y(
        self, eta: Array, phi: Array, weight: Array
    ) -> tuple[Callable[[Array], Array], Array, Array]:
        _, like, weight = super()._log_prob_of_y(eta, phi, weight)
        log_mu, nu = self.link.log_mean(like), jnp.exp(-phi[0])
        sums = lattice(log_mu, nu)
        return lambda y: log_density(y, log_mu, nu, sums), like, weight

    def initial_mean(self, y: Array, weight: Array) -> Array:
        del weight
        return y + 0.1

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        del weight
        ratio = jnp.sum(multiplier * (y - mu) ** 2) / jnp.sum(multiplier * mu)
        return jnp.log(jnp.clip(ratio, 0.2, 5.0))[None]

    def limit(self, phi: Array, start: Array) -> Array:
        """At nu = 100 small counts are the whole numbers next to their means; at nu = 1e-3 the
        law is geometric."""
        del start
        limit = (phi[0] < -jnp.log(1e2)) | (phi[0] > jnp.log(1e3))
        return jnp.where(limit, BOUNDARY, INTERIOR)
