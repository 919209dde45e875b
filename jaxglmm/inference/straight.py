"""Parameters as users read them, on scales on which the likelihood is smooth up to their bounds.

    fixed effects, thresholds        themselves
    the law's own parameters         the entry of phi that each is a function of
    standard deviations              themselves, or their roots where theta has these; the
                                     likelihood is even in them about zero
    correlations in [low, 1]         -arccos((2 r - 1 - low) / (1 - low)), even about both ends
    ranges and shapes                logarithms

Likelihood ratios do not change with the scale, so that limits found on it are those of the
parameter itself.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.arrays import AnyArray
from jaxglmm.params import natural_values
from jaxglmm.restriction import Share
from jaxglmm.rows import Rows


class Chosen(NamedTuple):
    """A function of psi: linear . psi, or one of the natural parameters.

    Attributes:
        linear: shape (psi,).
        natural: which of `params.natural_values`, none or one of them; shape (natural,), bool.
    """

    linear: AnyArray
    natural: AnyArray


class Straight(NamedTuple):
    """The value of a chosen parameter and its derivatives in the free entries of psi."""

    value: Array
    gradient: Array
    hessian: Array


def straight(rows: Rows, share: Share | None, chosen: Chosen, psi: Array) -> Straight:
    """At the free entries psi.

    Tangents are taken forwards: those of parameters that are not defined (a correlation with a
    column of no variance) are then left out, not multiplied by zero.
    """
    full = psi if share is None else share.expand(psi)
    p = rows.num_fixed

    def natural(rest: Array) -> Array:
        values = _straightened(rows, rest)
        return jnp.sum(jnp.where(chosen.natural, values, 0.0))

    rest = full[p:]
    gradient = chosen.linear.at[p:].add(jax.jacfwd(natural)(rest))
    hessian = jnp.zeros((full.shape[0],) * 2, rows.dtype)
    hessian = hessian.at[p:, p:].set(jax.jacfwd(jax.jacfwd(natural))(rest))
    value = chosen.linear @ full + natural(rest)
    if share is None:
        return Straight(value, gradient, hessian)
    return Straight(value, share.pull(gradient), share.pull(share.pull(hessian).T))


def edges(rows: Rows, chosen: Chosen) -> tuple[Array, Array]:
    """The bounds that are points of the scale, infinite where there are none."""
    kinds = _kinds(rows)
    low = np.where(kinds.sd, 0.0, np.where(kinds.corr, -math.pi, -np.inf))
    high = np.where(kinds.corr, 0.0, np.inf)
    plain = ~jnp.any(chosen.natural)

    def of(values: np.ndarray, none: float) -> Array:
        return jnp.where(plain, none, jnp.sum(jnp.where(chosen.natural, values, 0.0)))

    return of(low, -np.inf), of(high, np.inf)


class _Kinds(NamedTuple):
    """Of each natural parameter; (natural,) each."""

    sd: np.ndarray
    root: np.ndarray  # a standard deviation whose root is in theta
    corr: np.ndarray
    log: np.ndarray
    lowest: np.ndarray  # correlation


def _kinds(rows: Rows) -> _Kinds:
    found = [
        (parameter.kind, term.covariance.lowest_correlation, term.covariance.roots)
        for grouping in rows.groupings
        for term in grouping.terms
        for parameter in term.covariance.parameters
    ]
    own = rows.family.num_thresholds + len(rows.family.phi_names)
    kind = np.array([of[0] for of in found] + ["own"] * own)
    lowest = np.array([of[1] for of in found] + [-1.0] * own)
    root = np.array([of[2] for of in found] + [False] * own, bool) & (kind == "sd")
    return _Kinds(kind == "sd", root, kind == "corr", np.isin(kind, ("range", "shape")), lowest)


def _straightened(rows: Rows, rest: Array) -> Array:
    """All natural parameters on their scales, from (theta, phi)."""
    values = natural_values(rows, rest[: rows.num_theta], rest[rows.num_theta :])
    kinds = _kinds(rows)
    cosine = (2.0 * values - 1.0 - kinds.lowest) / (1.0 - kinds.lowest)
    angle = -jnp.arccos(jnp.where(kinds.corr, jnp.clip(cosine, -1.0, 1.0), 0.0))
    logarithm = jnp.log(jnp.where(kinds.log, values, 1.0))
    plain = jnp.where(kinds.root, jnp.sqrt(jnp.where(kinds.root, values, 1.0)), values)
    return jnp.where(kinds.corr, angle, jnp.where(kinds.log, logarithm, plain))
