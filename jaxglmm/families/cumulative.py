"""The cumulative (ordinal) law."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.errors import InputError
from jaxglmm.families.base import AbstractFamily
from jaxglmm.families.search import peak
from jaxglmm.families.support import TailFunction, on_counts
from jaxglmm.families.thresholds import (
    Layout,
    Spacing,
    free_size,
    in_order,
    log_cell,
    to_phi,
    to_thresholds,
)
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.unit import Logit
from jaxglmm.tails import Tails

_FAR = 10.0  # beyond the outer thresholds no inner category is at its most likely


@dataclasses.dataclass(frozen=True)
class Cumulative(AbstractFamily):
    """An ordered category y = 0, ..., num_categories - 1: P(y <= j) = F(threshold_j - eta).

    F is the link's inverse, and phi holds the thresholds by their `spacing` (see
    `jaxglmm.families.thresholds`). The thresholds take the place of an intercept.
    McCullagh (1980), JRSS B 42:109-142.

    num_categories: found in the data by `jaxglmm.glmm`.
    thresholds: "flexible", "symmetric" (about their middle) or "equidistant".
    separate: flexible thresholds are entries of phi themselves (see `by_parameter`).
    """

    link: AbstractLink = Logit()
    num_categories: int = 3
    thresholds: Spacing = "flexible"
    separate: bool = False

    name = "cumulative"
    support = "ordinal"
    weight_role = "multiplier"
    elementwise = True

    def __post_init__(self) -> None:
        if self.thresholds not in get_args(Spacing):
            known = ", ".join(f"'{s}'" for s in get_args(Spacing))
            raise InputError(f"thresholds={self.thresholds!r} is not known; use one of {known}.")
        if self.num_categories < 2:
            raise InputError(f"num_categories={self.num_categories}: expected two or more.")

    @property
    def num_thresholds(self) -> int:
        return self.num_categories - 1

    @property
    def num_phi(self) -> int:
        return free_size(self.num_thresholds, self._layout)

    @property
    def _layout(self) -> Layout:
        return "separate" if self.separate else self.thresholds

    def natural(self, phi: Array) -> Array:
        """The thresholds."""
        return to_thresholds(phi, self.num_thresholds, self._layout)

    @property
    def by_parameter(self) -> Cumulative:
        return dataclasses.replace(self, separate=self.thresholds == "flexible")

    def coordinate(self, number: int, value: float) -> tuple[int, float] | None:
        """All thresholds where they are separate; the middle one of symmetric ones, else the first
        one."""
        if self.separate:
            return number, value
        middle = self.thresholds == "symmetric"
        alone = (self.num_thresholds - 1) / 2 if middle else 0
        return (0, value) if number == alone else None

    def beside(self, held: np.ndarray, phi: Array) -> Array:
        return in_order(held, phi) if self.separate else phi

    def phi_of(self, values: Sequence[float]) -> np.ndarray:
        """Of thresholds of the law's spacing."""
        with np.errstate(invalid="ignore", divide="ignore"):
            phi = to_phi(np.asarray(values, float), self._layout, np)
        back = to_thresholds(phi, self.num_thresholds, self._layout, np)
        # NaN where they do not ascend; else rounding errors of sums and exponentials.
        ascending = bool(np.all(np.diff(back) > 0))
        if not ascending or not np.allclose(back, values, rtol=1e-9, atol=1e-9):
            raise ValueError(f"Thresholds ascend, and are {self.thresholds}.")
        return phi

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        return log_cell(self.link, y, self.natural(jnp.asarray(phi)), eta)

    def log_base(self, y: Array, weight: Array) -> Array:
        del weight
        return jnp.zeros_like(y)

    def response_mean(self, eta: Array, phi: Array) -> Array:
        categories = jnp.arange(self.num_categories, dtype=eta.dtype)
        return jnp.exp(log_cell(self.link, categories, self.natural(phi), eta[..., None]))

    def response_variance(self, eta: Array, phi: Array, weight: Array) -> Array:
        """Variance of the category's number."""
        number = jnp.arange(self.num_categories, dtype=eta.dtype)
        centre = self._centre(eta, phi, weight)[..., None]
        return jnp.sum(self.response_mean(eta, phi) * (number - centre) ** 2, axis=-1)

    def _centre(self, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        number = jnp.arange(self.num_categories, dtype=eta.dtype)
        return jnp.sum(self.response_mean(eta, phi) * number, axis=-1)

    def tails(self, eta: Array, phi: Array, weight: Array) -> TailFunction:
        del weight
        thresholds = self.natural(phi)

        def tails(y: Array) -> Tails:
            at = thresholds[y.astype(jnp.int32)] - eta
            return jnp.exp(self.link.log_mean(at)), jnp.exp(self.link.log1m_mean(at))

        return on_counts(tails, self.num_thresholds)

    def sample(self, key: Array, eta: Array, phi: Array, weight: Array) -> Array:
        shape = jnp.broadcast_shapes(jnp.shape(eta), jnp.shape(weight))
        u = jax.random.uniform(key, shape, eta.dtype)[..., None]
        below = self.link.mean(self.natural(phi) - jnp.broadcast_to(eta, shape)[..., None])
        return jnp.sum(u >= below, axis=-1).astype(eta.dtype)

    def saturated(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        """Zero in the first and the last category, which a predictor may make certain."""
        thresholds = self.natural(phi)
        y = jnp.broadcast_to(y, jnp.broadcast_shapes(jnp.shape(y), jnp.shape(eta)))
        span = thresholds[-1] - thresholds[0] + _FAR
        middle = jnp.broadcast_to(0.5 * (thresholds[-1] + thresholds[0]), y.shape)
        inner = peak(lambda e: self.log_prob(y, e, phi, weight), middle - span, middle + span)
        ends = (y == 0.0) | (y == self.num_thresholds)
        return jnp.where(ends, 0.0, inner[1])

    def initial_mean(self, y: Array, weight: Array) -> Array:
        """That at eta = 0: the thresholds alone say what the categories' shares are."""
        del weight
        return jnp.broadcast_to(self.link.mean(jnp.zeros((), y.dtype)), y.shape)

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        """From the cumulative shares, moved by the mean predictor."""
        del weight
        total = jnp.sum(multiplier)
        split = jnp.arange(self.num_thresholds, dtype=y.dtype)
        below = y <= split.reshape(-1, *[1] * y.ndim)
        counts = jnp.sum(multiplier * below, axis=tuple(range(1, below.ndim)))
        # Half a response in every category keeps the shares apart and away from 0 and 1.
        shares = (counts + 0.5 * (split + 1)) / (total + 0.5 * self.num_categories)
        middle = jnp.sum(multiplier * self.link.predictor(mu)) / total
        at = self.link.predictor(shares) + middle
        return to_phi(at, self._layout)
