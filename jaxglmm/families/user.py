"""A law that a user writes: the log-density of one response, and what else is known of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.families.base import (
    BOUNDARY,
    INTERIOR,
    AbstractFamily,
    Support,
    WeightRole,
    Zeros,
    within_reach,
)
from jaxglmm.families.support import TailFunction
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.power import Log
from jaxglmm.tails import Tails

_COARSE = (0.0, -4.0, 4.0, -8.0, 8.0)  # steps of a parameter's search; none comes first, where
_FINE = (0.0, -1.0, 1.0, -2.0, 2.0)  # the density is nowhere finite it stays
_SWEEPS = 2
_FAR = 15.0  # from where a parameter was said to be, on its unconstrained scale: 3e6 times

_ZEROS: dict[str, Zeros] = {
    "count": "present",
    "binomial": "present",
    "positive": "absent",
    "positive_count": "absent",
    "unit_open": "absent",
}


class Parameter(NamedTuple):
    """One of the law's own: `start` is a natural value, and natural values are link.mean(phi)."""

    name: str
    start: float
    link: AbstractLink


@dataclasses.dataclass(frozen=True)
class Custom(AbstractFamily):
    """A law by its scalar log-density; `jaxglmm.families.custom` makes one and says what all means.

    Two are equal, and share compiled programs, when their functions are the same objects and all
    else is equal. phi holds the parameters on their unconstrained scales.
    """

    density: Callable[..., Any]
    link: AbstractLink
    name: str  # pyright: ignore[reportIncompatibleVariableOverride]
    support: Support  # pyright: ignore[reportIncompatibleVariableOverride]
    weight_role: WeightRole  # pyright: ignore[reportIncompatibleVariableOverride]
    parameters: tuple[Parameter, ...] = ()
    takes_eta: bool = False
    near: Callable[..., Any] | None = None
    centre: Callable[..., Any] | None = None
    spread: Callable[..., Any] | None = None
    draw: Callable[..., Any] | None = None
    distribution: Callable[..., Any] | None = None

    @property
    def phi_names(self) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def signed(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.parameters if p.link.range == "real")

    @property
    def dispersed(self) -> bool:
        return bool(self.parameters) and isinstance(self.parameters[0].link, Log)

    @property
    def at_limit(self) -> str:
        return "one of its parameters is e^15 times, or e^-15 times, what it was said to be near."

    @property
    def zeros(self) -> Zeros:
        return _ZEROS.get(self.support, "refused")

    def _own(self, phi: Array) -> tuple[Array, ...]:
        """The parameters as the functions take them."""
        return tuple(p.link.mean(value) for p, value in zip(self.parameters, phi, strict=True))

    def _known(self, weight: Array) -> tuple[Array, ...]:
        return () if self.weight_role == "multiplier" else (weight,)

    def _place(self, eta: Array) -> Array:
        return eta if self.takes_eta else self.link.mean(eta)

    def natural(self, phi: Array) -> Array:
        return jnp.stack(self._own(phi)) if self.parameters else phi

    def coordinate(self, number: int, value: float) -> tuple[int, float]:
        with jax.enable_x64(True):
            return number, float(self.parameters[number].link.predictor(jnp.asarray(value)))

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        """All of log p: the library cannot tell which part is constant."""
        return self.density(y, self._place(eta), *self._own(phi), *self._known(weight))

    def log_base(self, y: Array, weight: Array) -> Array:
        del weight
        return jnp.zeros_like(y)

    def response_mean(self, eta: Array, phi: Array) -> Array:
        if self.centre is None:
            return self.link.mean(eta)
        return jnp.vectorize(self.centre)(self._place(eta), *self._own(phi))

    def response_variance(self, eta: Array, phi: Array, weight: Array) -> Array:
        if self.spread is None:
            return super().response_variance(eta, phi, weight)
        at = (self._place(eta), *self._own(phi), *self._known(weight))
        return jnp.vectorize(self.spread)(*at)

    def sample(self, key: Array, eta: Array, phi: Array, weight: Array) -> Array:
        """Responses of rows eta (obs,), by the user's own sampler if there is one."""
        if self.draw is None:
            return super().sample(key, eta, phi, weight)
        return self.draw(key, self._place(eta), *self._own(phi), *self._known(weight))

    def tails(self, eta: Array, phi: Array, weight: Array) -> TailFunction:
        """By the user's own distribution function if there is one."""
        if self.distribution is None:
            return super().tails(eta, phi, weight)
        at = (self._place(eta), *self._own(phi), *self._known(weight))
        function = jnp.vectorize(self.distribution)

        def tails(y: Array) -> Tails:
            below = function(y, *at)
            return below, 1.0 - below

        return tails

    def initial_mean(self, y: Array, weight: Array) -> Array:
        if self.near is not None:
            found = jnp.asarray(self.near(y, *self._known(weight)), y.dtype)
            return jnp.broadcast_to(found, y.shape)
        if self.support == "real":
            return within_reach(self.link, y)
        if self.support in ("count", "nonnegative"):
            return y + 0.1 * jnp.mean(y)
        if self.support == "binomial":
            return (y + 0.5) / (weight + 1.0)
        return jnp.clip(y, 0.02, 0.98) if self.support in ("unit_closed", "unit_zero") else y

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        """The highest density of two sweeps over the parameters, each tried from e^-10 to e^10
        times its given start (or as far on another scale)."""
        given = jnp.asarray(
            [p.link.predictor(jnp.asarray(p.start, y.dtype)) for p in self.parameters]
        )
        given = given.astype(y.dtype)
        if not self.parameters:
            return given
        eta = self.link.predictor(mu)

        def total(phi: Array) -> Array:
            of_row = jnp.vectorize(lambda v, e, w: self.log_kernel(v, e, phi, w))
            terms = jnp.where(multiplier > 0, multiplier * of_row(y, eta, weight), 0.0)
            return jnp.sum(terms)

        def better(i: Array, phi: Array) -> Array:
            place = i // 2 % len(self.parameters)
            steps = jnp.where(i % 2 == 0, jnp.asarray(_COARSE), jnp.asarray(_FINE))
            middle = jnp.where(i % 2 == 0, given[place], phi[place])
            tried = jax.vmap(lambda step: phi.at[place].set(middle + step))(steps.astype(y.dtype))
            values = jax.lax.map(total, tried)
            return tried[jnp.argmax(jnp.where(jnp.isfinite(values), values, -jnp.inf))]

        return jax.lax.fori_loop(0, 2 * _SWEEPS * len(self.parameters), better, given)

    def limit(self, phi: Array, start: Array) -> Array:
        """A parameter e^15 times its given start, or as far on another scale, has left for its
        bound; that the density has no maximum shows in a gradient that does not vanish.

        One that has not moved at all is none: a predictor stands in its place.
        """
        code = jnp.asarray(INTERIOR)
        for value, begin, parameter in zip(phi, start, self.parameters, strict=True):
            given = parameter.link.predictor(jnp.asarray(parameter.start, phi.dtype))
            far = (jnp.abs(value - given) > _FAR) & (value != begin)
            code = jnp.where(far & (parameter.link.range != "real"), BOUNDARY, code)
        return code


