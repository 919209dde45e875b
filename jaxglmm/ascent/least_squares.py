"""The route of the normal law with identity link: up the profiled log-likelihood in theta alone.

theta is relative to sigma there, t = theta / sigma. At the maximum the negative Hessian in
(beta, t, phi = log sigma) is, with S the Schur complement of X in A, J = d beta / dt and m, r2 as
in `marginal.profiled`,

    [[S / sigma^2,  -S J / sigma^2,                              0             ],
     [.,  (log det H)_ij / 2 + r2_ij / (2 sigma^2) + J'S J / sigma^2,  -r2_i / sigma^2],
     [.,            .,                                           2 m           ]]

for maximum likelihood; the joint precision that `marginal.inside` defines for REML is the same
matrix. The gradient being zero, that in (beta, theta, phi) follows from t = theta exp(-phi).
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxglmm.ascent.climb import Climb, climb
from jaxglmm.ascent.maximum import Maximum
from jaxglmm.ascent.objective import AbstractObjective, Evaluation, Point
from jaxglmm.factor import AbstractFactor, BorderedFactor, choose
from jaxglmm.marginal import profiled
from jaxglmm.mode import zeros
from jaxglmm.params import Params
from jaxglmm.predictor import Effects
from jaxglmm.rows import Rows


class Curved(NamedTuple):
    """The Hessian of the profile, how (v, beta) move, and the parts of the Hessian."""

    hessian: Array
    du: Effects
    logdet: Array
    residual: Array


@dataclasses.dataclass(frozen=True)
class ProfiledObjective(AbstractObjective):
    """The log-likelihood maximised over beta and sigma."""

    rows: Rows
    factor: AbstractFactor
    of: profiled.Sums

    @property
    def column_cost(self) -> float:
        return self.factor.column_cost

    @property
    def blank(self) -> Any:
        return ()

    def uncurved(self, psi: Array, start: Effects) -> Curved:
        none = jnp.zeros((psi.shape[0],) * 2, psi.dtype)
        du = tuple(jnp.zeros((psi.shape[0], *v.shape), psi.dtype) for v in start)
        return Curved(none, du, none, none)

    def evaluate(self, psi: Array, start: Effects, promise: Array, kept: Any) -> Evaluation:
        del start, promise, kept
        at = profiled.profile(self.rows, self.factor, self.of, psi)
        point = Point(psi, at.least.v, at.value, at.gradient, at.error)
        return Evaluation(point, at, (), jnp.asarray(1), jnp.asarray(True))

    def curve(self, point: Point, pieces: profiled.Profile, exact: Array) -> Curved:
        found = profiled.curve(self.rows, self.factor, self.of, point.psi, pieces, exact)
        return Curved(found.hessian, found.dv, found.logdet, found.residual)


def suits(rows: Rows) -> bool:
    """Whether the law is least squares given sigma, and theta may be taken relative to it."""
    terms = [term for grouping in rows.groupings for term in grouping.terms]
    scales = all(term.covariance.homogeneous for term in terms)
    return rows.family.least_squares and scales and rows.num_theta > 0


def by_least_squares(rows: Rows, first: Params, tolerance: float, max_iterations: int) -> Maximum:
    """Up from `first`, whose beta is only where y is measured from."""
    inside = rows if rows.fixed_inside else dataclasses.replace(rows, method="approximate_laplace")
    factor, origin = choose(inside), first.beta
    of = profiled.sums(inside, factor, origin)
    objective = ProfiledObjective(inside, factor, of)
    begin = first.theta * jnp.exp(-first.phi[0])
    end = climb(objective, begin, zeros(inside), tolerance, max_iterations)
    return _maximum(inside, factor, of, origin, end)


def _maximum(
    rows: Rows, factor: AbstractFactor, of: profiled.Sums, origin: Array, end: Climb
) -> Maximum:
    t, curved = end.at.psi, end.curved
    last = profiled.residual(rows, factor, of, t)
    phi = 0.5 * jnp.log(last.square / of.count)
    sigma = jnp.exp(phi)
    within, beta = last.v, origin
    if rows.fixed_inside:
        *within, more = last.v
        beta = origin + more[:, 0]
    information = _information(rows, factor, last.factored, curved)
    k, p = t.shape[0], origin.shape[0]
    corner = 0.5 * (curved.logdet + curved.residual / sigma**2)
    precision = jnp.zeros((p + k + 1,) * 2, t.dtype)
    precision = precision.at[: p + k, : p + k].set(information / sigma**2)
    precision = precision.at[p : p + k, p : p + k].add(corner)
    precision = precision.at[p : p + k, -1].set(-last.slopes / sigma**2)
    precision = precision.at[-1, p : p + k].set(-last.slopes / sigma**2)
    precision = precision.at[-1, -1].set(2.0 * of.count)
    # (beta, t, phi) by (beta, theta, phi).
    slope = jnp.diag(jnp.concatenate([jnp.ones(p), jnp.full(k, 1.0 / sigma), jnp.ones(1)]))
    slope = slope.astype(t.dtype).at[p : p + k, -1].set(-t)
    precision = slope.T @ precision @ slope
    held = jnp.concatenate([~rows.free, jnp.zeros(k + 1, bool)])
    precision = jnp.where(held[:, None] & held[None, :], jnp.eye(p + k + 1), precision)
    none = jnp.zeros(p, t.dtype)
    return Maximum(
        params=Params(beta, sigma * t, phi[None]),
        u=tuple(v / sigma for v in within),
        value=end.at.value,
        gradient=jnp.concatenate([none, end.at.gradient / sigma, jnp.zeros(1, t.dtype)]),
        hessian=-precision.astype(t.dtype),
        certified=end.certified,
        iterations=end.iterations,
        passes=end.passes,
        error=end.at.error,
    )


def _information(rows: Rows, factor: AbstractFactor, factored: Any, curved: Curved) -> Array:
    """[[S, -S J], [-J'S, J'S J]], sigma being one."""
    if not isinstance(factor, BorderedFactor):
        return jnp.zeros((rows.num_theta,) * 2, rows.dtype)
    lower = factored.schur
    root = jnp.concatenate([lower.T, -lower.T @ curved.du[-1][:, :, 0].T], axis=1)
    return root.T @ root
