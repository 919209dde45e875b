"""Algebra of many small symmetric matrices, one a level, in one of two forms.

Up to `UNROLLED` columns a stack is a list of rows over the lower triangle, `M[i][j]` for j <= i,
each entry an array of shape (level,), and every operation is written out entry by entry: this beats
batched LAPACK by 1.2-1.45 x of a whole pass and runs the same on any device. A program written so
grows with the cube of the columns; beyond, a stack is one array of full matrices, shape
(level, q, q), and the operations are those of `wide`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxglmm.arrays import add
from jaxglmm.factor import wide
from jaxglmm.predictor import at_levels
from jaxglmm.rows import UNROLLED

Stack: TypeAlias = list[list[Array]] | Array


def to_dense(M: Stack) -> Array:
    """The full symmetric matrices; shape (level, q, q)."""
    if not isinstance(M, list):
        return M
    q = len(M)
    full = [[M[max(i, j)][min(i, j)] for j in range(q)] for i in range(q)]
    return jnp.stack([jnp.stack(row, axis=-1) for row in full], axis=-2)


def from_dense(matrices: Array) -> Stack:
    """The stack of symmetric matrices of shape (level, q, q)."""
    q = matrices.shape[-1]
    if q > UNROLLED:
        return matrices
    return [[matrices[:, i, j] for j in range(i + 1)] for i in range(q)]


def from_entries(entries: list[list[Array]]) -> Stack:
    """The stack with these entries of the lower triangle, (level,) each."""
    return to_dense(entries) if len(entries) > UNROLLED else entries


def entry(M: Stack, i: int, j: int) -> Array:
    """Entry (i, j) of every matrix; shape (level,)."""
    return M[max(i, j)][min(i, j)] if isinstance(M, list) else M[:, i, j]


def cholesky(M: Stack, *, safe: bool) -> Stack:
    """Lower Cholesky factors L; of wide matrices their inverses, which all functions of L take.

    Without `safe`, a matrix that is not positive definite gets NaN. With it, pivots below 0.01
    (a sum of I and a positive semidefinite matrix has none below 1) are replaced by 1 + |pivot|,
    which keeps Newton's direction one of ascent.
    """
    if not isinstance(M, list):
        return wide.cholesky(M, safe=safe)
    L: list[list[Array]] = []
    for i in range(len(M)):
        row: list[Array] = []
        for j in range(i):
            rest = M[i][j]
            for k in range(j):
                rest = rest - row[k] * L[j][k]
            row.append(rest / L[j][j])
        pivot = M[i][i]
        for value in row:
            pivot = pivot - value * value
        if safe:
            pivot = jnp.where(pivot > 0.01, pivot, 1.0 + jnp.abs(pivot))
        row.append(jnp.sqrt(pivot))
        L.append(row)
    return L


def solve(L: Stack, g: Array) -> Array:
    """(L L')^-1 g; g has shape (q, level)."""
    return solve_upper(L, solve_lower(L, g))


def solve_lower(L: Stack, g: Array) -> Array:
    """L^-1 g; g has shape (q, level)."""
    if not isinstance(L, list):
        return wide.substitute(L, g, transposed=False)
    x: list[Array] = []
    for i in range(len(L)):
        rest = g[i]
        for k in range(i):
            rest = rest - L[i][k] * x[k]
        x.append(rest / L[i][i])
    return jnp.stack(x)


def solve_upper(L: Stack, g: Array) -> Array:
    """L'^-1 g; g has shape (q, level)."""
    if not isinstance(L, list):
        return wide.substitute(L, g, transposed=True)
    q = len(L)
    x = list(g)
    for i in reversed(range(q)):
        rest = x[i]
        for k in range(i + 1, q):
            rest = rest - L[k][i] * x[k]
        x[i] = rest / L[i][i]
    return jnp.stack(x)


def logdet(L: Stack) -> Array:
    """Sum over all matrices of log det(L L'), a scalar."""
    if not isinstance(L, list):
        return wide.logdet(L)
    diagonal = L[0][0]
    for i in range(1, len(L)):
        diagonal = diagonal * L[i][i]
    return 2.0 * jnp.sum(jnp.log(diagonal))


def inverse(L: Stack) -> Stack:
    """(L L')^-1."""
    if not isinstance(L, list):
        return wide.inverse(L)
    q = len(L)
    V: list[list[Array]] = []
    for i in range(q):
        row = []
        for j in range(i):
            total = L[i][j] * V[j][j]
            for k in range(j + 1, i):
                total = total + L[i][k] * V[k][j]
            row.append(-total / L[i][i])
        row.append(1.0 / L[i][i])
        V.append(row)
    return [[add(V[k][i] * V[k][j] for k in range(i, q)) for j in range(i + 1)] for i in range(q)]


def congruence(A: Stack, T: Array, *, triangular: bool = False) -> Stack:
    """T' A T for a shared T of shape (q, r), lower triangle.

    `triangular` says that T is zero above its diagonal, which saves a good half of the work.
    """
    q, r = T.shape
    if not isinstance(A, list):
        return from_dense(wide.congruence(A, T))
    below = [range(j if triangular else 0, q) for j in range(r)]
    AT = [
        [add(A[max(i, k)][min(i, k)] * T[k, j] for k in below[j]) for j in range(r)]
        for i in range(q)
    ]
    return [[add(T[k, i] * AT[k][j] for k in below[i]) for j in range(i + 1)] for i in range(r)]


def outward(P: Stack, T: Array, *, triangular: bool = False) -> Stack:
    """T P T' for a shared T of shape (q, r), lower triangle; P in either form.

    `triangular` as in `congruence`.
    """
    q, r = T.shape
    if q > UNROLLED or not isinstance(P, list):
        return from_dense(wide.congruence(to_dense(P), T.T))
    left = [range(min(i + 1, r) if triangular else r) for i in range(q)]
    TP = [
        [add(T[i, k] * P[max(k, j)][min(k, j)] for k in left[i]) for j in range(r)]
        for i in range(q)
    ]
    return [[add(TP[i][k] * T[j, k] for k in left[j]) for j in range(i + 1)] for i in range(q)]


def written(M: Stack) -> Stack:
    """The same matrices, written to memory.

    XLA would fuse the algebra behind an entry into every loop over rows that reads it, and do it
    anew for each row (its optimisation barriers are gone by then). A matrix product ends a fusion;
    one column too many keeps that of a single entry from being simplified away. Wide matrices come
    out of such a product as they are.
    """
    if not isinstance(M, list):
        return M
    entries = [e for row in M for e in row]
    copy = jnp.eye(len(entries), len(entries) + 1, dtype=entries[0].dtype)
    product = jnp.matmul(copy, jnp.stack([*entries, entries[0]]), precision=lax.Precision.HIGHEST)
    values = iter(product)
    return [[next(values) for _ in row] for row in M]


def times(M: Stack, a: Array) -> Array:
    """M a; a has shape (q, level)."""
    if not isinstance(M, list):
        return wide.times(M, a)
    q = len(M)
    return jnp.stack([sum(M[max(i, j)][min(i, j)] * a[j] for j in range(q)) for i in range(q)])


def minus(M: Stack, change: Array) -> Stack:
    """M - change, the latter as (row, column, level)."""
    if not isinstance(M, list):
        return M - jnp.moveaxis(change, -1, 0)
    return [[e - change[i, j] for j, e in enumerate(row)] for i, row in enumerate(M)]


def plus_identity(M: Stack) -> Stack:
    """M + I."""
    if not isinstance(M, list):
        return M + jnp.eye(M.shape[-1], dtype=M.dtype)
    return [[e + 1.0 if i == j else e for j, e in enumerate(row)] for i, row in enumerate(M)]


def products(P: Stack, M: Stack) -> Array:
    """sum(P * M) over all entries, matrix by matrix; shape (level,)."""
    if not (isinstance(P, list) and isinstance(M, list)):
        return jnp.sum(to_dense(P) * to_dense(M), axis=(-2, -1))
    return add(
        (1.0 if i == j else 2.0) * P[i][j] * e for i, row in enumerate(M) for j, e in enumerate(row)
    )


def product(P: Stack, M: Stack) -> Array:
    """P M of symmetric matrices, (row, column, level)."""
    if not (isinstance(P, list) and isinstance(M, list)):
        return jnp.moveaxis(wide.matmul(to_dense(P), to_dense(M)), 0, -1)
    q = len(P)
    rows = [
        [add(entry(P, i, k) * entry(M, k, j) for k in range(q)) for j in range(q)] for i in range(q)
    ]
    return jnp.stack([jnp.stack(row) for row in rows])


def take(M: Stack, levels: Array) -> Stack:
    """The matrices of these levels."""
    if not isinstance(M, list):
        return M[levels]
    return [[at_levels(entry, levels) for entry in row] for row in M]


def to_array(M: Stack) -> Array:
    """The full symmetric matrices as (row, column, level)."""
    return jnp.moveaxis(to_dense(M), 0, -1)


def from_array(matrices: Array) -> Stack:
    """The stack of matrices of shape (row, column, level), read in the lower triangle."""
    q = matrices.shape[0]
    return from_entries([[matrices[i, j] for j in range(i + 1)] for i in range(q)])


def on_rows(f: Callable[[Stack, Array], Array], M: Stack, C: Array) -> Array:
    """f(M, .) of every column of C, shape (row, column, level)."""
    return jax.vmap(lambda c: f(M, c), in_axes=1, out_axes=1)(C)


def on_columns(f: Callable[[Stack, Array], Array], M: Stack, C: Array) -> Array:
    """f(M, .) of every row of C, shape (row, column, level)."""
    return jax.vmap(lambda c: f(M, c))(C)


def row_sums(C: Array, values: Array) -> Array:
    """C v of every matrix, C as (row, column, level) and v as (column, level)."""
    return jnp.stack([add(c * v for c, v in zip(row, values, strict=True)) for row in C])
