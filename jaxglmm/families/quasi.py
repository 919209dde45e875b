"""A law with one parameter more: its variance times a dispersion, and no distribution any more."""

from __future__ import annotations

import dataclasses
from typing import NoReturn

import jax.numpy as jnp
from jax import Array

from jaxglmm.errors import InputError
from jaxglmm.families.base import AbstractFamily, Support, WeightRole


@dataclasses.dataclass(frozen=True)
class Quasi(AbstractFamily):
    """The mean of `law` and phi times its variance (Wedderburn 1974, Biometrika 61:439-447).

    log_kernel is the quasi-likelihood, that of the law divided by phi; phi = (log phi,). There is
    no density with it, so nothing to draw from and no tails. For pseudo-likelihood.
    """

    law: AbstractFamily

    phi_names = ("phi",)
    exponential = True

    @property
    def name(self) -> str:
        return self.law.name

    @property
    def base(self) -> AbstractFamily:
        return self.law

    @property
    def support(self) -> Support:
        return self.law.support

    @property
    def weight_role(self) -> WeightRole:
        return self.law.weight_role

    @property
    def elementwise(self) -> bool:
        return self.law.elementwise

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        return jnp.exp(-phi[0]) * self.law.log_kernel(y, eta, phi[:0], weight)

    def log_base(self, y: Array, weight: Array) -> Array:
        del weight
        return jnp.zeros_like(y)

    def response_variance(self, eta: Array, phi: Array, weight: Array) -> Array:
        return jnp.exp(phi[0]) * self.law.response_variance(eta, phi[:0], weight)

    def tails(self, eta: Array, phi: Array, weight: Array) -> NoReturn:
        self.refuse_draws()

    def quantile(self, p: Array, eta: Array, phi: Array, weight: Array) -> NoReturn:
        self.refuse_draws()

    def sample(self, key: Array, eta: Array, phi: Array, weight: Array) -> NoReturn:
        self.refuse_draws()

    def refuse_draws(self) -> NoReturn:
        """There is no distribution to draw from.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"Control(estimate_dispersion=True): with a dispersion of its own '{self.name}' has a "
            "mean and a variance but no distribution: nothing can be drawn from it. Use a family "
            "that has one (betabinomial, nbinom1)."
        )

    def initial_mean(self, y: Array, weight: Array) -> Array:
        return self.law.initial_mean(y, weight)

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        """Pearson's."""
        response = y / weight if self.weight_role == "trials" else y
        eta, none = self.link.predictor(mu), jnp.zeros((0,), y.dtype)
        variance = self.law.response_variance(eta, none, weight)
        total = jnp.sum(multiplier * (response - mu) ** 2 / variance)
        return jnp.log(total / jnp.sum(multiplier))[None]
