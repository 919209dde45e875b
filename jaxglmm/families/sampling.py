"""Draws that several laws are made of, and those of laws that are known by their density."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxglmm.special import softplus

State = tuple[Array, Array, Array]

_MANY = 1e5  # JAX's sampler of large Poisson counts spreads them too far: by 2 % at 1e6


def poisson(key: Array, rate: Array) -> Array:
    """Poisson counts.

    Large ones are rounded quantiles by Cornish and Fisher's expansion to the second order, whose
    error is a few parts of 1e6 of a standard deviation.
    """
    exact = jax.random.poisson(key, jnp.minimum(rate, _MANY), rate.shape).astype(rate.dtype)
    z, root = jax.random.normal(key, rate.shape, rate.dtype), jnp.sqrt(jnp.maximum(rate, _MANY))
    skewed = (z * z - 1.0) / 6.0 + (z - z**3) / (72.0 * root)
    drawn = jnp.where(rate > _MANY, jnp.floor(rate + root * z + skewed + 0.5), exact)
    return jnp.where(jnp.isnan(rate), jnp.nan, drawn)


def log_gamma_variable(key: Array, shape: Array) -> Array:
    """Logarithms of gamma variables of scale 1, which stay finite for small shapes."""
    return jax.random.loggamma(key, shape, dtype=shape.dtype)


def beta(key: Array, a: Array, b: Array) -> Array:
    """Beta variables, inside (0, 1) however far out."""
    keys = jax.random.split(key)
    logit = log_gamma_variable(keys[0], a) - log_gamma_variable(keys[1], b)
    info = jnp.finfo(logit.dtype)
    return jnp.clip(lax.logistic(logit), info.tiny, 1.0 - info.epsneg)


def poisson_of_gamma(key: Array, size: Array, log_mean: Array) -> Array:
    """Negative binomial counts: Poisson's with a mean that is a gamma variable of shape `size`."""
    keys = jax.random.split(key)
    log_size = jnp.log(size)
    return poisson(keys[0], jnp.exp(log_gamma_variable(keys[1], size) - log_size + log_mean))


def some_poisson(key: Array, rate: Array) -> Array:
    """Poisson counts given that they are not zero: the first event of a process, and the others.

    Given one within the unit of time, P(first <= t) = (1 - exp(-rate t)) / (1 - exp(-rate)).
    """
    keys = jax.random.split(key)
    u = jax.random.uniform(keys[0], rate.shape, rate.dtype)
    return 1.0 + poisson(keys[1], jnp.maximum(rate + jnp.log1p(u * jnp.expm1(-rate)), 0.0))


def some_poisson_of_gamma(key: Array, size: Array, log_ratio: Array) -> Array:
    """Negative binomial counts given that they are not zero; log_ratio is log(mean / size).

    As `some_poisson`, with a rate that is a gamma variable. With b = size / mean its density and
    that of the first event at t are together that of a gamma variable of shape size + 1 and rate
    b + t, times a multiple of (b + t)^-(size + 1).
    """
    size, log_ratio = jnp.broadcast_arrays(size, log_ratio)
    keys = jax.random.split(key, 3)
    u = jax.random.uniform(keys[0], size.shape, size.dtype)
    stretch = -jnp.log1p(u * jnp.expm1(-size * softplus(log_ratio))) / size  # log(1 + t / b)
    rest = jnp.maximum(1.0 - jnp.exp(-log_ratio) * jnp.expm1(stretch), 0.0)
    log_rate = log_gamma_variable(keys[1], size + 1.0) - stretch + log_ratio
    return 1.0 + poisson(keys[2], jnp.exp(log_rate) * rest)


def log_concave_counts(key: Array, log_p: Callable[[Array], Array], mode: Array) -> Array:
    """Counts of a law with log p(k - 1) + log p(k + 1) <= 2 log p(k), by rejection from its mode.

    p(mode + k) <= p(mode) min(1, exp(1 - p(mode) |k|)), under which lies an area of less than
    5: Devroye (1987), Computing 39:87-91. A row with no density at its mode has NaN.
    """
    top = log_p(mode)
    height = jnp.exp(top)
    edge = 1.0 + 0.5 * height

    def step(state: State) -> State:
        key, drawn, waiting = state
        key, own = jax.random.split(key)
        least = jnp.finfo(mode.dtype).tiny
        u, v, w, s = jax.random.uniform(own, (4, *mode.shape), mode.dtype, minval=least)
        size = jnp.where(u * (1.0 + edge) <= edge, v * edge, edge - jnp.log(v)) / height
        k = mode + jnp.where(s < 0.5, -1.0, 1.0) * jnp.floor(size + 0.5)
        log_hat = jnp.log(w) + jnp.minimum(0.0, edge - height * size)
        taken = waiting & (k >= 0.0) & (log_hat <= log_p(jnp.maximum(k, 0.0)) - top)
        return key, jnp.where(taken, k, drawn), waiting & ~taken

    known = height > 0.0
    start = (key, jnp.where(known, mode, jnp.nan), known)
    return lax.while_loop(lambda state: jnp.any(state[2]), step, start)[1]


def total_progeny(key: Array, first: Array, mean: Array) -> Array:
    """All individuals of a branching process that starts with so many.

    Each has a Poisson number of children, of a mean below one.
    """

    def step(state: State) -> State:
        key, total, living = state
        key, own = jax.random.split(key)
        born = poisson(own, mean * living)
        return key, total + born, born

    def goes_on(state: State) -> Array:
        return jnp.any((state[2] > 0.0) & (state[2] < jnp.inf))

    return lax.while_loop(goes_on, step, (key, first, first))[1]
