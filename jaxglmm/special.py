"""Scalar special functions with derivatives that stay accurate and cheap; of gamma functions see
`gamma_functions`.

Derivatives are functions of their own, so that programs stay small.
All functions are elementwise and follow the dtype of their input.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import jax.scipy.special as jsp
from jax import Array

from jaxglmm import stirling
from jaxglmm.stirling import HALF_LOG_2PI


@jax.custom_jvp
def softplus(x: Array) -> Array:
    """log(1 + exp(x)), with the logistic function as derivative.

    log1p(e) = 2 atanh(z), z = e / (2 + e) <= 1/3 for e = exp(-|x|): an odd function, accurate in
    both tails, at a fifth of the price of XLA's log1p.
    """
    return jnp.maximum(x, 0.0) + _log1p_exp(-jnp.abs(x))


def _log1p_exp(x: Array) -> Array:
    """log(1 + exp(x)) for x <= 0."""
    e = jnp.exp(x)
    z = e / (2.0 + e)
    w = z * z
    *lower, top = _atanh_weights()
    series = jnp.full_like(x, top)
    for weight in reversed(lower):
        series = series * w + weight
    return 2.0 * z * series


@functools.cache
def _atanh_weights() -> list[float]:
    """Coefficients of a polynomial in w = z^2 for atanh(z) / z = sum_k w^k / (2 k + 1), w <= 1/9.

    Twelve from Chebyshev's nodes reach 1e-17, where the series itself takes eighteen.
    """
    return stirling.economised([1.0 / (2 * k + 1) for k in range(24)], 1.0 / 9.0, 12)


@softplus.defjvp
def _softplus_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    return softplus(x), logistic(x) * dx


@jax.custom_jvp
def logistic(x: Array) -> Array:
    """1 / (1 + exp(-x)), from the exponential that `softplus` takes, which both then share."""
    e = jnp.exp(-jnp.abs(x))
    return jnp.where(x < 0.0, e, 1.0) / (1.0 + e)


@logistic.defjvp
def _logistic_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    p = logistic(*primals)
    return p, p * (1.0 - p) * tangents[0]


@jax.custom_jvp
def softpluses(x: Array) -> tuple[Array, Array]:
    """softplus(x) and softplus(-x), by the operations of one."""
    rest = _log1p_exp(-jnp.abs(x))
    return jnp.maximum(x, 0.0) + rest, jnp.maximum(-x, 0.0) + rest


@softpluses.defjvp
def _softpluses_jvp(
    primals: tuple[Array], tangents: tuple[Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    (x,), (dx,) = primals, tangents
    p, q = _logistics(x)
    return softpluses(x), (p * dx, -q * dx)


@jax.custom_jvp
def _logistics(x: Array) -> tuple[Array, Array]:
    """p = 1 / (1 + exp(-x)) and q = 1 - p, whose derivatives are p q and -p q."""
    return jax.lax.logistic(x), jax.lax.logistic(-x)


@_logistics.defjvp
def _logistics_jvp(
    primals: tuple[Array], tangents: tuple[Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    (x,), (dx,) = primals, tangents
    p, q = _logistics(x)
    slope = p * q * dx
    return (p, q), (slope, -slope)


@jax.custom_jvp
def log1m_exp(x: Array) -> Array:
    """log(1 - exp(x)) for x < 0, accurate at both ends (Maechler 2012, `log1mexp`)."""
    near = x > -math.log(2.0)
    x_near = jnp.where(near, x, -1.0)
    x_far = jnp.where(near, -1.0, x)
    return jnp.where(near, jnp.log(-jnp.expm1(x_near)), jnp.log1p(-jnp.exp(x_far)))


@log1m_exp.defjvp
def _log1m_exp_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    return log1m_exp(x), -_exp_odds(x) * dx


@jax.custom_jvp
def _exp_odds(x: Array) -> Array:
    """q = exp(x) / (1 - exp(x)) for x < 0, whose derivative is q (1 + q)."""
    return -jnp.exp(x) / jnp.expm1(x)


@_exp_odds.defjvp
def _exp_odds_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    q = _exp_odds(x)
    return q, q * (1.0 + q) * dx


def log_softplus(x: Array) -> Array:
    """log(log(1 + exp(x))), which tends to x - exp(x) / 2 where softplus would underflow."""
    low = x < -30.0
    x_low = jnp.where(low, x, -30.0)
    high = jnp.log(softplus(jnp.where(low, 0.0, x)))
    return jnp.where(low, x_low - 0.5 * jnp.exp(x_low), high)


def log1m_exp_neg_exp(eta: Array) -> Array:
    """log(1 - exp(-x)), x = exp(eta); for small x it is eta - x/2 + x^2/24 - x^4/2880."""
    small = eta < -4.0
    x = jnp.exp(jnp.where(small, eta, -4.0))
    x2 = x * x
    series = -0.5 * x + x2 / 24.0 - x2 * x2 / 2880.0
    return jnp.where(small, eta + series, log1m_exp(-jnp.exp(jnp.where(small, 0.0, eta))))


_FAR = -8.0  # where the continued fraction takes over from phi / Phi
_MILLS_TERMS = 18  # leave 5e-15 of the fourth derivative there


@jax.custom_jvp
def log_normal_cdf(x: Array) -> Array:
    """log Phi(x); its derivatives stay accurate in both tails.

    The first is the hazard h = phi(x) / Phi(x), with h' = -h (x + h). Far below zero this cancels,
    but Mills' ratio is a continued fraction: h = t + c_1 at t = -x, c_k = k / (t + c_(k+1))
    (Abramowitz & Stegun 26.2.14). c_k / k is the ratio of two successive repeated integrals of
    Phi (7.2.5 there), so that dc_k/dt = -c_k (c_(k+1) - c_k), whose terms do not cancel.
    """
    t, q = _far_side(x), _lesser_side(x)
    far = -0.5 * t * t - HALF_LOG_2PI - jnp.log(t + _mills_tail(1, t))
    return jnp.where(x < _FAR, far, jnp.where(x < 0, jnp.log(q), jnp.log1p(-q)))


def log_mills(t: Array) -> Array:
    """log((1 - Phi(t)) / phi(t)) for t >= 0, the logarithm of Mills' ratio."""
    near = jnp.minimum(t, -_FAR)
    close = jnp.log(jsp.ndtr(-near)) + 0.5 * near * near + HALF_LOG_2PI
    far = jnp.maximum(t, -_FAR)
    return jnp.where(t > -_FAR, -jnp.log(far + _mills_tail(1, far)), close)


