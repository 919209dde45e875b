"""Objectives made from another: in the free parameters alone, and with a prior."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
from jax import Array

from jaxglmm.ascent.objective import AbstractObjective, Evaluation, Point
from jaxglmm.marginal.hessian import Curved
from jaxglmm.params import log_prior, unflatten
from jaxglmm.predictor import Effects
from jaxglmm.restriction import HELD, Share, all_free, joined
from jaxglmm.rows import Rows


def share_of(rows: Rows, num_fixed: int) -> Share | None:
    """Of psi with so many fixed effects in front; None where all parameters are free."""
    if rows.restriction is None:
        return None
    return joined(all_free(num_fixed), rows.restriction)


@dataclasses.dataclass(frozen=True)
class DerivedObjective(AbstractObjective):
    """One that costs what it is made from costs."""

    of: AbstractObjective

    @property
    def num_theta(self) -> int:
        return self.of.num_theta

    @property
    def of_law(self) -> tuple[int, ...]:
        return self.of.of_law

    @property
    def column_cost(self) -> float:
        return self.of.column_cost

    @property
    def is_dear(self) -> bool:
        return self.of.is_dear

    @property
    def blank(self) -> Any:
        return self.of.blank

    def guess(self, begin: Array, end: Array, u: Effects, ahead: Effects) -> Effects:
        return self.of.guess(begin, end, u, ahead)

    def reach(self, step: Array) -> Array | float:
        return self.of.reach(step)


@dataclasses.dataclass(frozen=True)
class RestrictedObjective(DerivedObjective):
    """f(c + M x): the gradient is M'g, the Hessian M'HM, and the mode moves by M'du."""

    share: Share

    @property
    def of_law(self) -> tuple[int, ...]:
        return tuple(sorted({self.share.index[k] for k in self.of.of_law} - {HELD}))

    def guess(self, begin: Array, end: Array, u: Effects, ahead: Effects) -> Effects:
        return self.of.guess(self.share.expand(begin), self.share.expand(end), u, ahead)

    def reach(self, step: Array) -> Array | float:
        return self.of.reach(self.share.push(step))

    def evaluate(self, psi: Array, start: Effects, promise: Array, kept: Any) -> Evaluation:
        found = self.of.evaluate(self.share.expand(psi), start, promise, kept)
        gradient = self.share.pull(found.point.gradient)
        return found._replace(point=found.point._replace(psi=psi, gradient=gradient))

    def curve(self, point: Point, pieces: Any, exact: Array) -> Curved:
        full = self.share.expand(point.psi)
        curved = self.of.curve(point._replace(psi=full), pieces, exact)
        hessian = self.share.pull(self.share.pull(curved.hessian).T)
        return Curved(hessian, tuple(map(self.share.pull, curved.du)))


@dataclasses.dataclass(frozen=True)
class PenalisedObjective(DerivedObjective):
    """f + log p, p being the prior of the rows."""

    rows: Rows

    def _log_prior(self, psi: Array) -> Array:
        return log_prior(self.rows, unflatten(psi, self.rows))

    def evaluate(self, psi: Array, start: Effects, promise: Array, kept: Any) -> Evaluation:
        found = self.of.evaluate(psi, start, promise, kept)
        value, slope = jax.value_and_grad(self._log_prior)(psi)
        at = found.point
        point = at._replace(value=at.value + value, gradient=at.gradient + slope)
        return found._replace(point=point)

    def curve(self, point: Point, pieces: Any, exact: Array) -> Curved:
        curved = self.of.curve(point, pieces, exact)
        return curved._replace(hessian=curved.hessian + jax.hessian(self._log_prior)(point.psi))
