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
    """Inverses L^-1 of lower Cholesky factors; where there is none, NaN or (`safe`) that of a
    diagonal matrix that dominates the one that failed (Gershgorin).

    LAPACK takes the levels one by one, whatever is asked of it: with the inverses all that follows
    is products.
    """
    L = lax.linalg.cholesky(M)
    if safe:
        bound = jnp.sqrt(1.0 + jnp.sum(jnp.abs(M), axis=-1))
        stand_in = bound[..., None] * jnp.eye(M.shape[-1], dtype=M.dtype)
        failed = ~jnp.all(jnp.isfinite(L), axis=(-2, -1), keepdims=True)
        L = jnp.where(failed, stand_in, L)
    eye = jnp.broadcast_to(jnp.eye(L.shape[-1], dtype=L.dtype), L.shape)
    return lax.linalg.triangular_solve(L, eye, left_side=True, lower=True)


def substitute(R: Array, g: Array, *, transposed: bool) -> Array:
    """R g, or R' g if `transposed`, R = L^-1; g has shape (q, level)."""
    across = "lji,jl->il" if transposed else "lij,jl->il"
    return jnp.einsum(across, R, g, precision=lax.Precision.HIGHEST)


def inverse(R: Array) -> Array:
    """(L L')^-1 = R' R."""
    return matmul(jnp.swapaxes(R, -2, -1), R)


def logdet(R: Array) -> Array:
    """Sum over all matrices of log det(L L'), a scalar."""
    return -2.0 * jnp.sum(jnp.log(jnp.diagonal(R, axis1=-2, axis2=-1)))


def congruence(A: Array, T: Array) -> Array:
    """T' A T for a shared T of shape (q, r); shape (level, r, r).

    Twice a product with T from the right, which is one matrix product for all levels; the
    transpose between them is that of the symmetric result.
    """
    return matmul(jnp.swapaxes(matmul(A, T), -2, -1), T)


def times(M: Array, a: Array) -> Array:
    """M a; a has shape (q, level)."""
    return jnp.einsum("lij,jl->il", M, a, precision=lax.Precision.HIGHEST)
