"""Both tails of the gamma and beta laws, and the normal law's mass in a wedge.

A tail is an integral over the logarithm (or the logit) of the variable, in which the log-density is
concave: by Gauss and Legendre's rule, over the window that begins where the tail does and ends
where the integrand is negligible. The tail that is taken is the one that does not contain the peak;
the other is one less it. Where a parameter is next to zero, and with it one of the tails, that one
is taken: what is small keeps its relative precision.

XLA's own incomplete gamma and beta functions lose about eps times their parameters, and stop after
a fixed number of terms.
"""

from __future__ import annotations

import functools
import math

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.gamma_functions import log_gamma_density_constant
from jaxglmm.special import softplus

Tails = tuple[Array, Array]
"""P(X <= x) and P(X > x)."""

_NODES = 64
_NEGLIGIBLE = 40.0  # integrands below exp(-40) of the first are left out
_FAR = 30.0  # from here on exp(s) is taken out of a logarithm
_SMALL = 1e-3  # a parameter that is next to zero: its own tail is taken up to 1e-3 of the peak


@functools.cache
def gauss_legendre(num: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the rule on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(num)
    return 0.5 * (nodes + 1.0), 0.5 * weights


def unit_rule(like: Array, num: int = _NODES) -> tuple[Array, Array]:
    """The rule along a new first axis before those of `like`."""
    shape = (-1, *[1] * jnp.ndim(like))
    nodes, weights = (jnp.asarray(v, like.dtype).reshape(shape) for v in gauss_legendre(num))
    return nodes, weights


def swapped(tails: Tails) -> Tails:
    """The tails of -X at -x."""
    return tails[1], tails[0]


def gamma_tails(a: Array, log_x: Array) -> Tails:
    """P(a, x) and Q(a, x) of a gamma variable of shape a and scale 1, at x = exp(log_x).

    The lower tail is that of shape a + 2 and two terms of its series (Abramowitz & Stegun 6.5.22),
    so that it does not decay slowly however small a is.
    """
    a, log_x = jnp.broadcast_arrays(a, log_x)
    x = jnp.exp(log_x)
    lower = log_x <= jnp.log(a + _SMALL)
    shape = jnp.where(lower, a + 2.0, a)
    c = _NEGLIGIBLE / x
    # Downwards the log-density falls by at least (shape - x) s + x s^2 / (2 + s) over s, upwards by
    # (x - shape) s + x (exp(s) - 1 - s), which is more than x s^2 / 2.
    bend = jnp.where(lower, _reach(c), jnp.minimum(jnp.sqrt(2.0 * c), jnp.log(2.0 + 2.0 * c)))
    width = jnp.minimum(bend, _NEGLIGIBLE / jnp.abs(x - shape))
    node, weight = unit_rule(x)
    t = log_x - jnp.log(shape) + jnp.where(lower, -width, width) * node
    tail = width * jnp.sum(weight * _log_gamma_variable(shape, t), axis=0)
    lead = _log_gamma_variable(a, log_x - jnp.log(a)) / a * (1.0 + x / (a + 1.0))
    return _both(lower, jnp.where(lower, lead + tail, tail))


def beta_tails(a: Array, b: Array, logit_x: Array) -> Tails:
    """I_x(a, b) and I_(1-x)(b, a) of a beta variable, at x = logistic(logit_x).

    The tail is that of a + 2 (or b + 2 in the upper one) and two terms of I_x(a, b) = I_x(a + 1, b)
    + x^a (1 - x)^b / (a B(a, b)) (Abramowitz & Stegun 26.5.16).
    """
    a, b, t = jnp.broadcast_arrays(a, b, logit_x)
    lower = t <= jnp.log(a + _SMALL) - jnp.log(b + _SMALL)
    a, b, t = jnp.where(lower, a, b), jnp.where(lower, b, a), jnp.where(lower, t, -t)
    x, rest = 1.0 / (1.0 + jnp.exp(-t)), 1.0 / (1.0 + jnp.exp(t))
    more = a + 2.0
    # The log-density falls by at least slope s + bend s^2 / (2 + s) over s downwards, and by
    # more s - (more + b) log(1 + exp(t)).
    slope, bend = more * rest - b * x, (more + b) * x * rest
    width = jnp.minimum(_NEGLIGIBLE / jnp.maximum(slope, 0.0), _reach(_NEGLIGIBLE / bend))
    width = jnp.minimum(width, (_NEGLIGIBLE + (more + b) * softplus(t)) / more)
    node, weight = unit_rule(t)
    tail = width * jnp.sum(weight * _logit_beta_variable(more, b, t - width * node), axis=0)
    lead = _logit_beta_variable(a, b, t) / a * (1.0 + x * (a + b) / (a + 1.0))
    return _both(lower, lead + tail)


def normal_wedge(h: Array, low: Array, high: Array) -> Array:
    """1 / (2 pi) int_low^high exp(-h^2 (1 + u^2) / 2) / (1 + u^2) du, 0 <= low < high, h > 0.

    From zero this is Owen's T(h, high). It is meant for high - low up to 1 or h from 1 on.
    """
    far = _NEGLIGIBLE / (h * h)
    width = jnp.minimum(high - low, jnp.sqrt(2.0 * far + low * low) - low)
    node, weight = unit_rule(width)
    square = 1.0 + (low + width * node) ** 2
    values = jnp.exp(-0.5 * h * h * square) / square
    return width * jnp.sum(weight * values, axis=0) / (2 * math.pi)


def _both(lower: Array, tail: Array) -> Tails:
    tail = jnp.clip(tail, 0.0, 1.0)
    return jnp.where(lower, tail, 1.0 - tail), jnp.where(lower, 1.0 - tail, tail)


def _reach(c: Array) -> Array:
    """s with s^2 / (2 + s) = c."""
    return 0.5 * (c + jnp.sqrt(c * (c + 8.0)))


def _log_gamma_variable(a: Array, t: Array) -> Array:
    """The density of log(X / a) at t, X a gamma variable of shape a."""
    return jnp.exp(a * (t - jnp.expm1(t)) + log_gamma_density_constant(a))


def _logit_beta_variable(a: Array, b: Array, t: Array) -> Array:
    """The density of logit(X) at t, X a beta variable.

    With s = t - log(a / b) and n = a + b its logarithm falls from the peak by
    n (log1p(p expm1(s)) - p s), p = a / n, which is the same of b and -s: that of the smaller
    share has no large terms that cancel.
    """
    s, n = t - jnp.log(a) + jnp.log(b), a + b
    p, q = jnp.minimum(a, b) / n, jnp.maximum(a, b) / n
    s = jnp.where(a < b, s, -s)
    near = s < _FAR
    close = jnp.log1p(p * jnp.expm1(jnp.where(near, s, 0.0))) - p * s
    far = jnp.log(p + q * jnp.exp(-jnp.where(near, _FAR, s))) + q * s
    c = log_gamma_density_constant
    return jnp.exp(c(a) + c(b) - c(n) - n * jnp.where(near, close, far))
