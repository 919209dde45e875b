"""Second derivatives of log det H along relative factors, from sums over pairs of levels.

With A held, H = Lambda' A Lambda + I, K = A Lambda, P = H^-1, N = K P and R = K P K',

    d2 log det H (X, Y) = 2 [tr(P X'A Y) - tr(P X'R Y) - tr(N X' N Y')]

for directions X, Y of Lambda. These are blocks of one small matrix at every level, so that each
trace is a form in the entries of two small matrices, whose coefficients are products of blocks of
A, P and N summed over all pairs of levels: a few dense products, whatever the number of directions.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxglmm.arrays import add
from jaxglmm.factor.joined import Extent, symmetric_product


class Filled(NamedTuple):
    """All entries of the matrices of one point; b is by factor, column and level, as u is."""

    A: Array  # (b, b)
    P: Array  # (u, u)
    K: Array  # (b, u)
    beside: tuple[Array, Array] | None  # (b, fixed) and (u, fixed): see `along_factors`
    given: tuple[Extent, ...]  # of b
    latent: tuple[Extent, ...]  # of u


def along_factors(at: Filled, moved: tuple[Array, ...]) -> Array:
    """d2 log det H along every pair of directions, (direction, direction).

    `moved` has a direction of the relative factor of each grouping factor along its leading axis,
    (direction, column of b, column of u).

    Fixed effects beside u add U U' to the inverse, U = [U_u; U_beta]. With k = (A Lambda U)_b, P
    gets U_u U_u' more, N gets k U_u' and R gets k k': `beside` is (k, U_u).
    """
    P, N = at.P, at.K @ at.P
    rest = at.A - symmetric_product(N, at.K)
    if at.beside is not None:
        k, U = at.beside
        P, N, rest = P + U @ U.T, N + k @ U.T, rest - k @ k.T
    total = []
    for f, left in enumerate(moved):
        for g, right in enumerate(moved):
            inner = _block(P, at.latent, f, at.latent, g)
            outer = _block(rest, at.given, f, at.given, g)
            there = _block(N, at.given, f, at.latent, g)
            back = _block(N, at.given, g, at.latent, f)
            # sum over levels l, m of outer_(al)(cm) inner_(kl)(dm) - there_(al)(dm) back_(cm)(kl)
            sums = jnp.einsum("alcm,kldm->akcd", outer, inner)
            sums = sums - jnp.einsum("aldm,cmkl->akcd", there, back)
            total.append(jnp.einsum("iak,akcd,jcd->ij", left, sums, right))
    return 2.0 * add(total)


def worthwhile(given: tuple[Extent, ...], eliminated: int, num_directions: int) -> bool:
    """Whether two products of dense matrices over all effects cost less than what is done for each
    direction otherwise: some four products over the inner effects of the (eliminated) first factor.
    """
    size = sum(e.num_columns * e.num_levels for e in given)
    inner = size - eliminated
    return 2 * size**3 < 4 * num_directions * eliminated * inner**2


def _block(
    M: Array, rows: tuple[Extent, ...], f: int, columns: tuple[Extent, ...], g: int
) -> Array:
    """The part of factors f and g; (column, level, column, level)."""
    part = M[_place(rows, f), _place(columns, g)]
    return part.reshape(*rows[f], *columns[g])


def _place(extents: tuple[Extent, ...], f: int) -> slice:
    sizes = [e.num_columns * e.num_levels for e in extents]
    return slice(sum(sizes[:f]), sum(sizes[: f + 1]))
