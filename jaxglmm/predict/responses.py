"""Responses to come: quantiles of a law whose linear predictors and parameters are uncertain.

    F(y) = E[F(y | eta, phi)],    (eta, phi) ~ N(estimate, C + exp(2 r) S),    r ~ N(0, spread^2),

C being what the errors of the estimates add up to, S what the random effects do of which nothing is
known, and r the error of the logarithm of their standard deviation. The expectation is a sum over
nodes: equally spaced ones in the linear predictors, for a law that is narrow beside them makes a
step of F(y | eta) that Gauss's rules follow badly; and few points with the right moments in phi
(two at +-sqrt(num_phi) along each axis: Julier & Uhlmann 2004, Proc. IEEE 92:401-422) and in r
(Gauss-Hermite's three), whose errors are small.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.arrays import AnyArray
from jaxglmm.families import AbstractFamily
from jaxglmm.families.inversion import count_quantile, line_quantile
from jaxglmm.families.support import TailFunction
from jaxglmm.predict.integral import roots

# Number and reach (in standard deviations) of the nodes in each of so many linear predictors.
_NODES = {1: (41, 6.0), 2: (21, 4.5), 3: (11, 4.0)}
_SCALES = ((-math.sqrt(3.0), 1 / 6), (0.0, 2 / 3), (math.sqrt(3.0), 1 / 6))
_WIDEST = 1.0  # of the error of a logarithm: beyond it nothing is known but that
_COUNTS = {"count": 0.0, "positive_count": 1.0, "binomial": 0.0}  # the first one


class Mixture(NamedTuple):
    """Nodes of (eta, phi) about their estimates.

    Attributes:
        moved: shape (predictor + phi, node, obs).
        weights: shape (node,).
    """

    moved: AnyArray
    weights: AnyArray


def scale_errors(S: np.ndarray, slopes: np.ndarray, V: np.ndarray) -> np.ndarray:
    """The error of log sqrt(tr S) of every row, by the delta method; shape (obs,).

    Args:
        S: shape (predictor, predictor, obs).
        slopes: of S in theta; shape (theta, predictor, predictor, obs).
        V: covariance of the errors of theta.
    """
    whole, by_theta = np.einsum("aan->n", S), np.einsum("taan->tn", slopes)
    variance = np.einsum("tn,ts,sn->n", by_theta, V, by_theta)
    error = 0.5 * np.sqrt(np.maximum(variance, 0.0)) / np.where(whole > 0, whole, 1.0)
    return np.where(whole > 0, np.minimum(error, _WIDEST), 0.0)


def mixture(C: np.ndarray, S: np.ndarray, spread: np.ndarray, num_predictors: int) -> Mixture:
    """The nodes of every row.

    Args:
        C, S: as above, in the order (eta, phi); shape (predictor + phi, predictor + phi, obs).
        spread: of r; shape (obs,).
        num_predictors: how many of these are linear predictors.
    """
    nodes, weights = _nodes(num_predictors, len(C) - num_predictors)
    scales = _SCALES if np.any(spread > 0) else ((0.0, 1.0),)
    moved = [
        np.einsum("kd,adn->akn", nodes, _lower(C + np.exp(2.0 * r * spread) * S)) for r, _ in scales
    ]
    return Mixture(np.concatenate(moved, axis=1), np.concatenate([w * weights for _, w in scales]))


def _nodes(m: int, f: int) -> tuple[np.ndarray, np.ndarray]:
    """Of N(0, I) in m linear predictors and f parameters: (node, m + f), and weights (node,)."""
    size, reach = _NODES[m]
    points = np.linspace(-reach, reach, size)
    mass = np.exp(-0.5 * points**2)
    axis = np.sqrt(f) * np.concatenate([np.eye(f), -np.eye(f)]) if f else np.zeros((1, 0))
    nodes = [(*z, *own) for z in itertools.product(points, repeat=m) for own in axis]
    weights = np.repeat([np.prod(w) for w in itertools.product(mass, repeat=m)], len(axis))
    return np.array(nodes), weights / np.sum(weights)


def _lower(C: np.ndarray) -> np.ndarray:
    """Lower triangular L with L L' = C, singular ones too; (row, column, obs)."""
    root = np.moveaxis(roots(C), -1, 0)
    R = np.asarray(np.linalg.qr(root.swapaxes(-1, -2), mode="r"))
    return np.moveaxis(R.swapaxes(-1, -2), 0, -1)


