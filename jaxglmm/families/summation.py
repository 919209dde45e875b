"""Sums over many counts by few terms: nodes and weights for sum_(x = low..high) f(x).

A range of at most `NUM_NODES` counts is summed as it is. Of a longer one the counts next to both
ends are, up to a split 31 from each; between the splits Euler and Maclaurin's formula,

    sum_(x >= 31) f = int f + f(31) / 2 - sum_k B_2k / (2k)! f^(2k-1)(31),

takes central differences over the counts 23, ..., 39 for the derivatives and Gauss and Legendre's
rule for the integral. There x is a polynomial of the rule's variable t whose first three
derivatives vanish at the ends: f may be singular just beyond them, as y^-1.5 at zero.
"""

from __future__ import annotations

import functools
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.tails import gauss_legendre

UNIT, SPLIT, _REACH = 40, 31, 8
_INNER = 128
NUM_NODES = 2 * UNIT + _INNER
_BERNOULLI = ("1/6", "-1/30", "1/42", "-1/30", "5/66", "-691/2730", "7/6", "-3617/510")


def sum_rule(low: Array, high: Array) -> tuple[Array, Array]:
    """Nodes and weights (node, ...) for the counts low, ..., high; no weight where high < low."""
    low, high = jnp.broadcast_arrays(low, high)
    shape = (-1, *[1] * low.ndim)
    place = np.arange(NUM_NODES, dtype=float)
    at, weight, share = (jnp.asarray(v.reshape(shape), low.dtype) for v in _long_rule())
    k = jnp.asarray(place.reshape(shape), low.dtype)
    short = high - low < NUM_NODES
    span = high - low - 2 * SPLIT
    upper = k >= UNIT + _INNER
    inner = (k >= UNIT) & ~upper
    x = jnp.where(upper, high - at, low + at + jnp.where(inner, span * share, 0.0))
    plain = jnp.minimum(low + k, jnp.maximum(high, low))
    weights = jnp.where(inner, span * weight, weight)
    counted = (low + k <= high).astype(low.dtype)
    return jnp.where(short, plain, x), jnp.where(short, counted, weights)


@functools.cache
def _long_rule() -> tuple[np.ndarray, ...]:
    """Distances from the nearer end, weights, and shares of the span between the splits."""
    t, gauss = gauss_legendre(_INNER)
    share = t**4 * (35.0 - 84.0 * t + 70.0 * t**2 - 20.0 * t**3)
    slope = 140.0 * (t * (1.0 - t)) ** 3
    unit, edge = np.arange(UNIT, dtype=float), edge_weights()
    none = np.zeros(UNIT)
    at = np.concatenate([unit, np.full(_INNER, float(SPLIT)), unit])
    weight = np.concatenate([edge, gauss * slope, edge])
    return at, weight, np.concatenate([none, share, none])


@functools.cache
def edge_weights() -> np.ndarray:
    """Weights of the counts 0, ..., 39 for the sum less the integral from 31 on; shape (40,).

    The central differences are exact for polynomials of degree 16:
    sum_i d_i (f(i) - f(-i)) = -sum_k B_2k / (2k)! f^(2k-1)(0).
    """
    weight = (np.arange(UNIT) < SPLIT).astype(float)
    weight[SPLIT] = 0.5
    powers = range(1, 2 * _REACH, 2)
    rows = [[Fraction(2 * i**n) for i in range(1, _REACH + 1)] for n in powers]
    sides = [-Fraction(b) / (n + 1) for n, b in zip(powers, _BERNOULLI, strict=True)]
    for i, d in enumerate(_solve(rows, sides), start=1):
        weight[SPLIT + i] += float(d)
        weight[SPLIT - i] -= float(d)
    return weight


def _solve(rows: list[list[Fraction]], sides: list[Fraction]) -> list[Fraction]:
    """The exact solution of a regular linear system, by elimination without pivoting."""
    table = [[*row, side] for row, side in zip(rows, sides, strict=True)]
    for i, pivot in enumerate(table):
        pivot[:] = [v / pivot[i] for v in pivot]
        for other in (row for row in table if row is not pivot):
            other[:] = [v - other[i] * p for v, p in zip(other, pivot, strict=True)]
    return [row[-1] for row in table]
