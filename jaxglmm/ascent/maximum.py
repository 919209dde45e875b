"""From a start to a maximum: what a route is, and the general one, by Laplace's approximation."""

from __future__ import annotations

import abc
import dataclasses
import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxglmm.ascent.climb import Climb, Ends, climb
from jaxglmm.ascent.objective import AbstractObjective, LaplaceObjective
from jaxglmm.ascent.restricted import PenalisedObjective, RestrictedObjective, share_of
from jaxglmm.ascent.told import told_of, within
from jaxglmm.factor import choose
from jaxglmm.marginal.inside import inward, joint_hessian, outward, places
from jaxglmm.mode import near, zeros
from jaxglmm.params import Params, flatten, unflatten
from jaxglmm.predictor import Effects
from jaxglmm.rows import Rows


class Maximum(NamedTuple):
    """All parameters as such, beta included whatever the method.

    `value` is without the data's constant, and with the log-density of the prior; gradient and
    Hessian are in (beta, theta, phi), and where some of these are restricted in the free ones.
    """

    params: Params
    u: Effects
    value: Array
    gradient: Array
    hessian: Array
    certified: Array
    iterations: Array
    passes: Array
    error: Array  # standard error of `value`, zero where it is exact


class Prepared(NamedTuple):
    """Where an ascent begins, and what its route reads from the rows once.

    `told`: as of `ascent.told`, None for all columns.
    """

    psi: Array
    u: Effects
    told: Array | None = None
    sums: Any = ()


class AbstractRoute(abc.ABC):
    """What is climbed, and what its top says about the model."""

    @abc.abstractmethod
    def prepare(self, rows: Rows, first: Params) -> Prepared:
        """Begin at `first`."""

    @abc.abstractmethod
    def objective(self, rows: Rows, prepared: Prepared) -> AbstractObjective:
        """A function of psi."""

    @abc.abstractmethod
    def maximum(self, rows: Rows, prepared: Prepared, end: Climb) -> Maximum:
        """All that follows from the end of the ascent."""

    def up(self, rows: Rows, first: Params, ends: Ends) -> Maximum:
        """The whole way."""
        prepared = self.prepare(rows, first)
        objective = self.objective(rows, prepared)
        end = climb(objective, prepared.psi, prepared.u, ends)
        return self.maximum(rows, prepared, end)


@dataclasses.dataclass(frozen=True)
class LaplaceRoute(AbstractRoute):
    """Any law, any structure, any method."""

    def prepare(self, rows: Rows, first: Params) -> Prepared:
        told = told_of(rows) if rows.fixed_inside else None
        rows = within(rows, told)
        params, u = inward(rows, first, zeros(rows.random_only))
        u = near(rows, choose(rows), params, u)
        psi, share = flatten(params), share_of(rows, rows.num_fixed)
        return Prepared(psi if share is None else share.collapse(psi), u, told)

    def objective(self, rows: Rows, prepared: Prepared) -> AbstractObjective:
        rows = within(rows, prepared.told)
        objective: AbstractObjective = LaplaceObjective(rows, choose(rows))
        if rows.prior is not None:
            objective = PenalisedObjective(objective, rows)
        share = share_of(rows, rows.num_fixed)
        return objective if share is None else RestrictedObjective(objective, share)

    def maximum(self, rows: Rows, prepared: Prepared, end: Climb) -> Maximum:
        return of_all(rows, prepared.told, self._top(within(rows, prepared.told), end))

    def _top(self, rows: Rows, end: Climb) -> Maximum:
        share = share_of(rows, rows.num_fixed)
        psi = end.at.psi if share is None else share.expand(end.at.psi)
        inner = unflatten(psi, rows)
        hessian = joint_hessian(rows, choose(rows), inner, end.at.u, end.curved)
        gradient = jnp.zeros(hessian.shape[0], rows.dtype)
        params, u = outward(rows, inner, end.at.u)
        return Maximum(
            params=params,
            u=u,
            value=end.at.value,
            gradient=gradient.at[places(rows, end.at.psi.shape[0])].set(end.at.gradient),
            hessian=hessian,
            certified=end.certified,
            iterations=end.iterations,
            passes=end.passes,
            error=end.at.error,
        )


def of_all(rows: Rows, told: Array | None, top: Maximum) -> Maximum:
    """The maximum of `within`, as that of the rows themselves: of the columns that are not told
    nothing is known, and `inside.constant` counts all that are free."""
    if told is None:
        return top
    known = jnp.concatenate([told, jnp.ones(top.hessian.shape[0] - told.shape[0], bool)])
    hessian = jnp.where(known[:, None] & known[None, :], top.hessian, 0.0)
    if rows.method != "reml":
        return top._replace(hessian=hessian)
    lost = jnp.sum(rows.free & ~told).astype(rows.dtype)
    return top._replace(hessian=hessian, value=top.value - 0.5 * math.log(2.0 * math.pi) * lost)
