"""Sums over the support of the Conway-Maxwell-Poisson law, and their derivatives.

With c = mu, z = x + 1 and u(x) = -(log x! - log c! - (x - c) log(c + 1)) the law is

    p(x) = exp(G(x)) / sum exp(G),    G(x) = (x - c) delta + nu u(x),

where delta = log lambda - nu log(c + 1) is a small number that solves E x = mu. For a fixed c,
(delta, nu) are natural parameters: derivatives of log sum exp(G) are the joint cumulants K(a, b)
of x and u. With g = mu / K(2, 0) and k = -K(1, 1) / K(2, 0)

    d delta = g d log mu + k d nu,    d E u = K(1, 1) d delta + K(0, 2) d nu,
    d K(a, b) = K(a + 1, b) d delta + K(a, b + 1) d nu,

so that any derivative of delta and E u in (log mu, nu) is a polynomial in mu and the cumulants,
all over K(2, 0): `_polynomial`. The centre c and the nodes are constants under differentiation.

The sums run over 80 nodes with weights. They lie in a window outside which p is negligible; with
r = lambda^(1/nu) the log-density falls from its peak near r by nu r h(x / r),
h(t) = t log t - t + 1, for which h(1 + s) >= s^2 / (2 + 2 s / 3) and h(1 - s) >= s^2 / 2.

- A window of at most 80 counts is summed as it is.
- A longer one that begins above zero: the trapezoidal rule with a step above one. The terms are
  then a smooth bell of four steps or more a standard deviation: the error is below rounding.
- A longer one that begins at zero: the counts next to zero one by one, the others by Euler and
  Maclaurin's formula (see `jaxglmm.families.summation`), with Gauss and Legendre's rule.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.custom_derivatives import SymbolicZero

from jaxglmm.families.summation import SPLIT, UNIT, edge_weights
from jaxglmm.tails import gauss_legendre

NUM_NODES = 80
_NEGLIGIBLE = 36.0  # terms below exp(-36) of the largest are left out
_NARROW = 10.0  # nu / (mu + 1) from which a variance is below a tenth
_STEPS = 3  # of fourth order, from a start within a tenth of a standard deviation
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)  # 1e-16 from z = 16 on
_NEAR = 16


class Lattice(NamedTuple):
    """What the sums need: `shift` x - c and `own` u(x) of the nodes with their probabilities.

    Nodes run along the first axis; mu, delta and log_total (log sum exp(G)) are the rows'. What
    does not depend on x is left out of u, and so of log_total.
    """

    shift: Array
    own: Array
    probability: Array
    mu: Array
    delta: Array
    log_total: Array


def lattice(log_mu: Array, nu: Array) -> Lattice:
    """The law of mean exp(log_mu); not to be differentiated."""
    log_mu, nu = jnp.broadcast_arrays(log_mu, nu)
    mu = jnp.exp(log_mu)
    tau = _approximate_rate(log_mu, mu, nu)
    x, weights = _nodes(tau, nu)
    shift = x - mu
    own = _own(x, mu, jnp.log1p(shift / (mu + 1.0)))

    def terms_at(delta: Array) -> Array:
        return weights * jnp.exp(shift * delta + nu * own)

    delta = jax.lax.fori_loop(
        0,
        _STEPS,
        lambda _, delta: delta + _step(shift, terms_at(delta)),
        tau - nu * jnp.log1p(mu),
    )
    terms = terms_at(delta)
    total = jnp.sum(terms, axis=0)
    return Lattice(shift, own, terms / total, mu, delta, jnp.log(total))


def _approximate_rate(log_mu: Array, mu: Array, nu: Array) -> Array:
    """log lambda within a tenth of a standard deviation of the mean.

    For large means the expansion lambda^(1/nu) = mu + (nu - 1) / (2 nu) + (nu^2 - 1) / (24 nu^2
    lambda^(1/nu)) (Gaunt et al. 2019, Ann. Inst. Stat. Math. 71:163-180). For small ones d mu /
    d log lambda = mu (1 + a mu) / (1 + b mu), with a - b = 2^(1 - nu) - 1, the exact quadratic
    term, and a / b = 1 / nu, the limit for large means; exact for nu = 0 and 1. Of a narrow law
    only the three counts about the mean matter (`_three_counts`).
    """
    apart = 1.0 - nu
    near = jnp.abs(apart) < 1e-4
    a = jnp.where(near, math.log(2.0), jnp.expm1(apart * math.log(2.0)) / jnp.where(near, 1, apart))
    small = log_mu - apart * jnp.log1p(a * mu)
    large_mean = (nu * mu > 1.1) & (mu > 0.8)
    root = jnp.maximum(jnp.where(large_mean, mu, 1.0) - 0.5 * apart / nu, 0.3)
    root = root + (nu * nu - 1.0) / (24.0 * nu * nu * root)
    bell = jnp.where(large_mean, nu * jnp.log(jnp.maximum(root, 0.3)), small)
    return jnp.where(nu > _NARROW * (mu + 1.0), _three_counts(mu, nu), bell)


def _three_counts(mu: Array, nu: Array) -> Array:
    """log lambda of the law on k - 1, k and k + 1 alone, k the count next to mu.

    With a = p(k + 1) / p(k), p(k - 1) / p(k) = q^2 / a where q^2 = (k / (k + 1))^nu, and the mean
    k + e gives (1 - e) a^2 - e a - (1 + e) q^2 = 0. The next count has e^-10 of its neighbour.
    """
    k = jnp.round(mu)
    e = mu - k
    q2 = (k / (k + 1.0)) ** nu
    root = jnp.sqrt(e * e + 4.0 * q2 * (1.0 - e * e))
    up = (root + e) / (2.0 * (1.0 - e))
    down = 2.0 * q2 * (1.0 + e) / jnp.where(e < 0.0, root - e, 1.0)
    smallest = jnp.finfo(mu.dtype).tiny
    return jnp.log(jnp.maximum(jnp.where(e < 0.0, down, up), smallest)) + nu * jnp.log1p(k)


def _nodes(tau: Array, nu: Array) -> tuple[Array, Array]:
    """Nodes and weights of the sums over x = 0, 1, ...; shapes (node, ...)."""
    r = jnp.exp(tau / nu)
    c = _NEGLIGIBLE / nu
    low = jnp.floor(jnp.maximum(r - jnp.sqrt(2.0 * c * r), 0.0))
    high = r + c / 3.0 + jnp.sqrt(c * c / 9.0 + 2.0 * c * r)
    # p(x) <= p(0) lambda^x for lambda < 1.
    high = jnp.where(tau < 0, jnp.minimum(high, _NEGLIGIBLE / jnp.maximum(-tau, 1e-30)), high)
    k = np.arange(NUM_NODES).reshape(-1, *[1] * r.ndim)
    width = high - low
    wide = width > NUM_NODES - 1
    step = jnp.where(wide, width / (NUM_NODES - 1), 1.0)
    edge = wide & (low == 0.0)
    span = high - SPLIT
    at, weight, on_span, weight_span = (
        jnp.asarray(v.reshape(k.shape), r.dtype) for v in _edge_rule()
    )
    x = jnp.where(edge, at + span * on_span, low + k * step)
    return x, jnp.where(edge, weight + span * weight_span, step)


@functools.cache
def _edge_rule() -> tuple[np.ndarray, ...]:
    """Nodes x + span s and weights w + span v of the rule for windows that begin at zero.

    Returns x, w, s, v; shape (node,).
    """
    nodes, gauss = gauss_legendre(NUM_NODES - UNIT)
    at = np.append(np.arange(UNIT, dtype=float), np.full(nodes.shape, float(SPLIT)))
    none = np.zeros(UNIT)
    weight = np.append(edge_weights(), np.zeros_like(gauss))
    return at, weight, np.append(none, nodes), np.append(none, gauss)


@functools.cache
def _table() -> np.ndarray:
    """Stirling's remainder log Gamma(z) - (z - 1/2) log z + z - log(2 pi)/2 at z = 1, ..., 15."""
    half = 0.5 * math.log(2.0 * math.pi)
    return np.array([math.lgamma(z) - (z - 0.5) * math.log(z) + z - half for z in range(1, _NEAR)])