class AtStart(NamedTuple):
    """A law where fitting starts: by row the mean near its response, log p at the mean of these,
    and whether the derivatives of log p are finite there."""

    near: Array
    log_prob: Array
    smooth: Array


def at_start(y: Array, weight: Array, multiplier: Array, *, law: AbstractFamily) -> AtStart:
    """A law at the constant mean; all arrays have shape (obs,)."""
    near = law.initial_mean(y, weight)
    mean = jnp.reshape(jnp.sum(multiplier * near) / jnp.sum(multiplier), (1,))
    phi = law.initial_phi(y, mean, weight, multiplier)

    def of_row(v: Array, w: Array) -> tuple[Array, Array]:
        def slope(e: Array, own: Array) -> Array:
            return jax.grad(law.log_prob, 1)(v, e, own, w)

        eta = law.link.predictor(mean[0])
        first = jax.grad(law.log_prob, (1, 2))(v, eta, phi, w)
        second = jax.grad(slope, (0, 1))(eta, phi)
        parts = [jnp.ravel(d) for d in jax.tree.leaves((first, second))]
        return law.log_prob(v, eta, phi, w), jnp.all(jnp.isfinite(jnp.concatenate(parts)))

    values, smooth = jax.vmap(of_row)(y, weight)
    return AtStart(near, values, smooth)
