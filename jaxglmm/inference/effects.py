"""Random effects: conditional modes and their standard errors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.factor import choose
from jaxglmm.marginal import laplace
from jaxglmm.params import Params, flatten, unflatten
from jaxglmm.predictor import (
    Effects,
    factors_of_groups,
    random_effects,
    relative_factors,
    transpose_lambda,
)
from jaxglmm.rows import HasGroupings, Rows


def modes(rows: Rows, params: Params, u: Effects) -> Effects:
    """b = Lambda u: (column, level) for each grouping factor, on the scale of eta."""
    return random_effects(relative_factors(rows, params.theta), u)


def conditional_covariances(rows: Rows, params: Params, u: Effects) -> Effects:
    """Cov(b | y) with all parameters known: blocks of Lambda H^-1 Lambda' (lme4's condVar).

    One (column, column, level) array for each grouping factor.
    """
    factor = choose(rows)
    factored = factor.factorise(laplace.hessian_in_u(rows, factor, params, u))
    lam = relative_factors(rows, params.theta)
    return tuple(
        jnp.einsum("ik,klm,jl->ijm", L, block, L)
        for L, block in zip(lam, factor.covariance_blocks(factored), strict=True)
    )


def conditional_variances(rows: Rows, params: Params, u: Effects) -> Effects:
    """The diagonals of `conditional_covariances`; (column, level) for each grouping factor."""
    covariances = conditional_covariances(rows, params, u)
    return tuple(jnp.einsum("iil->il", c) for c in covariances)


def mode_slopes(rows: Rows, params: Params, u: Effects) -> Effects:
    """db / d(beta, theta, phi) at the mode; (param, column, level) for each grouping factor."""
    factor = choose(rows)

    def along(psi: Array) -> Effects:
        moved = laplace.chord(rows, factor, psi, u)
        return modes(rows, unflatten(psi, rows), moved)

    psi = flatten(params)
    _, pushforward = jax.linearize(along, psi)
    return jax.lax.map(pushforward, jnp.eye(psi.shape[0], dtype=psi.dtype))


def mode_variances(
    slopes: tuple[np.ndarray, ...], covariance: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Variance that the uncertainty of the parameters adds: diag(J V J'), J = db/d(parameters).

    Added to the conditional variance this is the prediction variance of Kass & Steffey (1989,
    eq. 3.1) and of TMB's sdreport; with a V that has errors of the fixed effects alone, given
    (theta, phi), it is the conditional mean squared error of prediction of Booth & Hobert (1998,
    JASA 93:262-272) to first order. Unknown (NaN) variances count as zero.

    Args:
        slopes: of `mode_slopes`.
        covariance: V, of (beta, theta, phi).
    """
    known = np.nan_to_num(covariance, nan=0.0)
    return tuple(np.einsum("kcl,km,mcl->cl", s, known, s, optimize=True) for s in slopes)


def row_covariances(
    rows: Rows,
    params: Params,
    u: Effects,
    Z: Effects,
    codes: tuple[Array, ...],
    wanted: tuple[tuple[Array, Array], ...],
) -> Array:
    """Cov(z_a' b, z_c' b | y) with all parameters known, of any rows, not those of the data alone.

    Lambda H^-1 Lambda' within a level comes from `conditional_covariances`. Between levels of two
    factors it is solved for, one column of the later factor at a time.

    Args:
        Z: columns of each factor; shape (obs, column).
        codes: levels of each factor, -1 where there is none; shape (obs,).
        wanted: of each factor but the first levels and columns, all that `codes` asks for; a level
            beyond the last only pads.

    Returns:
        Shape (predictor, predictor, obs).
    """
    factor = choose(rows)
    factored = factor.factorise(laplace.hessian_in_u(rows, factor, params, u))
    lam, axes = relative_factors(rows, params.theta), range(rows.family.num_predictors)
    feeds = [np.asarray(g.predictors)[None, :] == np.asarray(axes)[:, None] for g in rows.groupings]
    Z = tuple(jnp.where(c[:, None] >= 0, z, 0.0) for z, c in zip(Z, codes, strict=True))
    total = jnp.zeros((len(axes), len(axes), codes[0].shape[0]), rows.dtype)
    for k, block in enumerate(factor.covariance_blocks(factored)):
        own = jnp.einsum("ik,klm,jl->ijm", lam[k], block, lam[k])

        def within(total: Array, column: tuple[Array, ...], k: int = k) -> tuple[Array, None]:
            """Add what one column has to do with all columns of its level."""
            mine, z, of_level = column
            other = jnp.einsum("cj,nj,jn->cn", feeds[k], Z[k], of_level[:, codes[k]])
            return total + mine[:, None, None] * (z * other)[None], None

        mine = jnp.asarray(feeds[k].T, rows.dtype)
        total = jax.lax.scan(within, total, (mine, Z[k].T, own))[0]
    for k, places in enumerate(wanted, start=1):

        def between(total: Array, place: tuple[Array, Array], k: int = k) -> tuple[Array, None]:
            """Add what one column of factor k has to do with all factors before it."""
            level, column = place
            unit = tuple(
                jnp.zeros((L.shape[0], g.num_levels), rows.dtype)
                for L, g in zip(lam, rows.groupings, strict=True)
            )
            unit = (*unit[:k], unit[k].at[column, level].set(1.0), *unit[k + 1 :])
            solved = factor.solve(factored, transpose_lambda(lam, unit))
            b = random_effects(lam, solved)
            own = jnp.where(codes[k] == level, Z[k][:, column], 0.0)
            mine = jnp.asarray(feeds[k], rows.dtype)[:, column]
            for j in range(k):
                other = jnp.einsum("ai,in,ni->an", feeds[j], b[j][:, codes[j]], Z[j])
                product = mine[:, None, None] * (own * other)[None]
                total = total + product + jnp.swapaxes(product, 0, 1)
            return total, None

        total = jax.lax.scan(between, total, places)[0]
    return total


def covariances(rows: HasGroupings, theta: Array) -> tuple[Array, ...]:
    """Sigma = Lambda Lambda' of each grouping factor; (column, column)."""
    return tuple(L @ L.T for L in factors_of_groups(rows, theta))