@log_normal_cdf.defjvp
def _log_normal_cdf_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    return log_normal_cdf(x), _hazard(x) * dx


def _far_side(x: Array) -> Array:
    """-x where the continued fraction holds."""
    return jnp.maximum(-x, -_FAR)


def _lesser_side(x: Array) -> Array:
    """Phi(-|x|) where the continued fraction does not hold."""
    return 0.5 * jax.lax.erfc(jnp.abs(jnp.maximum(x, _FAR)) * math.sqrt(0.5))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _mills_tail(k: int, t: Array) -> Array:
    """c_k of `log_normal_cdf`, from c = K + 1 over t + c for the first one left out."""
    tail = 0.5 * (jnp.sqrt(t * t + 4.0 * (_MILLS_TERMS + 1)) - t)
    for j in range(_MILLS_TERMS, k - 1, -1):
        tail = j / (t + tail)
    return tail


@_mills_tail.defjvp
def _mills_tail_jvp(k: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (t,), (dt,) = primals, tangents
    c = _mills_tail(k, t)
    return c, -c * (_mills_tail(k + 1, t) - c) * dt


@jax.custom_jvp
def _hazard(x: Array) -> Array:
    t, near, q = _far_side(x), jnp.maximum(x, _FAR), _lesser_side(x)
    ratio = jnp.exp(-0.5 * near * near - HALF_LOG_2PI) / jnp.where(x < 0, q, 1.0 - q)
    return jnp.where(x < _FAR, t + _mills_tail(1, t), ratio)


@_hazard.defjvp
def _hazard_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    h, t = _hazard(x), _far_side(x)
    c = _mills_tail(1, t)
    return h, jnp.where(x < _FAR, c * (_mills_tail(2, t) - c) - 1.0, -h * (x + h)) * dx


_NODES = 80  # of the integral in `log_bessel_k`: step at most 0.3, 25 a standard width or more
_NEGLIGIBLE = 40.0  # integrands below exp(-40) of the largest are left out


def log_bessel_k(nu: Array, x: Array) -> Array:
    """log K_nu(x) of the modified Bessel function, for nu > 0 and x > 0.

    K_nu(x) = int_0^oo exp(-x cosh t) cosh(nu t) dt (Abramowitz & Stegun 9.6.24) by the trapezoidal
    rule, whose error falls exponentially with the number of nodes for an even, analytic integrand.
    The largest integrand is near t_0 = asinh(nu / x); with c = sqrt(x^2 + nu^2) its logarithm falls
    at t_0 + s by at least c (cosh s - 1), and at t_0 - s by at least nu s^2 / (2 + s). The nodes
    span what these leave; the integral does not depend on them, and its derivatives in nu and x
    are those of the integrand at fixed nodes.
    """
    at = jax.lax.stop_gradient
    n, z = jnp.broadcast_arrays(at(nu), at(x))
    middle = jnp.arcsinh(n / z)
    decay = _NEGLIGIBLE / n
    low = jnp.maximum(middle - 0.5 * (decay + jnp.sqrt(decay * (decay + 8.0))), 0.0)
    high = middle + jnp.arccosh(1.0 + _NEGLIGIBLE / jnp.hypot(n, z))
    step = (high - low) / _NODES
    t = low + jnp.arange(_NODES + 1).reshape(-1, *[1] * low.ndim) * step
    # Half a weight at the first node: the integrand is even about zero, or negligible there.
    log_cosh = nu * t + jnp.log1p(jnp.exp(-2.0 * nu * t)) - math.log(2.0)
    terms = (log_cosh - x * jnp.cosh(t)).at[0].add(-math.log(2.0))
    return jsp.logsumexp(terms, axis=0) + jnp.log(step)
