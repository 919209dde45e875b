"""Draws that several laws are made of, and those of laws that are known by their density."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxglmm.gamma_functions import log_binomial_coefficient
from jaxglmm.special import softplus

State = tuple[Array, Array, Array]

_FEW = 30.0  # counts of no larger mean are found step by step
_MANY = 1e5  # a variance from which a quantile by its expansion is right to 1e-6 of its deviation
_ALL_ALIKE = 1e30  # gamma variables of this shape and beyond are their mean


def poisson(key: Array, rate: Array) -> Array:
    """Poisson counts: by inversion, by rejection (Hoermann 1993, Insurance: Mathematics and
    Economics 12:39-45, algorithm PTRS), or large ones by the expansion of their quantiles."""
    steps, rejected, expanded = jax.random.split(key, 3)
    few = jnp.minimum(rate, _FEW)
    drawn = _counted(steps, jnp.exp(-few), lambda k: few / k)
    some = jnp.clip(rate, _FEW, _MANY)
    b = 0.931 + 2.53 * jnp.sqrt(some)
    hat = Hat(
        centre=some + 0.43,
        a=-0.059 + 0.02483 * b,
        b=b,
        scale=1.1239 + 1.1328 / (b - 3.4),
        squeeze=0.9277 - 3.6224 / (b - 2.0),
    )

    def log_p(k: Array) -> Array:
        return k * jnp.log(some) - some - lax.lgamma(k + 1.0)

    drawn = _rejected(rejected, hat, log_p, jnp.inf, drawn, (rate > _FEW) & (rate <= _MANY))
    many = jnp.maximum(rate, _MANY)
    root = jnp.sqrt(many)
    drawn = _expanded(expanded, many, root, 1.0 / root, 1.0 / many, drawn, rate > _MANY)
    return jnp.where(jnp.isnan(rate), jnp.nan, drawn)


def binomial(key: Array, trials: Array, p: Array) -> Array:
    """Numbers of successes: by inversion, by rejection (Hoermann 1993, Journal of Statistical
    Computation and Simulation 46:101-110, algorithm BTRS), or large ones by the expansion of their
    quantiles. NaN where p is no probability."""
    steps, rejected, expanded = jax.random.split(key, 3)
    trials, p = jnp.broadcast_arrays(jnp.asarray(trials, p.dtype), p)
    q = jnp.minimum(p, 1.0 - p)  # the rarer of success and failure
    odds, mean = q / (1.0 - q), trials * q
    is_few = mean <= _FEW
    small = jnp.where(is_few, trials, 0.0)
    first = jnp.exp(small * jnp.log1p(-q))
    drawn = _counted(steps, first, lambda k: jnp.maximum(small - k + 1.0, 0.0) / k * odds)
    n, log_odds = jnp.maximum(trials, _FEW), jnp.log(jnp.maximum(odds, jnp.finfo(p.dtype).tiny))
    sd = jnp.sqrt(jnp.maximum(mean * (1.0 - q), _FEW / 2.0))
    b = 1.15 + 2.53 * sd
    hat = Hat(
        centre=mean + 0.5,
        a=-0.0873 + 0.0248 * b + 0.01 * q,
        b=b,
        scale=(2.83 + 5.1 / b) * sd,
        squeeze=0.92 - 4.2 / b,
    )
    mode = jnp.floor((n + 1.0) * q)

    def log_p(k: Array) -> Array:
        return log_binomial_coefficient(n, k) + k * log_odds

    top = log_p(mode)
    waiting = ~is_few & (sd * sd <= _MANY)
    drawn = _rejected(rejected, hat, lambda k: log_p(k) - top, n, drawn, waiting)
    skew, excess = (1.0 - 2.0 * q) / sd, (1.0 - 6.0 * q * (1.0 - q)) / sd**2
    drawn = _expanded(expanded, mean, sd, skew, excess, drawn, sd * sd > _MANY)
    drawn = jnp.minimum(jnp.maximum(drawn, 0.0), trials)
    drawn = jnp.where(p > 0.5, trials - drawn, drawn)
    return jnp.where((q >= 0.0) & (trials >= 0.0), drawn, jnp.nan)


def _counted(key: Array, first: Array, ratio: Callable[[Array], Array]) -> Array:
    """Counts k by inversion: of the partial sums of p(0) = first, p(k) = p(k - 1) ratio(k), those
    that a uniform variable reaches."""
    u = jax.random.uniform(key, first.shape, first.dtype)

    def goes_on(state: tuple[Array, Array, Array, Array]) -> Array:
        _, p, total, _ = state
        return jnp.any((u >= total) & (p > 0.0))

    def step(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        k, p, total, drawn = state
        drawn, p = drawn + (u >= total), p * ratio(k)
        return k + 1.0, p, total + p, drawn

    start = (jnp.ones((), first.dtype), first, first, jnp.zeros_like(first))
    return lax.while_loop(goes_on, step, start)[3]


class Hat(NamedTuple):
    """Of the transformed rejection: k = floor((2 a / (1/2 - |u|) + b) u + centre) for u uniform on
    (-1/2, 1/2), and what is accepted of that."""

    centre: Array
    a: Array
    b: Array
    scale: Array
    squeeze: Array


def _rejected(
    key: Array,
    hat: Hat,
    log_p: Callable[[Array], Array],
    most: Array | float,
    drawn: Array,
    waiting: Array,
) -> Array:
    """Counts up to `most` of a law of log density log_p, in place of those that wait."""
    least = jnp.finfo(drawn.dtype).tiny

    def step(state: State) -> State:
        key, drawn, waiting = state
        key, own = jax.random.split(key)
        u, v = jax.random.uniform(own, (2, *drawn.shape), drawn.dtype)
        u = u - 0.5
        left = jnp.maximum(0.5 - jnp.abs(u), least)
        k = jnp.floor((2.0 * hat.a / left + hat.b) * u + hat.centre)
        inside = (k >= 0.0) & (k <= most) & (k < jnp.inf)
        log_hat = jnp.log(v * hat.scale / (hat.a / (left * left) + hat.b))
        under = log_hat <= log_p(jnp.where(inside, k, 0.0))
        taken = waiting & inside & (((left >= 0.07) & (v <= hat.squeeze)) | under)
        return key, jnp.where(taken, k, drawn), waiting & ~taken

    return lax.while_loop(lambda state: jnp.any(state[2]), step, (key, drawn, waiting))[1]


def _expanded(
    key: Array,
    mean: Array,
    sd: Array,
    skew: Array,
    excess: Array,
    drawn: Array,
    waiting: Array,
) -> Array:
    """Rounded quantiles by Cornish and Fisher's expansion to the second order, in place of those
    that wait; a loop, so that nothing is computed where none does."""

    def step(state: State) -> State:
        key, own = jax.random.split(state[0])
        z = jax.random.normal(own, mean.shape, mean.dtype)
        bent = skew * (z * z - 1.0) / 6.0 + excess * (z**3 - 3.0 * z) / 24.0
        found = mean + sd * (z + bent - skew**2 * (2.0 * z**3 - 5.0 * z) / 36.0)
        return key, jnp.where(waiting, jnp.floor(found + 0.5), state[1]), jnp.zeros_like(waiting)

    return lax.while_loop(lambda state: jnp.any(state[2]), step, (key, drawn, waiting))[1]


def log_gamma_variable(key: Array, shape: Array) -> Array:
    """Logarithms of gamma variables of scale 1, which stay finite for small shapes.

    Marsaglia & Tsang (2000), ACM Transactions on Mathematical Software 26:363-372; of a shape a
    below one as U^(1/a) times one of shape a + 1. NaN for negative shapes.
    """
    own, key = jax.random.split(key)
    small = shape < 1.0
    d = jnp.minimum(jnp.where(small, shape + 1.0, shape), _ALL_ALIKE) - 1.0 / 3.0
    c = lax.rsqrt(9.0 * d)

    def step(state: State) -> State:
        key, drawn, waiting = state
        key, *own = jax.random.split(key, 3)
        x = jax.random.normal(own[0], shape.shape, shape.dtype)
        u = jax.random.uniform(own[1], shape.shape, shape.dtype)
        e = jnp.maximum(c * x, -1.0)
        log_v = jnp.log1p(e)
        # x^2 / 2 + d (1 - v^3 + 3 log(v)) for v = 1 + e
        limit = 0.5 * x * x + d * (3.0 * (log_v - e) - e * e * (3.0 + e))
        taken = waiting & (e > -1.0) & (jnp.log(u) < limit)
        return key, jnp.where(taken, jnp.log(d) + 3.0 * log_v, drawn), waiting & ~taken

    known = shape >= 0.0
    start = (key, jnp.full_like(shape, jnp.nan), known)
    drawn = lax.while_loop(lambda state: jnp.any(state[2]), step, start)[1]
    least = jnp.finfo(shape.dtype).tiny
    u = jax.random.uniform(own, shape.shape, shape.dtype, minval=least)
    return drawn + jnp.where(small, jnp.log(u) / jnp.where(small, shape, 1.0), 0.0)


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