def _own(x: Array, mu: Array, log_ratio: Array) -> Array:
    """u(x) but for its part that does not depend on x: with z = x + 1,

    x - mu - (z - 1/2) log_ratio - (Stirling's remainder at z), log_ratio = log(z / (mu + 1)).

    The remainder is right for whole x and from x = 15 on; other nodes have no weight to speak of.
    """
    z = x + 1.0
    r = 1.0 / jnp.maximum(z, _NEAR)
    total = jnp.full_like(r, _STIRLING[-1])
    for coefficient in reversed(_STIRLING[:-1]):
        total = total * r * r + coefficient
    nearby = jnp.asarray(_table(), x.dtype)[jnp.clip(x, 0, _NEAR - 2).astype(jnp.int32)]
    remainder = jnp.where(z < _NEAR, nearby, total * r)
    return x - mu - (z - 0.5) * log_ratio - remainder


@jax.jit
def _own_of_count(y: Array, mu: Array) -> Array:
    """The same for any count, however far from mu."""
    ratio = (y + 1.0) / (mu + 1.0)
    near = jnp.log1p((y - mu) / (mu + 1.0))
    return _own(y, mu, jnp.where(ratio < 0.5, jnp.log(ratio), near))


def _step(shift: Array, terms: Array) -> Array:
    """The step of delta that brings the mean to mu, by inverting four cumulants' series."""
    total = jnp.sum(terms, axis=0)
    powers, product = [], terms
    for _ in range(4):
        product = product * shift
        powers.append(jnp.sum(product, axis=0) / total)
    d, s2, s3, s4 = powers
    k2 = s2 - d * d
    k3 = s3 - 3.0 * d * s2 + 2.0 * d**3
    k4 = s4 - 4.0 * d * s3 + 6.0 * d * d * s2 - 3.0 * d**4 - 3.0 * k2 * k2
    newton = jnp.clip(-d / k2, -3.0, 3.0)
    skew = k3 / k2
    bend = 0.5 * newton * skew
    curl = newton * newton * (3.0 * skew * skew - k4 / k2) / 6.0
    return newton * jnp.clip(1.0 - bend + curl, 0.3, 2.0)


