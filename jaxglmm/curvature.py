"""Symmetric matrices as metrics: inverses that survive bad scales and flat directions.

Most of the matrices that come here are safely positive definite: Cholesky's factor shows it and
inverts them; where a batch brings many small ones, elimination does, of all at once (in three
parameters 0.1 instead of the 1.2 us that eigenvalues take each, in five 0.3 instead of 3.3). The
others take eigenvalues.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxglmm.needed import where_needed, where_rarely_needed

_SAFE = 1e-3  # the least pivot of a matrix scaled to a unit diagonal that needs no eigenvalues
_SMALL = 8  # columns
SURE = 1e-6
"""The eigenvalue of a matrix scaled to a unit diagonal that nobody takes for zero."""
_UNKNOWN = 1e-13  # information beside that of other contrasts that is rounding


class Spectrum(NamedTuple):
    """Eigenvalues and vectors of D M D, where D scales the diagonal of M to one in size."""

    scale: Array  # the diagonal of D
    values: Array  # ascending
    vectors: Array


def spectrum(M: Array) -> Spectrum:
    """Jacobi-scaled eigendecomposition: invariant to the units of the parameters."""
    scale = _scale(M)
    return _spectrum(M * scale[:, None] * scale[None, :], scale)


def _spectrum(scaled: Array, scale: Array) -> Spectrum:
    values, vectors = jnp.linalg.eigh(scaled)
    return Spectrum(scale, values, vectors)


def _scale(M: Array) -> Array:
    diagonal = jnp.abs(jnp.diagonal(M))
    return jnp.where(diagonal > 0, 1.0 / jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1.0)), 1.0)


def _assemble(s: Spectrum, inverted: Array) -> Array:
    inner = (s.vectors * inverted) @ s.vectors.T
    return inner * s.scale[:, None] * s.scale[None, :]


def ascent_metric(s: Spectrum) -> Array:
    """|M|^-1: eigenvalues by their size, none below 1e-6 (saddle-free Newton).

    Dauphin et al. (2014), "Identifying and attacking the saddle point problem", section 5.
    """
    return _assemble(s, 1.0 / jnp.maximum(jnp.abs(s.values), 1e-6))


def pseudo_inverse(s: Spectrum, floor: float) -> Array:
    """M^-1 on the span of the eigenvectors whose eigenvalues exceed `floor`, zero elsewhere."""
    kept = s.values > floor
    return _assemble(s, jnp.where(kept, 1.0 / jnp.where(kept, s.values, 1.0), 0.0))


def either_keeps(finals: tuple[Array, Array], reference: Array, share: float) -> Array:
    """Whether one of two matrices has at least that share of the positive semidefinite `reference`
    along every contrast that the latter knows; also where there are none, or nothing is finite.

    One has if final - share reference is positive definite, which elimination shows of most; the
    second is looked at where the first has not.
    """
    if reference.shape[0] == 0:
        return jnp.asarray(True)

    def by_eigenvalues(of: tuple[Array, Array, Array]) -> Array:
        *both, reference = of
        first, second = (~(_least_share(final, reference) < share) for final in both)
        return first | second

    def otherwise(of: tuple[Array, Array, Array]) -> Array:
        unseen = ~_exceeds(of[1], share * of[2])
        return where_needed(unseen, by_eigenvalues, of, jnp.asarray(True))

    return where_rarely_needed(
        ~_exceeds(finals[0], share * reference), otherwise, (*finals, reference), jnp.asarray(True)
    )


def _exceeds(M: Array, other: Array) -> Array:
    """Whether M - other is positive definite beyond rounding."""
    least = 10.0 * M.shape[0] * float(jnp.finfo(M.dtype).eps)
    return _eliminate(M - other).pivot > least


def _least_share(final: Array, reference: Array) -> Array:
    """The smallest eigenvalue of `final` relative to `reference`, along the contrasts that the
    latter knows."""
    s = spectrum(reference)
    known = s.values > _UNKNOWN
    inverted = jnp.where(known, 1.0 / jnp.sqrt(jnp.where(known, s.values, 1.0)), 0.0)
    root = (s.vectors * inverted) * s.scale[:, None]
    relative = root.T @ final @ root + jnp.diag(jnp.where(known, 0.0, 1.0).astype(final.dtype))
    return jnp.linalg.eigvalsh(0.5 * (relative + relative.T))[0]


def damped(M: Array, direction: Array, promise: Array, length: Array) -> Array:
    """A step of the metric M that is shorter the flatter it is: (M^-1 + mu D^-1)^-1 g with the
    gradient g and D the diagonal of M, which makes it invariant to the units of the parameters.

    mu is such that along an eigenvector of D^-1/2 M D^-1/2 whose eigenvalue is k, the mean of all
    weighted by what they promise, the step is `length` times the direction M g; it is longer along
    those of smaller ones, and M g itself where `length` is one. (The path of Levenberg 1944 and
    Marquardt 1963; Nocedal & Wright 2006, section 4.3.)

    Args:
        M: metric, positive definite.
        direction: M g.
        promise: g' M g.
        length: between 0 and 1.
    """
    root = 1.0 / _scale(M)
    scaled = direction / root
    k = scaled @ scaled / promise
    mu = (1.0 / length - 1.0) / k
    matrix = jnp.eye(M.shape[0], dtype=M.dtype) + mu * M / (root[:, None] * root[None, :])
    return root * jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(matrix), True), scaled)


def metric(M: Array) -> Array:
    """`ascent_metric` of M's spectrum, which is M^-1 where M is safely positive definite."""
    return _inverse(M, ascent_metric)


