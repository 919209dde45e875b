"""Algebra of many symmetric matrices too wide to be written out: dense, shape (level, q, q).

The level comes first: LAPACK and batched matrix products want it there, and beyond the few columns
of `small` the order costs the other operations nothing.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax


def matmul(a: Array, b: Array) -> Array:
    """a @ b in full precision on any device."""
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def cholesky(M: Array, *, safe: bool) -> Array:
    """Lower Cholesky factors; where there is none, NaN or (`safe`) that of a diagonal matrix that
    dominates the one that failed (Gershgorin)."""
    L = lax.linalg.cholesky(M)
    if not safe:
        return L
    bound = jnp.sqrt(1.0 + jnp.sum(jnp.abs(M), axis=-1))
    stand_in = bound[..., None] * jnp.eye(M.shape[-1], dtype=M.dtype)
    failed = ~jnp.all(jnp.isfinite(L), axis=(-2, -1), keepdims=True)
    return jnp.where(failed, stand_in, L)


def substitute(L: Array, g: Array, *, transposed: bool) -> Array:
    """L^-1 g, or L'^-1 g if `transposed`; g has shape (q, level)."""
    right = g.T[..., None]
    x = lax.linalg.triangular_solve(L, right, left_side=True, lower=True, transpose_a=transposed)
    return x[..., 0].T


def inverse(L: Array) -> Array:
    """(L L')^-1."""
    eye = jnp.broadcast_to(jnp.eye(L.shape[-1], dtype=L.dtype), L.shape)
    x = lax.linalg.triangular_solve(L, eye, left_side=True, lower=True)
    return lax.linalg.triangular_solve(L, x, left_side=True, lower=True, transpose_a=True)


def logdet(L: Array) -> Array:
    """Sum over all matrices of log det(L L'), a scalar."""
    return 2.0 * jnp.sum(jnp.log(jnp.diagonal(L, axis1=-2, axis2=-1)))


def congruence(A: Array, T: Array) -> Array:
    """T' A T for a shared T of shape (q, r); shape (level, r, r).

    Twice a product with T from the right, which is one matrix product for all levels; the
    transpose between them is that of the symmetric result.
    """
    return matmul(jnp.swapaxes(matmul(A, T), -2, -1), T)


def times(M: Array, a: Array) -> Array:
    """M a; a has shape (q, level)."""
    return jnp.einsum("lij,jl->il", M, a, precision=lax.Precision.HIGHEST)
