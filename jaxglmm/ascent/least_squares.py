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

from jaxglmm import curvature
from jaxglmm.ascent.climb import Climb
from jaxglmm.ascent.maximum import AbstractRoute, Maximum, Prepared, of_all
from jaxglmm.ascent.objective import AbstractObjective, Evaluation, Point
from jaxglmm.ascent.told import within
from jaxglmm.factor import AbstractFactor, BorderedFactor, choose
from jaxglmm.marginal import profiled
from jaxglmm.mode import zeros
from jaxglmm.params import Params
from jaxglmm.predictor import Effects
from jaxglmm.rows import Rows

_CURVED = 1 / 12  # cost of a column of the Hessian where `along_factors` makes it, in evaluations


class Curved(NamedTuple):
    """The Hessian of the profile, how (v, beta) move, and the parts of the Hessian."""

    hessian: Array
    du: Effects
    logdet: Array
    residual: Array


class Aside(NamedTuple):
    """What is known of the last point beside its value."""

    square: Array  # r2
    slopes: Array  # r2_i
    schur: Array  # lower Cholesky factor of S, where beta is inside


@dataclasses.dataclass(frozen=True)
class ProfiledObjective(AbstractObjective):
    """The log-likelihood maximised over beta and sigma."""

    rows: Rows
    factor: AbstractFactor
    of: profiled.Sums

    @property
    def num_theta(self) -> int:
        return self.rows.num_theta

    @property
    def column_cost(self) -> float:
        return _CURVED if self.factor.curves(self.rows.num_theta) else self.factor.column_cost

    @property
    def is_dear(self) -> bool:
        return self.factor.keeps

    @property
    def blank(self) -> Any:
        return ()

    def first(self, psi: Array, start: Effects) -> Point:
        p = self.rows.X.shape[0]
        aside = Aside(jnp.zeros((), psi.dtype), jnp.zeros_like(psi), jnp.eye(p, dtype=psi.dtype))
        return super().first(psi, start)._replace(aside=aside)

    def move(self, point: Point, curved: Curved, step: Array, gain: Array) -> Point:
        bend, aside = curved.residual @ step, point.aside
        aside = aside._replace(
            square=aside.square + step @ (aside.slopes + 0.5 * bend), slopes=aside.slopes + bend
        )
        return super().move(point, curved, step, gain)._replace(aside=aside)

    def uncurved(self, psi: Array, start: Effects) -> Curved:
        none = jnp.zeros((psi.shape[0],) * 2, psi.dtype)
        du = tuple(jnp.zeros((psi.shape[0], *v.shape), psi.dtype) for v in start)
        return Curved(none, du, none, none)

    def evaluate(self, psi: Array, start: Effects, promise: Array, kept: Any) -> Evaluation:
        del start, promise, kept
        at = profiled.profile(self.rows, self.factor, self.of, psi)
        least = at.least
        aside = Aside(least.square, least.slopes, _schur(self.factor, least.factored, psi))
        point = Point(psi, least.v, at.value, at.gradient, at.error, aside)
        return Evaluation(point, at, (), jnp.asarray(1), jnp.asarray(True))

    def curve(self, point: Point, pieces: profiled.Profile, exact: Array) -> Curved:
        found = profiled.curve(self.rows, self.factor, self.of, point.psi, pieces, exact)
        return Curved(found.hessian, found.dv, found.logdet, found.residual)


def suits(rows: Rows) -> bool:
    """Whether the law is least squares given sigma, and theta may be taken relative to it.

    Restrictions and priors are of theta and sigma themselves: they leave neither to be profiled.
    """
    terms = [term for grouping in rows.groupings for term in grouping.terms]
    scales = all(term.covariance.homogeneous for term in terms)
    plain = rows.family.least_squares and rows.restriction is None and rows.prior is None
    return plain and scales and rows.num_theta > 0


class _Read(NamedTuple):
    """What the rows say, y being taken from `origin`."""

    of: profiled.Sums
    origin: Array


