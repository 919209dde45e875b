"""Functions of a large symmetric matrix that is known by its products: Lanczos and conjugate
gradients.

k steps of Lanczos' method from z give an orthonormal basis Q of the Krylov space, with
S Q = Q T + (remainder), T tridiagonal. For a smooth f,

    f(S) z = |z| Q f(T) e_1,        z' f(S) z = |z|^2 e_1' f(T) e_1,

the latter being Gauss' quadrature of 2k nodes' exactness (Golub & Meurant 2010, chapter 6; Ubaru,
Chen & Saad 2017 for f = log with random z). With T = V diag(lambda) V', its derivative is

    d z' f(S) z = |z|^2 sum_ij w_i w_j f[lambda_i, lambda_j] y_i' dS y_j,     w = V'e_1, Y = Q V,

f[., .] divided differences (Daletskii & Krein). Both converge as fast as conjugate gradients do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

Product = Callable[[Array], Array]

_MAX_STEPS = 64  # vectors of a Krylov space kept
_MAX_SOLVE = 1000
_INVARIANT = 1e-4
_ENOUGH = 1e-13  # of the largest weight: terms below it are rounding


class Krylov(NamedTuple):
    """An orthonormal basis (step, effect), T dense, the steps taken, the length of the remainder
    S Q - Q T and |z|^2; unused rows of the basis are zero, and T there that of the identity."""

    basis: Array
    T: Array
    count: Array
    left: Array
    square: Array


class _State(NamedTuple):
    basis: Array
    diagonal: Array
    off: Array  # below the diagonal, by the row it leads to
    last: Array  # the newest vector
    before: Array
    pivot: Array  # last pivot of T = L D L'
    residual: Array  # of S x = z by conjugate gradients, relative
    count: Array


def lanczos(product: Product, z: Array) -> Krylov:
    """The Krylov space of z in which S x = z is solved to rounding, or `_MAX_STEPS` of it."""
    size, tolerance = min(z.shape[0], _MAX_STEPS), solved(z.dtype)
    square = z @ z
    zero = jnp.zeros((), z.dtype)

    def unfinished(s: _State) -> Array:
        return (s.residual > tolerance) & (s.count < size) & (s.pivot > 0)

    def step(s: _State) -> _State:
        off = s.off[s.count]
        v = product(s.last) - off * s.before
        diagonal = v @ s.last
        v = v - diagonal * s.last
        length = jnp.sqrt(v @ v)
        pivot = diagonal - off * off / s.pivot
        return _State(
            basis=s.basis.at[s.count].set(s.last),
            diagonal=s.diagonal.at[s.count].set(diagonal),
            off=s.off.at[s.count + 1].set(length),
            last=v / jnp.where(length > 0, length, 1.0),
            before=s.last,
            pivot=pivot,
            residual=s.residual * length / jnp.abs(pivot),
            count=s.count + 1,
        )

    state = jax.lax.while_loop(
        unfinished,
        step,
        _State(
            basis=jnp.zeros((size, z.shape[0]), z.dtype),
            diagonal=jnp.ones((size,), z.dtype),
            off=jnp.zeros((size + 1,), z.dtype),
            last=z / jnp.where(square > 0, jnp.sqrt(square), 1.0),
            before=jnp.zeros_like(z),
            pivot=zero + 1.0,
            residual=zero + 1.0,
            count=jnp.asarray(0),
        ),
    )
    used = jnp.arange(size) < state.count
    off = jnp.where(used, state.off[:size], 0.0)[1:]
    T = jnp.diag(state.diagonal) + jnp.diag(off, 1) + jnp.diag(off, -1)
    return Krylov(state.basis, T, state.count, state.off[state.count], square)


def combine(k: Krylov, coefficients: Array) -> Array:
    """A vector of the space from its coordinates."""

    def term(j: Array, total: Array) -> Array:
        return total + coefficients[j] * k.basis[j]

    return jax.lax.fori_loop(0, k.count, term, jnp.zeros_like(k.basis[0]))


def apply(k: Krylov, f: Callable[[Array], Array]) -> Array:
    """f(S) z."""
    values, vectors = jnp.linalg.eigh(k.T)
    return combine(k, jnp.sqrt(k.square) * vectors @ (f(values) * vectors[0]))


class Ritz(NamedTuple):
    """Eigenvectors of S, by their coordinates in columns, that a Krylov space holds; the columns of
    others are zero."""

    values: Array
    vectors: Array


def ritz(k: Krylov) -> Ritz:
    """Those whose residual |S y - lambda y|, the remainder's share, is below 1e-4."""
    values, vectors = jnp.linalg.eigh(k.T)
    found = k.left * jnp.abs(vectors[k.count - 1]) < _INVARIANT
    return Ritz(jnp.where(found, values, 1.0), jnp.where(found, vectors, 0.0))


