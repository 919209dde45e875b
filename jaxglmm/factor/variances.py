"""Variances of random effects of large crossed factors: the diagonal blocks of H^-1.

Those of H~^-1 = [-K; I] S~^-1 [-K; I]' + I_DD, unscaled. With E = I - S~,

    S~^-1 = I + E + E S~^-1 E,

where I is exact, E has no diagonal blocks, and the last term is exact on eigenvectors of S~
that one Krylov space holds, an average of squares elsewhere: inner blocks never fall below
M^-1. In leading blocks K E K' is an average too.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.factor import joined, krylov, small
from jaxglmm.factor.complement import Complement, congruent, plus_identity
from jaxglmm.factor.probes import average
from jaxglmm.predictor import Effects


def covariance_blocks(of: Complement, probes: Effects) -> Effects:
    """H^-1 within each level, by factor; (column, column, level)."""
    scaled = of.scaled
    ones = jnp.ones((of.size,), scaled.own[0].dtype)
    space = krylov.lanczos(of.product, ones)
    known = krylov.ritz(space)

    def lead(x: Array) -> Array:
        return of.eliminated(joined.split(x, of.inner))

    def on_known(e: Array, total: Effects) -> Effects:
        y, value = krylov.combine(space, known.vectors[:, e]), known.values[e]
        inner = joined.split((1.0 - value) / jnp.sqrt(value) * y, of.inner)
        first, *rest = (_outer(v, v) for v in (lead(y), *inner))
        own = ((1.0 / value - 1.0) * first, *rest)
        return tuple(t + v for t, v in zip(total, own, strict=True))

    def beyond(z: Array) -> Effects:
        z = z - krylov.combine(space, known.vectors @ (known.vectors.T @ (space.basis @ z)))
        w = krylov.apply(krylov.lanczos(of.product, z), jax.lax.rsqrt)
        v = w - of.product(w)
        first = _outer(lead(v), lead(v)) + _outer(lead(z - of.product(z)), lead(z))
        return (first, *(_outer(part, part) for part in joined.split(v, of.inner)))

    none = jax.tree.map(jnp.zeros_like, scaled.H)
    zeros = tuple(small.to_array(block) for block in none.blocks)
    found = jax.lax.fori_loop(0, known.values.shape[0], on_known, zeros)
    B = tuple(plus_identity(v) for v in zeros[1:])
    exact = of.completed(B, none).blocks
    parts = zip(exact, found, average(probes, beyond, zeros), strict=True)
    first, *rest = (small.to_array(e) + f + m for e, f, m in parts)
    blocks = (_at_least_identity(first), *rest)
    return tuple(
        congruent(small.solve_upper, L, block)
        for L, block in zip(scaled.lower, blocks, strict=True)
    )


def _outer(v: Array, w: Array) -> Array:
    """(v w' + w v') / 2 by level, (column, column, level)."""
    product = v[:, None] * w[None, :]
    return 0.5 * (product + jnp.swapaxes(product, 0, 1))


def _at_least_identity(M: Array) -> Array:
    """Eigenvalues below 1 become 1; (row, column, level)."""
    if M.shape[0] == 1:
        return jnp.maximum(M, 1.0)
    values, vectors = jnp.linalg.eigh(jnp.moveaxis(M, -1, 0))
    return jnp.einsum("lie,le,lje->ijl", vectors, jnp.maximum(values, 1.0), vectors)
