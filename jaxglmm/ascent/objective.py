"""What an ascent climbs: a value with its gradient at a point, and the exact Hessian there."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxglmm.arrays import plus
from jaxglmm.factor import AbstractFactor
from jaxglmm.marginal import criterion
from jaxglmm.marginal.hessian import Curved
from jaxglmm.mode import Kept, no_factor, search, tight
from jaxglmm.params import free_params, unflatten
from jaxglmm.predictor import Effects, fixed_change, random_effects, relative_factors
from jaxglmm.rows import Rows, by_term

TIGHT = 1e-4
"""The promise below which a mode is found to rounding level."""

_PREDICTED = 2.0  # times the largest random effect, or a standard deviation, in a prediction
_FARTHEST = 1.0  # of a step in the logarithm of a dispersion or the logit of a probability


class Point(NamedTuple):
    """A parameter vector with its mode, value and gradient."""

    psi: Array
    u: Effects
    value: Array
    gradient: Array
    error: Array  # standard error of `value`, zero where it is exact
    aside: Any = ()  # what else an objective wants to know of the last point


class Evaluation(NamedTuple):
    """A point, what it is made of, and how its mode was found."""

    point: Point
    pieces: Any  # for `curve`
    kept: Any  # for the next `evaluate`
    passes: Array
    exact: Array  # the mode is right to rounding


class AbstractObjective(abc.ABC):
    """A function of psi whose evaluation finds a mode u on the way."""

    @property
    @abc.abstractmethod
    def column_cost(self) -> float:
        """Cost of a column of the Hessian, in evaluations."""

    @property
    @abc.abstractmethod
    def is_dear(self) -> bool:
        """Whether an evaluation costs far more than a pass over the rows."""

    @property
    @abc.abstractmethod
    def num_theta(self) -> int:
        """Covariance parameters among psi."""

    @property
    def of_law(self) -> tuple[int, ...]:
        """Places among psi, counted from either end, of the law's parameters that are logarithms or
        logits, whose maximum may be at infinity."""
        return ()

    @property
    @abc.abstractmethod
    def blank(self) -> Any:
        """The `kept` of the first evaluation."""

    @abc.abstractmethod
    def evaluate(self, psi: Array, start: Effects, promise: Array, kept: Any) -> Evaluation:
        """Mode, value and gradient at psi, in reach of a step that promises so much; `start` is a
        guess of the mode."""

    def first(self, psi: Array, start: Effects) -> Point:
        """A point without value, to begin from."""
        zero = jnp.zeros((), psi.dtype)
        return Point(psi, start, zero - jnp.inf, jnp.zeros_like(psi), zero)

    def move(self, point: Point, curved: Any, step: Array, gain: Array) -> Point:
        """The point a small step away, to first order, with so much more value."""
        u = along(point.u, curved.du, step)
        return point._replace(psi=point.psi + step, u=u, value=point.value + gain)

    def guess(self, begin: Array, end: Array, u: Effects, ahead: Effects) -> Effects:
        """Where the search for the mode at the end of a step begins: `ahead`, where the tangents of
        the mode u at its beginning lead, unless something else is better."""
        del begin, end, u
        return ahead

    def reach(self, step: Array) -> Array | float:
        """The share of a step, at most one, that is not out of all bounds."""
        del step
        return 1.0

    def uncurved(self, psi: Array, start: Effects) -> Any:
        """What `curve` returns, of zeros."""
        none = jnp.zeros((psi.shape[0],) * 2, psi.dtype)
        return Curved(none, tuple(jnp.zeros((psi.shape[0], *u.shape), psi.dtype) for u in start))

    @abc.abstractmethod
    def curve(self, point: Point, pieces: Any, exact: Array) -> Any:
        """The Hessian `hessian` and how the mode moves, `du`, as fields of a tuple.

        The former may rest on estimated traces, right to a per cent or two, unless `exact`.
        """


def along(u: Effects, du: Effects, step: Array) -> Effects:
    """Where the mode's tangents lead after a step."""
    return plus(u, tuple(jnp.tensordot(step, d, axes=1) for d in du))


