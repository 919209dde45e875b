"""Scores of the marginal log-likelihood, one vector a cluster.

Clusters share no level of any grouping factor, so the Laplace log-likelihood is a sum over them:

    l_i(psi) = sum log p(y | eta) - |u_i|^2 / 2 - log det H_i / 2,   H_i = A_i' W A_i + I,

with A_i = Z_i Lambda dense. Its gradient follows the mode by a Newton step at the mode with H_i
held fixed (`marginal.laplace.chord`).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.arrays import AnyArray
from jaxglmm.families import AbstractFamily
from jaxglmm.predictor import factors_of_groups
from jaxglmm.rows import Structure

_AT_ONCE = 256  # clusters


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Clusters:
    """The rows and levels of each cluster, padded; the first axis is that of clusters.

    Attributes:
        y, weight, multiplier: as in `rows.Rows`, the last zero where no row is; (cluster, slot).
        offsets: of each linear predictor; (cluster, predictor, slot).
        X: shape (cluster, slot, fixed).
        Z: columns of each grouping factor; (cluster, slot, column).
        codes: levels of each, numbered within the cluster; (cluster, slot).
        u: modes of each, (cluster, latent, level).
        constants, groupings, family, predictors: as in `rows.Rows`; the last three are static.
    """

    y: AnyArray
    weight: AnyArray
    multiplier: AnyArray
    offsets: AnyArray
    X: AnyArray
    Z: tuple[AnyArray, ...]
    codes: tuple[AnyArray, ...]
    u: tuple[AnyArray, ...]
    constants: tuple[tuple[tuple[AnyArray, ...], ...], ...]
    groupings: tuple[Structure, ...] = dataclasses.field(metadata={"static": True})
    family: AbstractFamily = dataclasses.field(metadata={"static": True})
    predictors: tuple[int, ...] = dataclasses.field(metadata={"static": True})


def cluster_scores(clusters: Clusters, psi: Array) -> Array:
    """The gradients of l_i in psi = (beta, theta, phi); (cluster, param)."""

    def one(own: dict[str, Any]) -> Array:
        return jax.grad(_log_likelihood, argnums=1)(dataclasses.replace(clusters, **own), psi)

    names = ("y", "weight", "multiplier", "offsets", "X", "Z", "codes", "u")
    arrays = {name: getattr(clusters, name) for name in names}
    return jax.lax.map(one, arrays, batch_size=_AT_ONCE)


def _log_likelihood(own: Clusters, psi: Array) -> Array:
    """l_i of one cluster without the constant of the data."""
    p, k = own.X.shape[-1], sum(g.num_theta for g in own.groupings)
    beta, theta, phi = psi[:p], psi[p : p + k], psi[p + k :]
    A, fixed = _loadings(own, theta), own.offsets + _fixed_part(own, beta)
    at = jnp.concatenate([values.T.ravel() for values in own.u] or [jnp.zeros((0,), psi.dtype)])

    def law(eta: Array, y: Array, weight: Array, phi: Array) -> Array:
        predictors: Any = eta[0] if len(eta) == 1 else tuple(eta)
        return own.family.log_kernel(y, predictors, phi, weight)

    def by_row(function: Any, u: Array, A: Array, fixed: Array, phi: Array) -> Array:
        """function of law at every row, zero where no row counts."""
        eta = (fixed + A @ u).T
        found = jax.vmap(function(law), in_axes=(0, 0, 0, None))(eta, own.y, own.weight, phi)
        counts = own.multiplier.reshape(-1, *[1] * (found.ndim - 1))
        return jnp.where(counts > 0, counts * found, 0.0)

    def curvature(u: Array, A: Array, fixed: Array, phi: Array) -> Array:
        W = -by_row(jax.hessian, u, A, fixed, phi)
        return jnp.einsum("asi,sab,bsj->ij", A, W, A) + jnp.eye(len(u), dtype=u.dtype)

    stop = jax.lax.stop_gradient
    held = curvature(at, stop(A), stop(fixed), stop(phi))
    slope = jnp.einsum("asi,sa->i", A, by_row(jax.grad, at, A, fixed, phi)) - at
    u = at + jnp.linalg.solve(held, slope)
    value = jnp.sum(by_row(lambda f: f, u, A, fixed, phi)) - 0.5 * jnp.sum(u**2)
    return value - 0.5 * jnp.linalg.slogdet(curvature(u, A, fixed, phi))[1]


def _fixed_part(own: Clusters, beta: Array) -> Array:
    """X beta of every linear predictor; (predictor, slot)."""
    feeds = jnp.asarray(own.predictors, int) == jnp.arange(own.family.num_predictors)[:, None]
    return jnp.where(feeds, beta, 0.0) @ own.X.T


def _loadings(own: Clusters, theta: Array) -> Array:
    """A = Z Lambda of every linear predictor; (predictor, slot, random effect)."""
    slots, parts = own.y.shape[0], []
    for k, Lam in enumerate(factors_of_groups(own, theta)):
        feeds = jnp.asarray(own.groupings[k].predictors)
        levels = own.u[k].shape[-1]
        there = (own.codes[k][:, None] == jnp.arange(levels)).astype(Lam.dtype)
        by_predictor = jnp.arange(own.family.num_predictors)[:, None] == feeds
        Z = jnp.where(by_predictor[:, None, :], own.Z[k], 0.0) @ Lam  # (predictor, slot, latent)
        product = there[None, :, :, None] * Z[:, :, None, :]
        parts.append(product.reshape(len(Z), slots, -1))
    if not parts:
        return jnp.zeros((own.family.num_predictors, slots, 0), theta.dtype)
    return jnp.concatenate(parts, axis=-1)
