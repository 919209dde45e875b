"""Logarithms of gamma functions, and of what is made of them, with derivatives that stay accurate
and cheap.

XLA's `lgamma` costs 26 ns an observation and its second and third derivatives call the Hurwitz
zeta function; `stirling` gives them for two logarithms and rational arithmetic. Derivatives are
functions of their own, so that programs stay small.
All functions are elementwise and follow the dtype of their input.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.custom_derivatives import SymbolicZero

from jaxglmm import stirling
from jaxglmm.needed import where_needed
from jaxglmm.stirling import HALF_LOG_2PI, SHIFT


def _kept(function: Callable[..., Any], *arguments: Array) -> Any:
    """What a function gives for all derivatives to use, and no derivative looks into."""
    return jax.lax.optimization_barrier(function(*map(jax.lax.stop_gradient, arguments)))


def log_gamma(x: Array) -> Array:
    """log Gamma(x) for x > 0; its derivatives are `polygamma(0, x)`, `polygamma(1, x)`, ..."""
    return _log_gamma(0, x, _kept(stirling.log_gamma, x))


def log_gammas(*x: Array) -> tuple[Array, ...]:
    """log_gamma of several arrays, all by the same few operations."""
    x = tuple(jnp.broadcast_arrays(*x))
    found = _kept(stirling.log_gamma, jnp.stack(x))
    return tuple(_log_gamma(0, v, tuple(f[i] for f in found)) for i, v in enumerate(x))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _log_gamma(order: int, x: Array, found: tuple[Array, ...]) -> Array:
    """A derivative of log Gamma(x), of which `found` has the first ones.

    They are computed once, whatever derivatives are asked for: a nest of k of them comes by each
    order j some k! / (j! (k - j)!) times.
    """
    return found[order] if order < len(found) else stirling.polygamma(order - 1, x)


@_log_gamma.defjvp
def _log_gamma_jvp(
    order: int, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Array, Array]:
    x, found = primals
    return _log_gamma(order, x, found), _log_gamma(order + 1, x, found) * tangents[0]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def polygamma(n: int, x: Array) -> Array:
    """The n-th derivative of digamma, x > 0; n = 0 is digamma itself."""
    return stirling.polygamma(n, x)


@polygamma.defjvp
def _polygamma_jvp(n: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    return polygamma(n, x), polygamma(n + 1, x) * dx


def log_rising(x: Array, n: Array) -> Array:
    """log Gamma(x + n) - log Gamma(x) for x > 0, n >= 0, without cancellation at large x."""
    return _log_rising(0, x, n, _kept(stirling.log_rising, x, n))


def log_rising_centred(x: Array, n: Array) -> Array:
    """log_rising(x, n) - (n log(n) - n), without cancellation at large n either."""
    power = n * jnp.log(jnp.where(n > 0, n, 1.0)) - n
    rise = functools.partial(stirling.log_rising, centred=True)
    # The value has lost the power already, its derivative in n has not.
    return _log_rising(0, x, n, _kept(rise, x, n)) - (power - jax.lax.stop_gradient(power))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _log_rising(order: int, x: Array, n: Array, found: tuple[Array, ...]) -> Array:
    """A derivative of log_rising in x, of which `found` has the first ones."""
    return found[order] if order < len(found) else stirling.log_rising(x, n, order)[order]


@functools.partial(_log_rising.defjvp, symbolic_zeros=True)
def _log_rising_jvp(
    order: int, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Array, Any]:
    (x, n, found), (dx, dn, _) = primals, tangents
    slope = _times(lambda: _log_rising(order + 1, x, n, found), dx)
    return _log_rising(order, x, n, found), slope + _times(lambda: polygamma(order, x + n), dn)


def _times(slope: Callable[[], Array], tangent: Any) -> Any:
    """The product with a tangent; nothing is computed for one that is known to be zero."""
    return 0.0 if isinstance(tangent, SymbolicZero) else slope() * tangent


def log_rising_exp(log_x: Array, n: Array) -> Array:
    """log Gamma(x + n) - log Gamma(x) at x = exp(log_x), for n = 0 or n >= 1, also as x -> 0."""
    return log_risings_exp((log_x, n))[0]


def log_risings_exp(*pairs: tuple[Array, Array]) -> tuple[Array, ...]:
    """log_rising_exp of several pairs, all by the same few operations.

    Gamma(x) = Gamma(x + 1) / x, so that for n > 0 it is log x + log_rising(x + 1, n - 1).
    """
    flat = jnp.broadcast_arrays(*(v for pair in pairs for v in pair))
    pairs = tuple(zip(flat[::2], flat[1::2], strict=True))
    beyond = [(jnp.exp(log_x) + 1.0, jnp.where(n > 0, n - 1.0, 0.0)) for log_x, n in pairs]
    x, steps = (jnp.stack(values) for values in zip(*beyond, strict=True))
    found = _kept(stirling.log_rising, x, steps)
    risen = []
    for i, ((log_x, n), (x, step)) in enumerate(zip(pairs, beyond, strict=True)):
        rise = _log_rising(0, x, step, tuple(f[i] for f in found))
        risen.append(jnp.where(n > 0, log_x + rise, 0.0))
    return tuple(risen)


def log_gamma_density_constant(nu: Array) -> Array:
    """nu log(nu) - nu - log Gamma(nu), without cancellation at large nu.

    With z = nu + 8 this is log(z)/2 - nu log1p(8 / nu) + 8 - log(2 pi)/2 - series(z) plus the
    logarithm of the shift's product divided by z^8.
    """
    z = nu + SHIFT
    ratio = nu / z
    for k in range(1, SHIFT):
        ratio = ratio * ((nu + k) / z)
    smooth = 0.5 * jnp.log(z) - nu * jnp.log1p(SHIFT / nu)
    return smooth + SHIFT - HALF_LOG_2PI - stirling.remainder(-1, 1.0 / z) + jnp.log(ratio)


_TABLE = 256  # factorials


@functools.cache
def _log_factorials() -> np.ndarray:
    return np.array([math.lgamma(k + 1.0) for k in range(_TABLE)])


@jax.custom_jvp
def log_factorial(x: Array) -> Array:
    """log x! = log Gamma(x + 1) for x > -1: of small whole numbers, which most counts are, from a
    table, at a fifth of the price; other numbers are computed where there are any."""
    small = jnp.clip(x, 0.0, _TABLE - 1.0)
    known = (small == x) & (small == jnp.floor(small))
    table = jnp.asarray(_log_factorials(), x.dtype)
    found = table[jnp.where(known, small, 0.0).astype(jnp.int32)]

    def others(x: Array) -> Array:
        return jnp.where(known, found, stirling.log_gamma(x + 1.0, 0)[0])

    return where_needed(~jnp.all(known), others, x, found)


@log_factorial.defjvp
def _log_factorial_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    return log_factorial(x), polygamma(0, x + 1.0) * dx


def log_binomial_coefficient(n: Array, y: Array) -> Array:
    """log of n! / (y! (n - y)!), for real 0 <= y <= n."""
    whole, *parts = log_factorial(jnp.stack(jnp.broadcast_arrays(n, y, n - y)))
    return whole - parts[0] - parts[1]