Pair = tuple[int, int]
Kind = Literal["rate", "own"]  # delta and E u
_MEAN = (0, 0)  # stands for mu among the cumulants (a, b)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _slope(kind: Kind, times: Pair, log_mu: Array, nu: Array, sums: Lattice) -> Array:
    """The derivative of delta or E u, so many times in log mu and in nu."""
    del log_mu, nu
    return _value(kind, times, sums)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _value(kind: Kind, times: Pair, sums: Lattice) -> Array:
    """Its value: a program of its own, as a nest of derivatives asks for it time and again."""
    if times == (0, 0):
        return jnp.sum(sums.probability * sums.own, axis=0)
    central = sums.own - jnp.sum(sums.probability * sums.own, axis=0)

    @functools.cache
    def moment(a: int, b: int) -> Array | float:
        if a + b < 2:
            return 1.0 - (a + b)
        return jnp.sum(sums.probability * sums.shift**a * central**b, axis=0)

    @functools.cache
    def cumulant(a: int, b: int) -> Array | float:
        """K(n) = M(n) - sum_k C(n - e, k) K(k + e) M(n - e - k), 0 < |n - e - k|, e a unit pair."""
        i, j = (a - 1, b) if a else (a, b - 1)
        total = moment(a, b)
        for k, m in itertools.product(range(i + 1), range(j + 1)):
            low = (k + a - i, m + b - j)
            if sum(low) > 1 and i - k + j - m > 1:
                ways = math.comb(i, k) * math.comb(j, m)
                total = total - ways * cumulant(*low) * moment(i - k, j - m)
        return total

    spread = cumulant(2, 0)
    value = jnp.zeros_like(sums.mu)
    for monomial, coefficient in _polynomial(kind, times).items():
        term = jnp.full_like(value, coefficient)
        for symbol in monomial:
            term = term * ((sums.mu if symbol == _MEAN else cumulant(*symbol)) / spread)
        value = value + term
    return value if kind == "rate" else value * spread


@functools.partial(_slope.defjvp, symbolic_zeros=True)
def _slope_jvp(
    kind: Kind,
    times: Pair,
    primals: tuple[Array, Array, Lattice],
    tangents: tuple[Array, Array, Lattice],
) -> tuple[Array, Array]:
    value = _slope(kind, times, *primals)
    return value, jnp.broadcast_to(_along(kind, times, primals, *tangents[:2]), value.shape)