@dataclasses.dataclass(frozen=True)
class LeastSquaresRoute(AbstractRoute):
    """Up from a theta; beta is only where y is measured from."""

    def prepare(self, rows: Rows, first: Params) -> Prepared:
        rows = _inside(rows)
        of = profiled.sums(rows, choose(rows), first.beta)
        told = _told(rows, of.A)
        if rows.method == "reml":
            of = of._replace(count=of.count + jnp.sum(rows.free & ~told))
        t = first.theta * jnp.exp(-first.phi[0])
        return Prepared(t, zeros(rows), told, _Read(of, first.beta))

    def objective(self, rows: Rows, prepared: Prepared) -> ProfiledObjective:
        rows = within(_inside(rows), prepared.told)
        return ProfiledObjective(rows, choose(rows), prepared.sums.of)

    def maximum(self, rows: Rows, prepared: Prepared, end: Climb) -> Maximum:
        top = _maximum(within(_inside(rows), prepared.told), prepared.sums, end)
        return of_all(rows, prepared.told, top)


def _inside(rows: Rows) -> Rows:
    """The same rows with beta among the inner variables."""
    inside = dataclasses.replace(rows, method="approximate_laplace")
    return rows if rows.fixed_inside else inside


def _told(rows: Rows, A: Any) -> Array:
    """`ascent.told.told_of`, from the sums that are known."""
    if not rows.fixed_inside:
        return jnp.ones(rows.X.shape[:1], bool)
    held = jnp.where(rows.free, 0.0, 1.0).astype(rows.dtype)
    return curvature.independent(A.corner + jnp.diag(held))


def _maximum(rows: Rows, read: _Read, end: Climb) -> Maximum:
    count, origin, t = read.of.count, read.origin, end.at.psi
    curved, last = end.curved, end.at.aside
    phi = 0.5 * jnp.log(last.square / count)
    sigma = jnp.exp(phi)
    inner, beta = end.at.u, origin
    information = jnp.zeros((rows.num_theta,) * 2, rows.dtype)
    if rows.fixed_inside:
        *inner, more = end.at.u
        beta = origin + more[:, 0]
        information = _information(last.schur, curved.du[-1][:, :, 0])
    k, p = t.shape[0], origin.shape[0]
    corner = 0.5 * (curved.logdet + curved.residual / sigma**2)
    precision = jnp.zeros((p + k + 1,) * 2, t.dtype)
    precision = precision.at[: p + k, : p + k].set(information / sigma**2)
    precision = precision.at[p : p + k, p : p + k].add(corner)
    precision = precision.at[p : p + k, -1].set(-last.slopes / sigma**2)
    precision = precision.at[-1, p : p + k].set(-last.slopes / sigma**2)
    precision = precision.at[-1, -1].set(2.0 * count)
    # (beta, t, phi) by (beta, theta, phi).
    slope = jnp.diag(jnp.concatenate([jnp.ones(p), jnp.full(k, 1.0 / sigma), jnp.ones(1)]))
    slope = slope.astype(t.dtype).at[p : p + k, -1].set(-t)
    precision = slope.T @ precision @ slope
    held = jnp.concatenate([~rows.free, jnp.zeros(k + 1, bool)])
    precision = jnp.where(held[:, None] & held[None, :], jnp.eye(p + k + 1), precision)
    none = jnp.zeros(p, t.dtype)
    return Maximum(
        params=Params(beta, sigma * t, phi[None]),
        u=tuple(v / sigma for v in inner),
        value=end.at.value,
        gradient=jnp.concatenate([none, end.at.gradient / sigma, jnp.zeros(1, t.dtype)]),
        hessian=-precision.astype(t.dtype),
        certified=end.certified,
        iterations=end.iterations,
        passes=end.passes,
        error=end.at.error,
    )


def _schur(factor: AbstractFactor, factored: Any, psi: Array) -> Array:
    """Of the fixed effects, where they are inside; as empty and of psi's type as `first` has it."""
    return factored.schur if isinstance(factor, BorderedFactor) else jnp.zeros((0, 0), psi.dtype)


def _information(schur: Array, J: Array) -> Array:
    """[[S, -S J], [-J'S, J'S J]], sigma being one; J' is given."""
    root = jnp.concatenate([schur.T, -schur.T @ J.T], axis=1)
    return root.T @ root
