"""The working linear model at the mode: y* = X beta + Z b + e, Cov(b) = G(theta), Var(e) = 1 / W.

W are the weights at eta, which depend on phi; for the normal law with identity link this
is the model itself, for other laws the one that pseudo-likelihood fits (Wolfinger & O'Connell 1993,
J. Statist. Comput. Simul. 48:233-243). Laws of one linear predictor.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.arrays import AnyArray
from jaxglmm.inference.blocks import Blocks
from jaxglmm.likelihood import score_and_weights
from jaxglmm.marginal.pseudo import linearised, to_working
from jaxglmm.mode import predictor_at
from jaxglmm.params import Params
from jaxglmm.predictor import Effects
from jaxglmm.rows import Rows, Slice, by_term


class Pieces(NamedTuple):
    """What the covariance matrix of y* is made of.

    Attributes:
        weights: W; (slot, chunk).
        weight_slopes: dW / dphi at the same eta; (phi, slot, chunk).
        covariances: Cov of the columns of each term in one level; (column, column) each.
        directions: their derivatives in the term's theta; (theta, column, column) each.
    """

    weights: AnyArray
    weight_slopes: AnyArray
    covariances: tuple[AnyArray, ...]
    directions: tuple[AnyArray, ...]


def pieces(rows: Rows, params: Params, u: Effects, *, linear: bool, pseudo: bool) -> Pieces:
    """The pieces at a mode.

    pseudo: with the expected weights of pseudo-data (`marginal.pseudo`), else the observed ones;
    for canonical links they are equal.
    linear: structures whose covariances fill a linear space have directions that span it, also
    where a variance is zero and the derivatives in theta vanish.
    """
    eta = predictor_at(rows, params, u)
    if pseudo:
        law = rows.family
        rows, params = linearised(rows, eta[0]), to_working(law, params)

    def weights(phi: Array) -> Array:
        return score_and_weights(rows, eta, phi)[1][0][0]

    terms = list(by_term(rows, params.theta))
    return Pieces(
        weights=weights(params.phi),
        weight_slopes=jnp.moveaxis(jax.jacfwd(weights)(params.phi), -1, 0),
        covariances=tuple(t.covariance.covariance(t.theta, t.constants) for t in terms),
        directions=tuple(_directions(t, linear) for t in terms),
    )


def _directions(term: Slice, linear: bool) -> Array:
    structure, theta = term.covariance, term.theta
    if linear and structure.linear:
        theta = structure.start(jnp.ones((structure.dim,), theta.dtype), term.constants)
    slopes = jax.jacfwd(structure.covariance)(theta, term.constants)
    return jnp.moveaxis(slopes, -1, 0)


class Random(NamedTuple):
    """One term: level of each row, its columns (obs or 1, column), their covariance and its
    directions (theta, column, column)."""

    codes: np.ndarray
    Z: np.ndarray
    covariance: np.ndarray
    directions: np.ndarray


@dataclasses.dataclass(frozen=True)
class Working:
    """The model in NumPy, rows of no weight left out.

    Attributes:
        X: shape (obs, fixed).
        residual: Var(e); (obs,).
        residual_slopes: its derivatives in phi; (phi, obs).
        terms: the random terms.
        free: the matrix that takes (theta, phi) from the parameters that are free, None for all.
    """

    X: np.ndarray
    residual: np.ndarray
    residual_slopes: np.ndarray
    terms: tuple[Random, ...]
    free: np.ndarray | None

    @property
    def num_params(self) -> int:
        """Number of variance parameters."""
        if self.free is not None:
            return self.free.shape[1]
        return sum(len(term.directions) for term in self.terms) + len(self.residual_slopes)

    def covariance(self, blocks: Blocks) -> np.ndarray:
        """V of each block, the identity in slots without a row; (block, slot, slot)."""
        residual = np.where(blocks.filled, self.residual[blocks.index], 1.0)
        V = residual[:, :, None] * np.eye(blocks.size)
        for term in self.terms:
            V += _spread(term, blocks, term.covariance)
        return V

    def slopes(self, blocks: Blocks) -> np.ndarray:
        """dV / dpsi of each block; (param, block, slot, slot)."""
        parts = [_spread(t, blocks, D) for t in self.terms for D in t.directions]
        for slope in self.residual_slopes:
            diagonal = np.where(blocks.filled, slope[blocks.index], 0.0)
            parts.append(diagonal[:, :, None] * np.eye(blocks.size))
        shape = (0, *blocks.index.shape, blocks.size)
        found = np.stack(parts) if parts else np.zeros(shape)
        return found if self.free is None else np.tensordot(self.free.T, found, axes=1)


def _spread(term: Random, blocks: Blocks, matrix: np.ndarray) -> np.ndarray:
    """Z matrix Z' between rows of one level, zero elsewhere."""
    codes = np.where(blocks.filled, term.codes[blocks.index], -1)
    same = (codes[:, :, None] == codes[:, None, :]) & blocks.filled[:, :, None]
    if len(term.Z) == 1:
        return np.where(same, (term.Z @ matrix @ term.Z.T)[0, 0], 0.0)
    Z = term.Z[blocks.index]
    return np.where(same, Z @ matrix @ np.swapaxes(Z, -2, -1), 0.0)