def metric_and_least(M: Array) -> tuple[Array, Array]:
    """`metric(M)`, and the smallest eigenvalue of D M D, D as in `Spectrum`, where it is below
    `SURE`; elsewhere a lower bound that is not. Infinite where M is empty.

    The bound is 1 / tr (D M D)^-1, which elimination shows of most.
    """
    if M.shape[0] == 0:
        return M, jnp.asarray(jnp.inf, M.dtype)
    of = _eliminate(M)
    bound = 1.0 / jnp.trace(of.inverse)

    def by_eigenvalues(scaled: tuple[Array, Array]) -> tuple[Array, Array]:
        s = _spectrum(*scaled)
        return ascent_metric(s), s.values[0]

    return where_rarely_needed(
        ~((of.pivot > _SAFE) & (bound >= SURE)),
        by_eigenvalues,
        (of.scaled, of.scale),
        (of.unscaled, bound),
    )


def solve(M: Array, g: Array) -> Array:
    """M^-1 g for a positive semidefinite M, in its well-determined directions."""
    least = 10.0 * M.shape[0] * float(jnp.finfo(M.dtype).eps)
    return _inverse(M, lambda s: pseudo_inverse(s, least)) @ g


def _inverse(M: Array, otherwise: Callable[[Spectrum], Array]) -> Array:
    """M^-1, or what is made of its eigenvalues where it is not safely positive definite."""
    of = _eliminate(M)
    return where_rarely_needed(
        ~(of.pivot > _SAFE),
        lambda scaled: otherwise(_spectrum(*scaled)),
        (of.scaled, of.scale),
        of.unscaled,
    )


def independent(M: Array) -> Array:
    """Which columns of X are no combinations of earlier ones, M = X'X: those of which more is left
    beside these than rounding."""
    of = _eliminate(M)
    return where_rarely_needed(
        ~(of.pivot > _SAFE), _one_by_one, of.scaled, jnp.ones(M.shape[:1], bool)
    )


def _one_by_one(scaled: Array) -> Array:
    def step(k: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        left, kept = state
        own = left[k, k] > _UNKNOWN
        row = jnp.where(own, left[k] / jnp.where(own, left[k, k], 1.0), 0.0)
        return left - left[:, k, None] * row, kept.at[k].set(own)

    none = jnp.zeros(scaled.shape[:1], bool)
    return lax.fori_loop(0, scaled.shape[0], step, (scaled, none))[1]


class _Eliminated(NamedTuple):
    """D M D, D as in `Spectrum`, its inverse and the least of Cholesky's pivots, which is not
    positive, or NaN, where it is not positive definite."""

    scale: Array
    scaled: Array
    inverse: Array
    pivot: Array

    @property
    def unscaled(self) -> Array:
        """M^-1."""
        return self.inverse * self.scale[:, None] * self.scale[None, :]


def _eliminate(M: Array) -> _Eliminated:
    scale = _scale(M)
    scaled = M * scale[:, None] * scale[None, :]
    return _Eliminated(scale, scaled, *_cholesky_inverse(scaled))


@jax.custom_batching.custom_vmap
def _cholesky_inverse(A: Array) -> tuple[Array, Array]:
    """A^-1 and the least of Cholesky's pivots, which is not positive, or NaN, where A is not
    positive definite."""
    if A.shape[0] == 0:
        return A, jnp.asarray(jnp.inf, A.dtype)
    L = lax.linalg.cholesky(A)
    eye = jnp.eye(A.shape[0], dtype=A.dtype)
    right = lax.linalg.triangular_solve(L, eye, left_side=True, lower=True)
    return right.T @ right, jnp.min(jnp.diagonal(L)) ** 2


@_cholesky_inverse.def_vmap
def _inverses(axis_size: int, batched: list[bool], A: Array) -> Any:
    """Of many matrices, (matrix, n, n): Gauss and Jordan's elimination of all at once, whose pivots
    are Cholesky's."""
    n = A.shape[-1]
    if not 0 < n <= _SMALL:
        return jax.vmap(_cholesky_inverse.fun)(A), (True, True)

    def eliminate(k: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        M, pivot = state
        here = jnp.arange(n) == k
        own, column = lax.dynamic_index_in_dim(M, k, 0, False), M[:, k]
        row = jnp.where(here[:, None], 1.0, own) / own[k]
        rest = jnp.where(here[None, :, None], 0.0, M) - column[:, None] * row[None]
        M = jnp.where(here[:, None, None], row[None], rest)
        return M, jnp.minimum(pivot, own[k])

    # A loop of the program: written out it takes five times as long to compile. Turns of a loop are
    # calls of many kernels on an accelerator.
    unroll = jax.default_backend() != "cpu"
    first = jnp.moveaxis(A, 0, -1), jnp.full(A.shape[:1], jnp.inf, A.dtype)
    inverse, pivot = lax.fori_loop(0, n, eliminate, first, unroll=unroll)
    return (jnp.moveaxis(inverse, -1, 0), pivot), (True, True)
