"""The design that all models of a batch share, as the engine reads it."""

from __future__ import annotations

import abc
import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxglmm.ascent import Estimate
from jaxglmm.ascent.reduction import reduce, reduce_params
from jaxglmm.design import Problem
from jaxglmm.frontend import fitting
from jaxglmm.frontend.build import Labels
from jaxglmm.frontend.many.program import Outcome, Slots
from jaxglmm.frontend.many.work import AbstractWork
from jaxglmm.inference.basis import Basis, change_basis
from jaxglmm.inference.vcov import num_flat
from jaxglmm.params import Params
from jaxglmm.rows import Rows, arrange


@dataclass(frozen=True, eq=False)
class Design:
    """What all models share.

    Attributes:
        whole: the caller's problem, whose response is that of a model like them.
        problem: the same in its free fixed effects and the basis that is computed in.
        basis: that basis, None for the caller's own.
        rows, slots: of that problem, in shapes of its own: programs of batches run long enough to
            be compiled for one design.
        shift: what is taken off every response, None for nothing.
    """

    whole: Problem
    problem: Problem
    basis: Basis | None
    rows: Rows
    slots: Slots
    shift: np.ndarray | None

    def at(self, estimate: Estimate) -> tuple[Params, tuple[np.ndarray, ...]]:
        """The parameters and modes of an estimate of the whole problem, as those of `rows`."""
        params = reduce_params(self.whole, estimate.params)
        params = params if self.basis is None else self.basis.inward(params)
        return params, fitting.pad_effects(estimate.u, self.rows)

    def by_row(self, values: np.ndarray) -> np.ndarray:
        """(..., slot, chunk) in the order of the data: (..., obs)."""
        filled = np.asarray(self.slots.filled, bool)
        found = np.zeros((*values.shape[:-2], self.whole.num_obs), values.dtype)
        found[..., np.asarray(self.slots.rows)[filled]] = values[..., filled]
        return found

    def cut(self, outcome: Outcome) -> Outcome:
        """Without the levels that `_aligned` adds."""

        def cut(values: Any) -> Any:
            pairs = zip(values, self.whole.groupings, strict=False)
            return (
                tuple(of[..., : g.num_levels] for of, g in pairs)
                + values[len(self.whole.groupings) :]
            )

        u = cut(outcome.estimate.u)
        return outcome._replace(
            estimate=dataclasses.replace(outcome.estimate, u=u),
            b=outcome.b and cut(outcome.b),
            b_variance=outcome.b_variance and cut(outcome.b_variance),
        )


@dataclass(frozen=True, eq=False)
class AbstractDesignWork(AbstractWork):
    """Models of one design."""

    design: Design

    @property
    def rows(self) -> Rows:
        return self.design.rows

    @property
    def num_rows(self) -> int:
        return self.design.problem.num_obs

    @property
    def num_levels(self) -> list[int]:
        return [g.num_levels for g in self.design.problem.groupings]


class AbstractFitted(abc.ABC):
    """Models along a leading axis, in NumPy.

    Attributes:
        outcome: as programs gave it; for estimates in the caller's parameters see `estimate`.
        num_obs: rows that count in each model.
        compile_seconds, run_seconds: what it took.
    """

    outcome: Outcome
    num_obs: np.ndarray
    compile_seconds: float
    run_seconds: float

    @property
    @abc.abstractmethod
    def estimate(self) -> Estimate:
        """In the caller's parameters."""

    @property
    @abc.abstractmethod
    def covariance(self) -> np.ndarray:
        """Of all parameters, as `inference.vcov.joint`; (model, param, param)."""

    @property
    @abc.abstractmethod
    def num_params(self) -> Any:
        """Estimated parameters: a number, or one for each model."""

    @property
    def deficient(self) -> np.ndarray | bool:
        """Models whose design does not tell all parameters."""
        return False

    def own_levels(self, labels: Labels) -> tuple[np.ndarray, np.ndarray] | None:
        """For each row of a table of all random effects its level's name, and whether the model
        has it; None where all models have the levels of the labels."""
        del labels
        return None


@dataclass(frozen=True, eq=False)
class Fitted(AbstractFitted):
    """Models of one design; in the outcome the fixed effects are in its basis."""

    design: Design
    outcome: Outcome
    num_obs: np.ndarray
    compile_seconds: float
    run_seconds: float

    @functools.cached_property
    def estimate(self) -> Estimate:
        design = self.design
        inside = design.problem.integrated
        return fitting.outward(design.whole, design.basis, inside, self.outcome.estimate)

    @functools.cached_property
    def covariance(self) -> np.ndarray:
        design = self.design
        return fitting.covariance_outward(design.whole, design.basis, self.outcome.estimate.hessian)

    @functools.cached_property
    def num_params(self) -> Any:
        estimate = self.outcome.estimate
        number, flat = int(estimate.hessian.shape[-1]), np.flatnonzero(estimate.flat)
        p = self.design.problem.X.shape[1]
        lost = num_flat(np.asarray(estimate.hessian)[flat, :p, :p])  # no row that counts tells them
        if not lost.any():
            return number
        numbers = np.full(len(self.num_obs), number)
        numbers[flat] -= lost
        return numbers


def make_design(whole: Problem) -> Design:
    """The design of a problem."""
    reduced = reduce(whole, xp=np)
    moved, basis = change_basis(reduced)
    shift = None
    if basis is not None and moved.y is not reduced.y:
        shift = reduced.offset + moved.X @ basis.origin
    aligned = _aligned(moved)
    return Design(
        whole=whole,
        problem=moved,
        basis=basis,
        rows=arrange(aligned, xp=np),
        slots=Slots(aligned.layout.rows, aligned.layout.filled),
        shift=shift,
    )


def _aligned(problem: Problem) -> Problem:
    """With empty levels that make the arrays of one factor's levels as fast as they can be."""
    if len(problem.groupings) != 1:
        return problem
    (own,) = problem.groupings
    layout, num_levels = problem.layout.aligned(own.num_levels)
    return problem.replace(
        layout=layout, groupings=(dataclasses.replace(own, num_levels=num_levels),)
    )