def quantiles(
    eta: tuple[Array, ...],
    at: Mixture,
    phi: Array,
    weight: Array,
    p: Array,
    *,
    law: AbstractFamily,
    num_counts: int | None = None,
) -> Array:
    """The least y with F(y) >= p of every row; shape (p, obs).

    Args:
        eta: the estimates of the linear predictors; shape (obs,) each.
        at: the nodes about them.
        phi: the estimates of the law's own parameters.
        weight: the law's own constant of each row; shape (obs,).
        p: probabilities.
        law: of a response that is a number.
        num_counts: 0, ..., num_counts - 1 are all numbers that a response can be: few, whose
            probabilities are then summed once. None where they are many, or not counts.
    """
    m, num_obs = len(eta), eta[0].shape[0]
    predictors = jnp.stack(eta)[:, None] + at.moved[:m]
    own = phi[:, None, None] + at.moved[m:]

    def of_row(eta: Array, own: Array, weight: Array, y: Array) -> tuple[Array, Array]:
        return law.tails(eta[0] if m == 1 else tuple(eta), own, weight)(y)

    of_rows = jax.vmap(of_row, (1, 1, 0, 0))
    of_nodes = jax.vmap(of_rows, (1, 1, None, None))

    def of_responses(y: Array) -> tuple[Array, Array]:
        below, above = of_nodes(predictors, own, weight, y)
        return at.weights @ below, at.weights @ above

    def tails(y: Array) -> tuple[Array, Array]:
        """Of y behind any first axes, one after another."""
        below, above = jax.lax.map(of_responses, y.reshape(-1, num_obs))
        return below.reshape(y.shape), above.reshape(y.shape)

    of: TailFunction = tails
    if num_counts is not None:
        of = _summed(_masses(predictors, own, weight, at.weights, law, num_counts))
    return jax.lax.map(lambda one: _quantile(of, jnp.full(num_obs, one), weight, law), p)


def _masses(
    eta: Array, own: Array, weight: Array, weights: Array, law: AbstractFamily, num_counts: int
) -> Array:
    """P(Y = y) of y = 0, 1, ... over all nodes; shape (count, obs)."""

    def of_row(eta: Array, own: Array, weight: Array, y: Array) -> Array:
        there = jnp.minimum(y, weight)
        one: Any = eta[0] if len(eta) == 1 else tuple(eta)
        log_p = law.log_prob(there, one, own, weight)
        return jnp.where(y <= weight, jnp.exp(log_p), 0.0)

    of_nodes = jax.vmap(jax.vmap(of_row, (1, 1, 0, None)), (1, 1, None, None))
    counts = jnp.arange(num_counts, dtype=weight.dtype)
    return jax.lax.map(lambda y: weights @ of_nodes(eta, own, weight, y), counts)


def _summed(masses: Array) -> TailFunction:
    """The tails of y = 0, 1, ... from their probabilities along the first axis."""
    below, above = jnp.cumsum(masses, 0), jnp.cumsum(masses[::-1], 0)[::-1] - masses

    def tails(y: Array) -> tuple[Array, Array]:
        at = y.reshape(-1, masses.shape[1]).astype(jnp.int32)
        found = (jnp.take_along_axis(of, at, 0).reshape(y.shape) for of in (below, above))
        return next(found), next(found)

    return tails


def _quantile(tails: TailFunction, p: Array, weight: Array, law: AbstractFamily) -> Array:
    if law.support not in _COUNTS:
        return line_quantile(tails, p, law.support)
    first = jnp.full_like(p, _COUNTS[law.support])
    return count_quantile(tails, p, first, weight if law.support == "binomial" else None)


def variances(
    eta: tuple[Array, ...],
    at: Mixture,
    phi: Array,
    weight: Array,
    *,
    law: AbstractFamily,
) -> Array:
    """Var(y) of what `response_mean` is the mean of, E Var(y | .) + Var E(y | .); shape (obs,)."""
    m = len(eta)

    def of_row(eta: Array, own: Array, weight: Array) -> tuple[Array, Array]:
        one = eta[0] if m == 1 else tuple(eta)
        return law.response_mean(one, own), law.response_variance(one, own, weight)

    def of_node(moved: Array) -> tuple[Array, Array]:
        rows = jax.vmap(of_row, (1, 1, 0))
        return rows(jnp.stack(eta) + moved[:m], phi[:, None] + moved[m:], weight)

    mu, variance = jax.lax.map(of_node, jnp.swapaxes(at.moved, 0, 1))
    mean = at.weights @ mu
    return at.weights @ (variance + (mu - mean) ** 2)
