"""Symmetric matrices as metrics: inverses that survive bad scales and flat directions."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


class Spectrum(NamedTuple):
    """Eigenvalues and vectors of D M D, where D scales the diagonal of M to one in size."""

    scale: Array  # the diagonal of D
    values: Array  # ascending
    vectors: Array


def spectrum(M: Array) -> Spectrum:
    """Jacobi-scaled eigendecomposition: invariant to the units of the parameters."""
    diagonal = jnp.abs(jnp.diagonal(M))
    scale = jnp.where(diagonal > 0, 1.0 / jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1.0)), 1.0)
    scaled = M * scale[:, None] * scale[None, :]
    values, vectors = jnp.linalg.eigh(scaled)
    return Spectrum(scale, values, vectors)


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


def solve(M: Array, g: Array) -> Array:
    """M^-1 g for a positive semidefinite M, in its well-determined directions."""
    s = spectrum(M)
    return pseudo_inverse(s, 10.0 * M.shape[0] * float(jnp.finfo(M.dtype).eps)) @ g
