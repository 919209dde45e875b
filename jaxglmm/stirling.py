"""The log-gamma function and its derivatives, several orders at once.

Stirling's series after a shift by eight: with z = x + 8 and r = 1 / z

    log Gamma(x) = (z - 1/2) log z - z + log(2 pi)/2 + E_-1(r) - sum_{k<8} log(x + k),
    (-1)^(m+1) psi_m(x) = L_m(z) + m! r^(m+1) / 2 + E_m(r) + m! sum_{k<8} (x + k)^-(m+1),
    E_m(r) = sum_k B_2k (2k + m - 1)! / (2k)! r^(2k+m),    L_0 = -log z, L_m = (m - 1)! r^m

(Abramowitz & Stegun 1964, 6.1.40, 6.3.18, 6.4.11). All orders share the reciprocals, and a program
that asks for a function with its derivatives holds each of them once.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

SHIFT = 8
ORDERS = 4  # psi_0, ..., psi_3: what four derivatives of log Gamma ask for
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
_TERMS = 15  # of Stirling's series leave 1e-20 at z = 8


@functools.cache
def _bernoulli() -> list[Fraction]:
    """B_0, B_1, ..., B_(2 _TERMS), by their recurrence."""
    found = [Fraction(1)]
    for n in range(1, 2 * _TERMS + 1):
        total = sum((math.comb(n + 1, k) * b for k, b in enumerate(found)), Fraction(0))
        found.append(-total / (n + 1))
    return found


@functools.cache
def weights(m: int) -> list[float]:
    """Coefficients of a polynomial in r^2 for E_m(r) / r^(m+2), r <= 1/8.

    Seven from Chebyshev's nodes leave 1e-17 of psi_m, where the series itself takes ten.
    """
    series = [
        Fraction(math.factorial(2 * k + m - 1), math.factorial(2 * k)) * _bernoulli()[2 * k]
        for k in range(1, _TERMS + 1)
    ]
    return economised([float(c) for c in series], SHIFT**-2, 7 if m < ORDERS else 10)


def economised(series: list[float], end: float, count: int) -> list[float]:
    """The `count` coefficients of the polynomial that has the power series' values at Chebyshev's
    nodes of [0, end]."""
    nodes = 0.5 + 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / count)
    values = np.polyval(series[::-1], end * nodes)
    found = np.linalg.solve(np.vander(nodes, increasing=True), values)
    return [float(c / end**k) for k, c in enumerate(found)]


def remainder(m: int, r: Array) -> Array:
    """E_m(r)."""
    r2 = r * r
    *lower, top = weights(m)
    total = jnp.full_like(r, top)
    for coefficient in reversed(lower):
        total = total * r2 + coefficient
    return total * r ** (m + 2)


def _psi(m: int, r: Array, log_z: Array, powers: list[Array]) -> Array:
    """psi_m(x), from 1 / z, log z and (x + k)^-(m+1)."""
    lead = -log_z if m == 0 else math.factorial(m - 1) * r**m
    whole = math.factorial(m) * (0.5 * r ** (m + 1) + sum(powers[1:], powers[0]))
    return (-1.0) ** (m + 1) * (lead + whole + remainder(m, r))


@functools.partial(jax.jit, static_argnums=(0,))
def polygamma(m: int, x: Array) -> Array:
    """psi_m(x) for x > 0."""
    z = x + SHIFT
    powers = [(1.0 / (x + k)) ** (m + 1) for k in range(SHIFT)]
    return _psi(m, 1.0 / z, jnp.log(z), powers)


@functools.partial(jax.jit, static_argnums=(1,))
def log_gamma(x: Array, orders: int = ORDERS) -> tuple[Array, ...]:
    """log Gamma(x) and psi_0, psi_1, ... for x > 0."""
    z = x + SHIFT
    r, log_z = 1.0 / z, jnp.log(z)
    places = [x, *(x + k for k in range(1, SHIFT))]
    # The shift's product over z^8: 8 log z joins the first term.
    ratio = places[0] * r
    for place in places[1:]:
        ratio = ratio * (place * r)
    smooth = (x - 0.5) * log_z - z + HALF_LOG_2PI
    found = [smooth + remainder(-1, r) - jnp.log(ratio)]
    reciprocals = [1.0 / place for place in places]
    powers = reciprocals
    for m in range(orders):
        found.append(_psi(m, r, log_z, powers))
        powers = [p * t for p, t in zip(powers, reciprocals, strict=True)]
    return tuple(found)


def _rise(m: int, ends: Array, log1p: Array, lead: Array, powers: Array, shift: Array) -> Array:
    """psi_m(x + n) - psi_m(x).

    Of r^m and r^(m+1), `ends` being r at x + n and at x, the differences are `lead` and `powers`;
    `shift` is that of the sum. None of them cancels; the remainder's is 1e-2 of the whole at most.
    """
    first = -log1p if m == 0 else math.factorial(m - 1) * lead
    left = remainder(m, ends)
    whole = math.factorial(m) * (0.5 * powers + shift)
    return (-1.0) ** (m + 1) * (first + whole + (left[0] - left[1]))


@functools.partial(jax.jit, static_argnums=(2, 3))
def log_rising(
    x: Array, n: Array, orders: int = ORDERS, centred: bool = False
) -> tuple[Array, ...]:
    """log Gamma(x + n) - log Gamma(x), and the same differences of psi_0, psi_1, ..., for x > 0;
    `centred` takes n log(n) - n off the first, which cancels at large n otherwise.

    None cancels at large x. S(z + n) - S(z) = (z - 1/2) log1p(n / z) + n log(z + n) - n + E, where
    n log(z + n) = n log(n) + n log1p(z / n); with
    s_k = 1 / (x + n + k) and t_k = 1 / (x + k) the difference of their powers is
    s^(m+1) - t^(m+1) = s (s^m - t^m) - n s t^(m+1).
    """
    x, n = jnp.broadcast_arrays(x, n)
    z = x + SHIFT
    r, s = 1.0 / z, 1.0 / (z + n)
    log1p, ends = jnp.log1p(n * r), jnp.stack([s, r])
    t = [1.0 / (x + k) for k in range(SHIFT)]
    u = [1.0 / (x + n + k) for k in range(SHIFT)]
    product = 1.0 + n * t[0]
    for reciprocal in t[1:]:
        product = product * (1.0 + n * reciprocal)
    left = remainder(-1, ends)
    beside = n * jnp.log1p(z / jnp.where(n > 0, n, 1.0)) if centred else n * jnp.log(z + n) - n
    smooth = (z - 0.5) * log1p + beside
    found = [smooth + (left[0] - left[1]) - jnp.log(product)]
    # The powers of the shift's terms, then those of r: s^m, t^m and their difference.
    up, low = [*u, s], [*t, r]
    moved = [-n * a * b for a, b in zip(up, low, strict=True)]
    step, power, lead = moved, low, jnp.zeros_like(r)
    for m in range(orders):
        found.append(_rise(m, ends, log1p, lead, moved[-1], sum(moved[1:-1], moved[0])))
        lead = moved[-1]
        moved = [a * d + p * e for a, d, p, e in zip(up, moved, power, step, strict=True)]
        power = [p * b for p, b in zip(power, low, strict=True)]
    return tuple(found)