def _along(
    kind: Kind, times: Pair, primals: tuple[Array, Array, Lattice], d_log_mu: Any, d_nu: Any
) -> Array | float:
    """The tangent of a slope; none is computed along a variable that does not move."""
    i, j = times
    total = 0.0
    if not isinstance(d_log_mu, SymbolicZero):
        total = total + _slope(kind, (i + 1, j), *primals) * d_log_mu
    if not isinstance(d_nu, SymbolicZero):
        total = total + _slope(kind, (i, j + 1), *primals) * d_nu
    return total


Polynomial = dict[tuple[Pair, ...], int]
"""Coefficients by monomial: the sorted symbols of its factors, all of them over K(2, 0)."""


@functools.cache
def _polynomial(kind: Kind, times: Pair) -> Polynomial:
    """Of a derivative of delta, or of one of E u over K(2, 0)."""
    first: dict[tuple[Kind, Pair], Polynomial] = {
        ("rate", (1, 0)): {(_MEAN,): 1},
        ("rate", (0, 1)): {((1, 1),): -1},
        ("own", (1, 0)): {(_MEAN, (1, 1)): 1},
        ("own", (0, 1)): {((0, 2),): 1, ((1, 1), (1, 1)): -1},
    }
    if (kind, times) in first:
        return first[kind, times]
    i, j = times
    by_mean = i > 1 or (i == 1 and j > 0)
    lower = _polynomial(kind, (i - 1, j) if by_mean else (i, j - 1))
    degree = 0 if kind == "rate" else 1
    found: Polynomial = {}
    for monomial, coefficient in lower.items():
        # prod(s / K20) K20^degree: every factor moves, and so does the power of K20.
        for place, symbol in enumerate(monomial):
            rest = (*monomial[:place], *monomial[place + 1 :])
            for factors, sign in _moved(symbol, by_mean):
                _add(found, (*rest, *factors), sign * coefficient)
        for factors, sign in _moved((2, 0), by_mean):
            _add(found, (*monomial, *factors), sign * coefficient * (degree - len(monomial)))
    return {monomial: coefficient for monomial, coefficient in found.items() if coefficient}


def _moved(symbol: Pair, by_mean: bool) -> list[tuple[tuple[Pair, ...], int]]:
    """The derivative of a symbol over K(2, 0), as (factors, coefficient) pairs."""
    a, b = symbol
    if symbol == _MEAN:
        return [((_MEAN,), 1)] if by_mean else []
    if by_mean:
        return [((_MEAN, (a + 1, b)), 1)]
    return [(((a, b + 1),), 1), (((1, 1), (a + 1, b)), -1)]


def _add(into: Polynomial, factors: tuple[Pair, ...], coefficient: int) -> None:
    monomial = tuple(sorted(s for s in factors if s != (2, 0)))
    into[monomial] = into.get(monomial, 0) + coefficient


@jax.custom_jvp
def log_density(y: Array, log_mu: Array, nu: Array, sums: Lattice) -> Array:
    """log p(y) of the law of mean exp(log_mu), elementwise; `sums` is its `lattice`."""
    del log_mu
    return (y - sums.mu) * sums.delta + nu * _own_of_count(y, sums.mu) - sums.log_total


@functools.partial(log_density.defjvp, symbolic_zeros=True)
def _log_density_jvp(
    primals: tuple[Array, Array, Array, Lattice], tangents: tuple[Array, Array, Array, Lattice]
) -> tuple[Array, Array]:
    y, log_mu, nu, sums = primals
    _, d_log_mu, d_nu, _ = tangents
    at = (log_mu, nu, sums)
    slope = (y - jnp.exp(log_mu)) * _along("rate", (0, 0), at, d_log_mu, d_nu)
    if not isinstance(d_nu, SymbolicZero):
        slope = slope + (_own_of_count(y, sums.mu) - _slope("own", (0, 0), *at)) * d_nu
    return log_density(*primals), slope


def variance(sums: Lattice) -> Array:
    """Var y."""
    return jnp.sum(sums.probability * sums.shift**2, axis=0)
