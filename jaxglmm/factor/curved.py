"""Second derivatives of log det H along relative factors, from sums over pairs of levels.

With A held, H = Lambda' A Lambda + I, K = A Lambda, P = H^-1, N = K P and R = A - K P K',

    d2 log det H (X, Y) = 2 [tr(P X'R Y) - tr(N X' N Y')]

for directions X, Y of Lambda. These are blocks of one small matrix at every level, so that each
trace is a form in the entries of two small matrices, whose coefficients are products of blocks of
R, P and N summed over all pairs of levels: a few dense products, whatever the number of directions.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxglmm.factor.joined import Extent


class Quarters(NamedTuple):
    """A matrix over the effects of the first factor and, behind them, those of all others."""

    first: Array
    upper: Array
    lower: Array | None  # None where it is the transpose of `upper`
    inner: Array


class Filled(NamedTuple):
    """All entries of the matrices of one point; b is by factor, column and level, as u is."""

    P: Quarters  # (u, u)
    N: Quarters  # (b, u)
    R: Quarters  # (b, b)
    beside: tuple[Array, Array] | None  # (b, fixed) and (u, fixed): see `along_factors`
    given: tuple[Extent, ...]  # of b
    latent: tuple[Extent, ...]  # of u


def along_factors(at: Filled, moved: tuple[Array, ...]) -> Array:
    """d2 log det H along every pair of directions, (direction, direction).

    `moved` has a direction of the relative factor of each grouping factor along its leading axis,
    (direction, column of b, column of u).

    Fixed effects beside u add U U' to the inverse, U = [U_u; U_beta]. With k = (A Lambda U)_b, P
    gets U_u U_u' more, N gets k U_u' and R loses k k': `beside` is (k, U_u).
    """
    P, N, R = at.P, at.N, at.R
    if at.beside is not None:
        k, U = at.beside
        P, N, R = _plus(P, U, U), _plus(N, k, U), _plus(R, -k, k)
    size = moved[0].shape[0]
    total = jnp.zeros((size, size), moved[0].dtype)
    for g, right in enumerate(moved):
        for f, left in enumerate(moved[: g + 1]):
            inner = _block(P, at.latent, f, at.latent, g)
            outer = _block(R, at.given, f, at.given, g)
            there = _block(N, at.given, f, at.latent, g)
            back = _block(N, at.given, g, at.latent, f)
            # sum over levels l, m of outer_(al)(cm) inner_(kl)(dm) - there_(al)(dm) back_(cm)(kl)
            sums = jnp.einsum("alcm,kldm->akcd", outer, inner)
            sums = sums - jnp.einsum("aldm,cmkl->akcd", there, back)
            part = jnp.einsum("iak,akcd,jcd->ij", left, sums, right)
            total = total + (part if f == g else part + part.T)
    return 2.0 * total


def worthwhile(given: tuple[Extent, ...], eliminated: int, num_directions: int) -> bool:
    """Whether two products of dense matrices over all effects, as many as it takes at most, cost
    less than what is done for each direction otherwise: some four products over the inner effects
    of the (eliminated) first factor.
    """
    size = sum(e.num_columns * e.num_levels for e in given)
    inner = size - eliminated
    return 2 * size**3 < 4 * num_directions * eliminated * inner**2


def _plus(M: Quarters, left: Array, right: Array) -> Quarters:
    """M + left right'."""
    rows, columns = M.upper.shape[0], M.first.shape[1]
    first, inner = left[:rows], left[rows:]
    to_first, to_inner = right[:columns].T, right[columns:].T
    return Quarters(
        M.first + first @ to_first,
        M.upper + first @ to_inner,
        None if M.lower is None else M.lower + inner @ to_first,
        M.inner + inner @ to_inner,
    )


def _block(
    M: Quarters, rows: tuple[Extent, ...], f: int, columns: tuple[Extent, ...], g: int
) -> Array:
    """The part of factors f and g; (column, level, column, level)."""
    quarter = (M.inner if g else M.lower) if f else (M.upper if g else M.first)
    assert quarter is not None
    part = quarter[_place(rows, f), _place(columns, g)]
    return part.reshape(*rows[f], *columns[g])


def _place(extents: tuple[Extent, ...], f: int) -> slice:
    """Of factor f, in the quarter where it is."""
    sizes = [e.num_columns * e.num_levels for e in extents]
    return slice(sum(sizes[1:f]), sum(sizes[1 : f + 1])) if f else slice(0, sizes[0])
