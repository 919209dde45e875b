"""Means over random effects: E[mu] for eta ~ N(mean, S), by Gauss-Hermite quadrature.

    M(eta, S, phi) = E f(eta + L z, phi),    z ~ N(0, I),  L L' = S,

f being the mean response given its linear predictors. The random effects of a row enter through
the few numbers S = Cov(z_a' b, z_c' b) alone, however many they are: one variance for a law of one
linear predictor. Slopes are means too:

    dM/deta_a = E f_a,    dM/dS_ac = E f_ac / 2    (the heat equation),    dM/dphi = E f_phi.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.arrays import AnyArray
from jaxglmm.families import AbstractFamily
from jaxglmm.links import AbstractLink

# Nodes by the number of linear predictors that vary. A logistic mean has poles at pi / sd from the
# line: 141 nodes leave 2e-16 at a standard deviation of 2, 1e-8 at 4 and 3e-7 at 5 (by adaptive
# integration); exponential means are exact up to deviations of 8.
_NODES = {0: 1, 1: 141, 2: 41, 3: 21}

Mean = Callable[[tuple[Array, ...], Array], Array]
Scale = Literal["response", "link", "inverse"]


class Rule(NamedTuple):
    """Nodes z (node, dim) with their weights (node,), and L by row (predictor, dim, obs)."""

    nodes: AnyArray
    weights: AnyArray
    root: AnyArray


class Means(NamedTuple):
    """Mean responses and their slopes, arrays of the shape of `value` behind the first axes.

    Attributes:
        value: shape (obs,), or (category, obs): probabilities of an ordinal response.
        by_eta: slopes in the linear predictors; shape (predictor, ...).
        by_phi: in the law's own parameters; shape (phi, ...).
        by_cov: in the covariances of the linear predictors; shape (predictor, predictor, ...).
    """

    value: AnyArray
    by_eta: AnyArray
    by_phi: AnyArray
    by_cov: AnyArray


def means(eta: tuple[Array, ...], phi: Array, *, law: AbstractFamily, scale: Scale) -> Means:
    """f itself and its slopes; `law` and `scale` say what it is (`mean_of`)."""
    return _at(mean_of(law, scale), eta, phi)


def marginal_means(
    eta: tuple[Array, ...],
    rule: Rule,
    phi: Array,
    *,
    law: AbstractFamily,
    scale: Scale,
) -> Means:
    """M and its slopes.

    Args:
        eta: the linear predictors at b = 0; shape (obs,) each.
        rule: of `rule_of` their covariances.
        phi: the law's own parameters.
        law, scale: as in `mean_of`; "link" is the link of the marginal mean.
    """
    mean = mean_of(law, "response" if scale == "response" else "inverse")

    def add(total: Means, one: tuple[Array, Array]) -> tuple[Means, None]:
        z, weight = one
        moved = tuple(e + jnp.tensordot(z, r, axes=1) for e, r in zip(eta, rule.root, strict=True))
        return jax.tree.map(lambda t, v: t + weight * v, total, _at(mean, moved, phi)), None

    shapes = jax.eval_shape(lambda: _at(mean, eta, phi))
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    found = jax.lax.scan(add, nothing, (rule.nodes, rule.weights))[0]
    return found if scale == "response" else _linked(law.link, found)


def mean_of(law: AbstractFamily, scale: Scale) -> Mean:
    """The response's mean given all linear predictors; of the first one alone its inverse link, or
    the predictor itself."""
    if scale == "link":
        return lambda eta, phi: eta[0]
    if scale == "inverse":
        return lambda eta, phi: law.link.mean(eta[0])
    one, ordinal = law.num_predictors == 1, law.support == "ordinal"

    def mean(eta: tuple[Array, ...], phi: Array) -> Array:
        value = law.response_mean(eta[0] if one else eta, phi)
        return value.T if ordinal else value

    return mean


def _linked(link: AbstractLink, at: Means) -> Means:
    """g(M) and its slopes, g'(M) being the inverse of the slope of g^-1."""
    value = link.predictor(at.value)
    slope = 1.0 / jax.jvp(link.mean, (value,), (jnp.ones_like(value),))[1]
    return Means(value, slope * at.by_eta, slope * at.by_phi, slope * at.by_cov)


def _at(mean: Mean, eta: tuple[Array, ...], phi: Array) -> Means:
    """f and its derivatives; elementwise in eta, so that tangents of ones are slopes of rows."""
    m, zeros = len(eta), tuple(map(jnp.zeros_like, eta))

    def unit(a: int) -> tuple[Array, ...]:
        return (*zeros[:a], jnp.ones_like(eta[a]), *zeros[a + 1 :])

    def slope(a: int) -> Callable[[tuple[Array, ...]], Array]:
        return lambda at: jax.jvp(lambda e: mean(e, phi), (at,), (unit(a),))[1]

    value = mean(eta, phi)
    second = [[jax.jvp(slope(a), (eta,), (unit(c),))[1] for c in range(m)] for a in range(m)]
    own = [
        jax.jvp(lambda p: mean(eta, p), (phi,), (jnp.zeros_like(phi).at[k].set(1.0),))[1]
        for k in range(phi.shape[0])
    ]
    return Means(
        value=value,
        by_eta=jnp.stack([slope(a)(eta) for a in range(m)]),
        by_phi=jnp.stack(own) if own else jnp.zeros((0, *value.shape), value.dtype),
        by_cov=0.5 * jnp.stack([jnp.stack(row) for row in second]),
    )


def rule_of(S: np.ndarray) -> Rule:
    """Nodes for linear predictors of these covariances, (predictor, predictor, obs).

    A product rule in as many dimensions as predictors vary.
    """
    varying = np.flatnonzero(np.any(np.einsum("aan->an", S) > 0, axis=1))
    dim = len(varying)
    points, weights = np.polynomial.hermite_e.hermegauss(_NODES[dim])
    nodes = np.array(list(itertools.product(points, repeat=dim))).reshape(-1 if dim else 1, dim)
    products = np.array([np.prod(w) for w in itertools.product(weights, repeat=dim)])
    root = np.zeros((len(S), dim, S.shape[-1]))
    root[varying] = roots(S[np.ix_(varying, varying)])
    return Rule(nodes, products / np.sum(products), root)


def roots(S: np.ndarray) -> np.ndarray:
    """L with L L' = S of every row, singular ones too; (row, column, obs).

    What is not finite counts as zero: the linear predictors are then not finite either.
    """
    finite = np.where(np.isfinite(S), S, 0.0)
    values, vectors = np.linalg.eigh(np.moveaxis(finite, -1, 0))
    scaled = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
    return np.moveaxis(scaled, 0, -1)
