"""The law over all rows: its density and its derivatives in eta, by autodiff of the scalar law.

eta is a tuple of m arrays; first derivatives are a tuple of m, second derivatives a tuple of m
tuples. Rows of multiplier zero contribute exact zeros.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.predictor import Predictors
from jaxglmm.rows import Rows


def _law(rows: Rows, phi: Array) -> Callable[[Predictors], Array]:
    """eta -> multiplier * log_kernel, row by row."""
    family = rows.family

    def scalar(y: Array, eta: Predictors, weight: Array) -> Array:
        return family.log_kernel(y, eta[0] if family.num_predictors == 1 else eta, phi, weight)  # type: ignore[arg-type]

    law = jax.vmap(jax.vmap(scalar))
    return lambda eta: rows.multiplier * law(rows.y, eta, rows.weight)


def _unit(eta: Predictors, a: int) -> Predictors:
    return tuple(jnp.ones_like(e) if i == a else jnp.zeros_like(e) for i, e in enumerate(eta))


def _derivative(law: Callable[[Predictors], Array], a: int) -> Callable[[Predictors], Array]:
    return lambda eta: jax.jvp(law, (eta,), (_unit(eta, a),))[1]


def log_kernel(rows: Rows, eta: Predictors, phi: Array) -> Array:
    """Each row's share of the log-likelihood without its constant; shape (slot, chunk)."""
    return _law(rows, phi)(eta)


def log_base(rows: Rows) -> Array:
    """The data's constant of the log-likelihood, a scalar."""
    base = jax.vmap(jax.vmap(rows.family.log_base))(rows.y, rows.weight)
    return jnp.sum(jnp.where(rows.multiplier > 0, rows.multiplier * base, 0.0))


def score(rows: Rows, eta: Predictors, phi: Array) -> Predictors:
    """d log p / d eta_a."""
    law = _law(rows, phi)
    return tuple(_derivative(law, a)(eta) for a in range(len(eta)))


def score_and_weights(
    rows: Rows, eta: Predictors, phi: Array
) -> tuple[Predictors, tuple[Predictors, ...]]:
    """The score and W = -d^2 log p / d eta_a d eta_b (observed information)."""
    law = _law(rows, phi)
    gradient, weights = [], []
    for a in range(len(eta)):
        first = _derivative(law, a)
        row = []
        for b in range(len(eta)):
            value, second = jax.jvp(first, (eta,), (_unit(eta, b),))
            row.append(-second)
        gradient.append(value)
        weights.append(tuple(row))
    return tuple(gradient), tuple(weights)


def half_curvature(
    rows: Rows, eta: Predictors, phi: Array, h: tuple[Predictors, ...]
) -> Array:
    """(1/2) sum over rows of h : hess log p, each row with its own h; a scalar."""
    law = _law(rows, phi)
    total = jnp.zeros((), rows.dtype)
    for a in range(len(eta)):
        for b in range(len(eta)):
            second = _derivative(_derivative(law, a), b)(eta)
            total = total + 0.5 * jnp.sum(h[a][b] * second)
    return total


def augmented(
    rows: Rows, eta: Predictors, phi: Array, s: Predictors, h: tuple[Predictors, ...]
) -> Array:
    """Sum over rows of log p + s . grad log p + (1/2) h : hess log p, with their own s and h.

    The gradient of the Laplace log-likelihood is the gradient of this sum (`marginal.laplace`).
    """
    slopes = score(rows, eta, phi)
    total = jnp.sum(log_kernel(rows, eta, phi)) + half_curvature(rows, eta, phi, h)
    return total + sum(jnp.sum(x * y) for x, y in zip(s, slopes, strict=True))