@dataclasses.dataclass(frozen=True)
class LaplaceObjective(AbstractObjective):
    """The log-likelihood in psi = (beta, theta, phi), by Laplace's approximation or what the rows
    ask for in its place (`marginal.criterion`), without the data's constant."""

    rows: Rows
    factor: AbstractFactor

    @property
    def num_theta(self) -> int:
        return self.rows.num_theta

    @property
    def of_law(self) -> tuple[int, ...]:
        family = self.rows.family
        named = enumerate(family.phi_names, -len(family.phi_names))
        return tuple(place for place, name in named if name not in family.signed)

    @property
    def column_cost(self) -> float:
        return self.factor.column_cost

    @property
    def is_dear(self) -> bool:
        return self.factor.keeps

    @property
    def blank(self) -> Any:
        return no_factor(self.rows, self.factor)

    def evaluate(self, psi: Array, start: Effects, promise: Array, kept: Any) -> Evaluation:
        rows, factor, params = self.rows, self.factor, unflatten(psi, self.rows)
        tolerance = mode_tolerance(rows, promise)
        u, passes, left = search(rows, factor, params, start, tolerance, kept)
        at = criterion.find(rows, factor, psi, u, order=4)
        gradient = jnp.where(free_params(rows, psi), at.gradient, 0.0)
        point = Point(psi, u, at.value, gradient, at.error)
        keep = Kept(at.pieces.factored, jnp.isfinite(at.value)) if factor.keeps else ()
        return Evaluation(point, at.pieces, keep, passes, left < tight(rows))

    def guess(self, begin: Array, end: Array, u: Effects, ahead: Effects) -> Effects:
        """`ahead`, but zero in levels whose random effects would move there by more than
        `_PREDICTED` times the largest one of their column, or its standard deviation.

        Tangents tell nothing of steps so long, and often lead to predictors whose exponential is
        infinite: from there Newton's method takes a pass for each unit of a predictor, where from
        zero it takes about ten. With links that are not monotone zero may be on another side.
        """
        rows = self.rows
        if not rows.family.link.is_monotone:
            return ahead

        def near(of: Array, old: Array, new: Array, factor: Array) -> Array:
            sd = jnp.sqrt(jnp.sum(factor * factor, axis=1, keepdims=True))
            largest = jnp.maximum(jnp.max(jnp.abs(old), axis=1, keepdims=True), sd)
            return jnp.where(jnp.all(jnp.abs(new - old) <= _PREDICTED * largest, axis=0), of, 0.0)

        before, after = (relative_factors(rows, unflatten(psi, rows).theta) for psi in (begin, end))
        inner = len(rows.groupings)  # beta, where it is inside, is as it is
        old, new = random_effects(before, u), random_effects(after, ahead)
        found = tuple(map(near, ahead[:inner], old, new, before))
        return (*found, *ahead[inner:])

    def reach(self, step: Array) -> Array | float:
        """Up to `_FARTHEST` in the law's parameters and every linear predictor behind the first.

        These are logarithms and logits, and start near. Where their random effects are weakly
        identified the Hessian may be next to singular, and a step lead to dispersions of exp(-800)
        with modes that take the longest to find (a normal law, 30 levels of 8 rows: 560 instead of
        970 passes for 30 fits, 47 instead of 355 for the worst).
        """
        rows, moved = self.rows, unflatten(step, self.rows)
        parts = [jnp.abs(moved.phi)] if rows.family.num_phi else []
        if rows.family.num_predictors > 1:
            parts += [jnp.abs(part) for part in fixed_change(rows, moved.beta)[1:]]
            parts += [jnp.abs(own.theta) for own in by_term(rows, moved.theta) if own.is_further]
        if not parts:
            return 1.0
        farthest = jnp.max(jnp.stack([jnp.max(part, initial=0.0) for part in parts]))
        return jnp.where(farthest > _FARTHEST, _FARTHEST / farthest, 1.0)

    def curve(self, point: Point, pieces: Any, exact: Array) -> Curved:
        """Coefficients of padding columns are held."""
        curved = criterion.hessian(self.rows, self.factor, point.psi, pieces, exact)
        free = free_params(self.rows, point.psi)
        held = jnp.diag(jnp.where(free, 0.0, -1.0).astype(self.rows.dtype))
        both = free[:, None] & free[None, :]
        return curved._replace(hessian=jnp.where(both, curved.hessian, held))


def mode_tolerance(rows: Rows, promise: Array) -> Array:
    """How exactly modes are needed where a step still promises `promise`.

    The mode's last step leaves an error that enters value and gradient: it should stay well below
    the gradient itself, whose size is sqrt(promise). At a point that may be the last one nothing
    but rounding is to be left.
    """
    loose = jnp.clip(0.01 * jnp.sqrt(jnp.abs(promise)), tight(rows), 1e-3)
    return jnp.where(promise < TIGHT, tight(rows), loose)
