"""Sums over the number of gamma variables that a Tweedie variable is made of."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxglmm.families.summation import NUM_NODES, sum_rule
from jaxglmm.gamma_functions import log_factorial, log_gamma, log_gamma_density_constant
from jaxglmm.special import softplus
from jaxglmm.tails import Tails, gamma_tails

NUM_TERMS = 64  # of the density's series: a step of at most a fourth of a standard width
_NEGLIGIBLE = 32.0  # terms below exp(-32) of the largest are left out
_FAR = 80.0  # exp(80) is finite in single precision


class Series(NamedTuple):
    """Places j of the terms of sum_j>0 W_j, the first axis, that stand for `step` terms each.

    log_factorial is log j!; largest is about the largest log W_j.
    """

    j: Array
    log_factorial: Array
    step: Array
    largest: Array


def series(log_y: Array, log_phi: Array, psi: Array) -> Series:
    """The terms that count; not to be differentiated.

    The largest term is near j_0 = y^(2-p) / (phi (2 - p)), and log W_j falls from it by about
    (1 + alpha) j_0 h(j / j_0), h(t) = t log t - t + 1, where h(1 + s) >= s^2 / (2 + 2 s / 3) and
    h(1 - s) >= s^2 / 2 bound the window of terms that count. One of at most `NUM_TERMS` terms is
    summed as it is. A longer one is summed by steps of more than one: the terms are then a smooth
    bell that vanishes at both ends, over which the trapezoidal rule is exact to rounding.
    """
    above, log_below = jax.nn.sigmoid(psi), -softplus(psi)
    peak = jnp.exp(jnp.exp(log_below) * log_y - log_phi - log_below)
    c = _NEGLIGIBLE * above / peak
    low = jnp.maximum(jnp.floor(peak * (1.0 - jnp.sqrt(2.0 * c))), 1.0)
    high = peak * (1.0 + c / 3.0 + jnp.sqrt(c) * jnp.sqrt(c / 9.0 + 2.0))
    step = jnp.maximum((high - low) / (NUM_TERMS - 1), 1.0)
    j = low + jnp.arange(NUM_TERMS).reshape(-1, *[1] * low.ndim) * step
    top = jnp.maximum(peak, 1.0)
    log_z, alpha = _rate(log_y, log_phi, psi)
    largest = top * log_z - log_gamma(top + 1.0) - log_gamma(alpha * top)
    return Series(j, log_factorial(j), step, largest)


def log_sum(log_y: Array, log_phi: Array, psi: Array, terms: Series) -> Array:
    """log sum_j>0 W_j."""
    log_z, alpha = _rate(log_y, log_phi, psi)
    log_terms = terms.j * log_z - terms.log_factorial - log_gamma(alpha * terms.j)
    # Beyond the clip are terms that count for nothing, and the rounding of terms of 1e18 and more.
    apart = jnp.clip(log_terms - terms.largest, -_FAR, _FAR)
    total = jnp.sum(terms.step * jnp.exp(apart), axis=0)
    return terms.largest + jnp.log(total)


def _rate(log_y: Array, log_phi: Array, psi: Array) -> tuple[Array, Array]:
    """log z and alpha; p - 1 = logistic(psi), 2 - p = logistic(-psi), alpha = exp(-psi)."""
    alpha = jnp.exp(-psi)
    log_z = alpha * (log_y + softplus(-psi)) - log_phi * (1.0 + alpha) + softplus(psi)
    return log_z, alpha


def compound_tails(y: Array, log_number: Array, shape: Array, log_scale: Array) -> Tails:
    """P(Y <= y) and P(Y > y) of a Poisson number of gamma variables, by the number j of them.

    P(Y > y) = sum_j>0 P(j) Q(j shape, y / scale) over the j that count: the Poisson log-probability
    falls by number h(j / number) from its peak (see `series`).
    """
    y, log_number, log_scale = jnp.broadcast_arrays(y, log_number, log_scale)
    number = jnp.exp(log_number)
    c = _NEGLIGIBLE / 3.0
    low = jnp.maximum(jnp.floor(number - jnp.sqrt(6.0 * c * number)), 1.0)
    high = jnp.ceil(number + c + jnp.sqrt(c * (c + 6.0 * number)))
    j, weight = sum_rule(low, high)
    log_x = jnp.log(jnp.clip(y, jnp.finfo(y.dtype).tiny, jnp.finfo(y.dtype).max)) - log_scale

    def add(i: Array, sums: Tails) -> Tails:
        t = log_number - jnp.log(j[i])
        log_chance = j[i] * (t - jnp.expm1(t)) + log_gamma_density_constant(j[i])
        chance = weight[i] * jnp.exp(log_chance) / j[i]
        both = gamma_tails(j[i] * shape, log_x)
        return sums[0] + chance * both[0], sums[1] + chance * both[1]

    terms = jnp.minimum(jnp.max(high - low) + 1.0, NUM_NODES)
    none = jnp.zeros_like(y)
    below, above = lax.fori_loop(0, terms.astype(jnp.int32), add, (none, none))
    at_zero, positive = jnp.exp(-number), y > 0.0
    below = jnp.where(positive, at_zero + below, at_zero)
    above = jnp.where(positive, above, -jnp.expm1(-number))
    return jnp.where(y < 0.0, 0.0, below), jnp.where(y < 0.0, 1.0, above)
