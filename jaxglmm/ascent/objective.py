"""What an ascent climbs: a value with its gradient at a point, and the exact Hessian there."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxglmm.factor import AbstractFactor
from jaxglmm.marginal import laplace
from jaxglmm.marginal.hessian import Curved, hessian_of_pieces
from jaxglmm.mode import Kept, no_factor, search, tight
from jaxglmm.params import flatten, free_params, unflatten
from jaxglmm.predictor import Effects
from jaxglmm.rows import Rows


class Point(NamedTuple):
    """A parameter vector with its mode, value and gradient."""

    psi: Array
    u: Effects
    value: Array
    gradient: Array
    error: Array  # standard error of `value`, zero where it is exact


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
    def blank(self) -> Any:
        """The `kept` of the first evaluation."""

    @abc.abstractmethod
    def evaluate(self, psi: Array, start: Effects, promise: Array, kept: Any) -> Evaluation:
        """Mode, value and gradient at psi, in reach of a step that promises so much; `start` is a
        guess of the mode."""

    def uncurved(self, psi: Array, start: Effects) -> Any:
        """What `curve` returns, of zeros."""
        none = jnp.zeros((psi.shape[0],) * 2, psi.dtype)
        return Curved(none, tuple(jnp.zeros((psi.shape[0], *u.shape), psi.dtype) for u in start))

    @abc.abstractmethod
    def curve(self, point: Point, pieces: Any, exact: Array) -> Any:
        """The Hessian `hessian` and how the mode moves, `du`, as fields of a tuple.

        The former may rest on estimated traces, right to a per cent or two, unless `exact`.
        """


@dataclasses.dataclass(frozen=True)
class LaplaceObjective(AbstractObjective):
    """The Laplace log-likelihood in psi = (beta, theta, phi) without the data's constant."""

    rows: Rows
    factor: AbstractFactor

    @property
    def column_cost(self) -> float:
        return self.factor.column_cost

    @property
    def blank(self) -> Any:
        return no_factor(self.rows, self.factor)

    def evaluate(self, psi: Array, start: Effects, promise: Array, kept: Any) -> Evaluation:
        rows, factor, params = self.rows, self.factor, unflatten(psi, self.rows)
        tolerance = mode_tolerance(rows, promise)
        u, passes, left = search(rows, factor, params, start, tolerance, kept)
        at = laplace.pieces(rows, factor, params, u, order=4)
        gradient = flatten(laplace.gradient(rows, factor, params, at))
        gradient = jnp.where(free_params(rows, psi), gradient, 0.0)
        point = Point(psi, u, at.value, gradient, at.error)
        keep = Kept(at.factored, jnp.isfinite(at.value)) if factor.keeps else ()
        return Evaluation(point, at, keep, passes, left < tight(rows))

    def curve(self, point: Point, pieces: Any, exact: Array) -> Curved:
        """Coefficients of padding columns are held."""
        params = unflatten(point.psi, self.rows)
        curved = hessian_of_pieces(self.rows, self.factor, params, pieces, exact)
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
    return jnp.where(promise < 1e-4, tight(rows), loose)