class Quadratic(NamedTuple):
    """sum_e weight_e x_e' S x_e, x_e having the coordinates `vectors[:, e]`; the first `count` of
    them matter."""

    weights: Array
    vectors: Array
    count: Array


def log_remainder(k: Krylov) -> tuple[Array, Quadratic]:
    """z' (log S - S + I) z, and the quadratic form in S that has its derivative.

    Where S has a known diagonal of ones, z' (S - I) z has the mean zero, over signs z, that it is
    known to have: taken off, it leaves noise of second order in S - I.
    """
    values, vectors = jnp.linalg.eigh(k.T)
    w = vectors[0]
    value = k.square * (w @ (jnp.log(values) * w) - k.T[0, 0] + 1.0)
    slopes = (vectors * w) @ _log_differences(values) @ (vectors * w).T
    weights, coordinates = jnp.linalg.eigh(k.square * slopes.at[0, 0].add(-1.0))
    order = jnp.argsort(-jnp.abs(weights))
    count = jnp.sum(jnp.abs(weights) > _ENOUGH * k.square)
    return value, Quadratic(weights[order], coordinates[:, order], count)


def _log_differences(values: Array) -> Array:
    """(log a - log b) / (a - b) = 2 atanh(t) / (a - b) with t = (a - b) / (a + b)."""
    total = values[:, None] + values[None, :]
    t = (values[:, None] - values[None, :]) / total
    near = jnp.abs(t) < 1e-3
    safe = jnp.where(near, 0.5, t)
    ratio = jnp.where(near, 1.0 + t**2 / 3.0 + t**4 / 5.0, jnp.arctanh(safe) / safe)
    return 2.0 * ratio / total


def solved(dtype: Any) -> float:
    """Relative residual of a system that counts as solved."""
    return float(jnp.finfo(dtype).eps) ** 0.65


def solve(product: Product, right: Array, tolerance: float | None = None) -> Array:
    """S^-1 g by conjugate gradients; differentiable, and where S is not positive definite still a
    direction of ascent: the steps end at the first one of no positive curvature (Steihaug 1983)."""
    relative = solved(right.dtype) if tolerance is None else tolerance

    def iterate(product: Product, g: Array) -> Array:
        goal = relative**2 * (g @ g)

        def unfinished(s: Any) -> Array:
            _, _, _, rr, count = s
            return (rr > goal) & (count < _MAX_SOLVE)

        def step(s: Any) -> Any:
            x, r, p, rr, count = s
            moved = product(p)
            curved = p @ moved
            length = jnp.where(curved > 0, rr / curved, jnp.where(count == 0, 1.0, 0.0))
            r = r - length * moved
            square = jnp.where(curved > 0, r @ r, 0.0)
            return x + length * p, r, r + (square / rr) * p, square, count + 1

        first = (jnp.zeros_like(g), g, g, g @ g, jnp.asarray(0))
        x = jax.lax.while_loop(unfinished, step, first)[0]
        return jnp.where(jnp.isfinite(goal), x, jnp.nan)

    return jax.lax.custom_linear_solve(product, right, iterate, symmetric=True)
