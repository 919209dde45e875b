"""Further linear predictors of a law: its dispersion, and a probability of zeros."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxglmm.families.base import AbstractFamily, Predictors, Support
from jaxglmm.families.support import TailFunction
from jaxglmm.links.base import AbstractLink
from jaxglmm.special import softplus
from jaxglmm.tails import Tails

# What a law without mass at zero may respond when zeros have a probability of their own.
_WITH_ZEROS: dict[str, Support] = {"positive": "nonnegative", "unit_open": "unit_zero"}
_LEAST_SHARE = 0.1  # of the zeros that count as inflated at the start, however many are expected


@dataclasses.dataclass(frozen=True)
class Modelled(AbstractFamily):
    """A base law p whose dispersion, probability of zeros, or both have linear predictors.

    The predictors are, in this order, that of the mean, phi[0] of the base law where `dispersion`
    (the logarithm of its first parameter), and the logit of a probability pi of zeros where
    `inflation`. With mass at zero the law is a mixture,

        P(0) = pi + (1 - pi) p(0),    (1 - pi) p(y) elsewhere,

    and without it a hurdle: P(0) = pi, (1 - pi) p(y) elsewhere (Lambert 1992, Technometrics
    34:1-14; Mullahy 1986, J. Econometrics 33:341-365). A law with such a probability among its
    own parameters, phi[1] its logit, is left as it is. What a predictor takes the place of is no
    longer in phi. The weight is p's alone.
    """

    law: AbstractFamily
    dispersion: bool = False
    inflation: bool = False
    link: AbstractLink = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "link", self.law.link)

    @property
    def base(self) -> AbstractFamily:
        return self.law

    @property
    def num_predictors(self) -> int:
        return len(self.components)

    @property
    def name(self) -> str:
        return self.law.name

    @property
    def support(self) -> Support:
        if not self._hurdle:
            return self.law.support
        return _WITH_ZEROS.get(self.law.support, "count")

    @property
    def weight_role(self) -> str:
        return self.law.weight_role

    @property
    def elementwise(self) -> bool:
        return self.law.elementwise

    @property
    def num_nodes(self) -> int:
        return self.law.num_nodes

    @property
    def signed(self) -> tuple[str, ...]:
        return self.law.signed

    @property
    def phi_names(self) -> tuple[str, ...]:
        return tuple(self.law.phi_names[k] for k in self._kept)

    @property
    def known(self) -> dict[str, float]:
        return self.law.known

    @property
    def at_limit(self) -> str:
        return self.law.at_limit

    @property
    def components(self) -> tuple[str, ...]:
        further = {"disp": self.dispersion, "zi": self.inflation}
        return ("cond", *(name for name, present in further.items() if present))

    @property
    def _added(self) -> bool:
        """Whether zeros are added to the law, which has no parameter for them."""
        return self.inflation and self.law.zeros != "own"

    @property
    def _hurdle(self) -> bool:
        return self.inflation and self.law.zeros == "absent"

    @property
    def _replaced(self) -> tuple[int, ...]:
        """The places in the base law's phi that predictors take, ascending."""
        return (0,) * self.dispersion + (1,) * (self.inflation and not self._added)

    @property
    def _kept(self) -> tuple[int, ...]:
        return tuple(k for k in range(self.law.num_phi) if k not in self._replaced)

    def _whole(self, phi: Any, replaced: Predictors) -> Any:
        """The base law's phi, of the shape of `replaced` behind its first axis; a tuple where phi
        is one."""
        if not replaced:
            return phi
        values = [jnp.broadcast_to(value, jnp.shape(replaced[0])) for value in phi]
        for place, value in zip(self._replaced, replaced, strict=True):
            values.insert(place, value)
        return tuple(values) if isinstance(phi, tuple) else jnp.stack(values)

    def _of_one(self, phi: Array) -> Array:
        """The base law's phi with zeros where predictors stand: scales of 1, probabilities 1/2."""
        return self._whole(phi, (jnp.zeros((), phi.dtype),) * len(self._replaced))

    def _inside(self, y: Array) -> Array:
        """y, and a point of the base law's support instead of the zeros that it does not have."""
        if not self._hurdle:
            return y
        return jnp.where(y == 0, 0.5 if self.law.support == "unit_open" else 1.0, y)

    def _split(self, eta: Predictors, phi: Array) -> tuple[Array, Array]:
        """The base law's own eta and phi; phi has the shape of eta behind its first axis."""
        return eta[0], self._whole(phi, tuple(eta[1 : 1 + len(self._replaced)]))

    def log_kernel(self, y: Array, eta: Any, phi: Array, weight: Array) -> Array:
        log_p = self.law.log_kernel(self._inside(y), *self._split(eta, phi), weight)
        if not self._added:
            return log_p
        logit = eta[-1]
        if self._hurdle:
            return jnp.where(y == 0, logit, log_p) - softplus(logit)
        # log(pi + (1 - pi) p) = log p + softplus(logit - log p) - softplus(logit).
        at_zero = self.law.log_base(jnp.zeros((), y.dtype), weight)
        more = at_zero + softplus(logit - log_p - at_zero)
        return log_p + jnp.where(y == 0, more, 0.0) - softplus(logit)

    def log_base(self, y: Array, weight: Array) -> Array:
        base = self.law.log_base(self._inside(y), weight)
        return jnp.where(y == 0, 0.0, base) if self._added else base

    def response_mean(self, eta: Predictors, phi: Array) -> Array:
        own, own_phi = self._split(eta, phi)
        mu = self.law.response_mean(own, own_phi)
        return lax.logistic(-eta[-1]) * mu if self._added else mu

    def response_variance(self, eta: Predictors, phi: Array, weight: Array) -> Array:
        own, own_phi = self._split(eta, phi)
        spread = self.law.response_variance(own, own_phi, weight)
        if not self._added:
            return spread
        zero, some = lax.logistic(eta[-1]), lax.logistic(-eta[-1])
        return some * (spread + zero * self.law.response_mean(own, own_phi) ** 2)

    def tails(self, eta: Predictors, phi: Array, weight: Array) -> TailFunction:
        inside = self.law.tails(*self._split(eta, phi), weight)
        if not self._added:
            return inside
        zero, some = lax.logistic(eta[-1]), lax.logistic(-eta[-1])

        def tails(y: Array) -> Tails:
            below, above = inside(y)
            below, above = zero + some * below, some * above
            return jnp.where(y < 0.0, 0.0, below), jnp.where(y < 0.0, 1.0, above)

        return tails

    def quantile(self, p: Array, eta: Predictors, phi: Array, weight: Array) -> Array:
        if self._added:
            return super().quantile(p, eta, phi, weight)
        return self.law.quantile(p, *self._split(eta, phi), weight)

    def sample(self, key: Array, eta: Predictors, phi: Array, weight: Array) -> Array:
        keys = jax.random.split(key)
        drawn = self.law.sample(keys[0], *self._split(eta, phi), weight)
        if not self._added:
            return drawn
        u = jax.random.uniform(keys[1], drawn.shape, drawn.dtype)
        return jnp.where(u < lax.logistic(eta[-1]), 0.0, drawn)

    def saturated(self, y: Array, eta: Predictors, phi: Array, weight: Array) -> Array:
        """Over the mean's predictor, the dispersion and the probability of zeros being what they
        are."""
        found = self.law.saturated(self._inside(y), *self._split(eta, phi), weight)
        if not self._added:
            return found
        logit = eta[-1]
        at_zero = logit if self._hurdle else jnp.logaddexp(logit, found)
        return jnp.where(y == 0, at_zero, found) - softplus(logit)

    def natural(self, phi: Array) -> Array:
        return self.law.natural(self._of_one(phi))[jnp.asarray(self._kept, int)]

    def coordinate(self, number: int, value: float) -> tuple[int, float] | None:
        found = self.law.coordinate(self._kept[number], value)
        return None if found is None else (self._kept.index(found[0]), found[1])

    @property
    def by_parameter(self) -> Modelled:
        return dataclasses.replace(self, law=self.law.by_parameter)

    def beside(self, held: np.ndarray, phi: Array) -> Array:
        whole = np.ones(self.law.num_phi, bool)
        whole[list(self._kept)] = held
        return self.law.beside(whole, self._of_one(phi))[jnp.asarray(self._kept, int)]

    def phi_of(self, values: Sequence[float]) -> np.ndarray:
        nothing = jnp.zeros(len(self._kept))
        whole = np.array(self.law.natural(self._of_one(nothing)), float)
        whole[list(self._kept)] = values
        return self.law.phi_of(whole.tolist())[list(self._kept)]

    def initial_mean(self, y: Array, weight: Array) -> Array:
        """Zeros beyond the law's own say nothing of its mean: they begin at that of the others."""
        own = self.law.initial_mean(self._inside(y), weight)
        if not self._added:
            return own
        others = jnp.where(y == 0, 0.0, 1.0)
        typical = jnp.sum(others * own) / jnp.maximum(jnp.sum(others), 1.0)
        return jnp.where((y == 0) & (typical > 0), typical, own)

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        return self._base_phi(y, mu, weight, multiplier)[jnp.asarray(self._kept, int)]

    def _base_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        """All of the base law's phi; of the zeros of a mixture, a half count as its own."""
        if self._added:
            multiplier = jnp.where(y == 0, 0.0 if self._hurdle else 0.5, 1.0) * multiplier
        return self.law.initial_phi(self._inside(y), mu, weight, multiplier)

    def initial_others(
        self, y: Array, mu: Array, weight: Array, multiplier: Array
    ) -> tuple[Array, ...]:
        """What is replaced in phi by its moments; the logit of the share of zeros beyond the
        expected ones."""
        phi = self._base_phi(y, mu, weight, multiplier)
        others = tuple(phi[place] for place in self._replaced)
        if not self._added:
            return others
        count = jnp.maximum(jnp.sum(multiplier), 1.0)
        share = jnp.maximum(jnp.sum(jnp.where(y == 0, multiplier, 0.0)), 0.5) / count
        if not self._hurdle:
            eta, zero = self.link.predictor(mu), jnp.zeros((), y.dtype)
            of_row = jnp.vectorize(lambda e, w: jnp.exp(self.law.log_prob(zero, e, phi, w)))
            expected = jnp.sum(multiplier * of_row(eta, weight)) / count
            excess = (share - expected) / jnp.maximum(1.0 - expected, 1e-3)
            share = jnp.maximum(excess, _LEAST_SHARE * share)
        share = jnp.clip(share, 1e-4, 0.99)
        return (*others, jnp.log(share) - jnp.log1p(-share))

    def limit(self, phi: Array, start: Array) -> Array:
        """Of what has no predictor; the limits of one are those of its coefficients."""
        return self.law.limit(self._of_one(phi), self._of_one(start))
