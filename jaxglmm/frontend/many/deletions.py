"""Fits without each unit (a row, a group) in turn, as work of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jax import Array

from jaxglmm import status
from jaxglmm.arrays import AnyArray
from jaxglmm.batch import Own, each_estimate, maximise_many
from jaxglmm.batch.deletion import by_weight, step_many, values_at, without
from jaxglmm.control import Control
from jaxglmm.frontend import programs
from jaxglmm.frontend.batch import Batch
from jaxglmm.frontend.many.design import AbstractDesignWork, Fitted, make_design
from jaxglmm.frontend.many.execution import carry_out
from jaxglmm.frontend.many.program import Outcome, beside_others, outcome_of
from jaxglmm.frontend.many.progress import Progress
from jaxglmm.frontend.many.sizes import Needs, needs_of
from jaxglmm.params import Params
from jaxglmm.rows import Rows

if TYPE_CHECKING:
    from jaxglmm.frontend.result import GLMM

_NONE = -1  # the unit of no row
_FEW = 100_000  # rows of all models that are fitted in tenths of a second


class Deleted(NamedTuple):
    """Fits without a unit, and what is maximised over all rows at their estimates."""

    outcome: Outcome
    value: AnyArray


def delete_micro_batch(
    rows: Rows,
    units: Array,
    first: Params | None,
    numbers: Array,
    count: Array,
    *,
    control: Control,
    width: int,
    modes: bool,
    exact: bool,
) -> Deleted:
    """The first `count` models of a micro-batch, whose size is a multiple of `width`."""

    def whole(rows: Rows, own: Own, count: Array) -> Deleted:
        if exact:
            estimate = maximise_many(rows, own, count, control, first, width=width)
        else:
            assert first is not None
            estimate = step_many(rows, own, count, control, first, width=width)
        value = values_at(rows, estimate, count, width)
        then = functools.partial(outcome_of, modes=modes)
        found = each_estimate(rows, own, estimate, count, control, then, width=width)
        return Deleted(found, value)

    return beside_others(whole)(rows, without(rows, units, numbers), count)


@dataclass(frozen=True, eq=False)
class Deletions(AbstractDesignWork):
    """The model of a fit without each unit, and last with all of them.

    Attributes:
        units: unit of each row, in the layout of the design.
        left: rows that count without each unit, and in all.
        first: parameters to start from, None for each model's own.
        exact: or one Newton step.
    """

    units: np.ndarray
    left: np.ndarray
    first: Params | None
    exact: bool

    def __len__(self) -> int:
        return len(self.left)

    @property
    def needs(self) -> Needs:
        return needs_of(self.design.problem, 1)

    @property
    def program(self) -> Callable[..., Deleted]:
        return delete_micro_batch

    @property
    def shared(self) -> tuple[Any, ...]:
        return self.rows, self.units, self.first

    @property
    def static(self) -> dict[str, Any]:
        return {"exact": self.exact}

    @property
    def options(self) -> dict[str, Any]:
        few = len(self) * self.num_rows <= _FEW
        return self.options_of_few if few else super().options

    def codes(self, outcome: Deleted) -> np.ndarray:
        return outcome.outcome.estimate.status

    def given(self, start: int, stop: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        numbers = np.full(size, _NONE, np.int32)
        numbers[: stop - start] = np.arange(start, stop)
        numbers[numbers == len(self) - 1] = _NONE
        return numbers, self.left[start:stop]


def fit_without(
    fit: GLMM, units: np.ndarray, names: Any, exact: bool, progress: bool | None
) -> tuple[Batch, np.ndarray]:
    """The model without each unit, and the fall of what is maximised over all rows, from the fit's
    estimates to theirs; (unit,).

    Args:
        fit: to all rows.
        units: of each row, 0, 1, ...
        names: of the units.
        exact: or by one Newton step from the fit.
        progress: as in `GLMM.refit_many`.
    """
    design = make_design(fit.problem)
    counted = fit.counted
    removed = np.bincount(units, counted, len(names)).astype(np.int64)
    left = np.append(counted.sum() - removed, counted.sum())
    plain = int(fit.estimate.status) == status.CONVERGED
    first = design.at(fit.estimate)[0] if plain or not exact else None
    laid = np.asarray(units, np.int32)[np.asarray(design.slots.rows)]
    work = Deletions(design, laid, left, first, exact)
    with Progress(len(left), progress) as report:
        done = carry_out(work, fit.arguments["control"], chunk=None, modes=False, report=report)
    found: Deleted = done.outcome
    value = np.asarray(found.value)
    outcome = design.cut(jax.tree.map(lambda leaf: leaf[:-1], found.outcome))
    fitted = Fitted(design, outcome, left[:-1], done.compile_seconds, done.run_seconds)
    batch = Batch(fit.formula, names, fit.problem, fit.labels, fitted)
    return batch, value[-1] - value[:-1]


def slopes_in_weights(fit: GLMM) -> np.ndarray:
    """Derivatives of (beta, theta, phi) in the weights of the rows, times these; (param, obs)."""
    design = make_design(fit.problem)
    rows, control = design.rows, fit.arguments["control"].of_optimiser
    with jax.enable_x64(True):
        arguments = rows, design.at(fit.estimate)[0]
        nodes = rows.family.num_nodes
        run = programs.run(by_weight, arguments, num_nodes=nodes, control=control)
        slopes = np.asarray(run.outputs) * np.broadcast_to(rows.multiplier, rows.y.shape)
    found, p = design.by_row(slopes), rows.X.shape[0]
    beta, rest = found[:p], found[p:]
    if design.basis is not None:
        beta = design.basis.T @ beta
    if fit.problem.restriction is not None:
        beta = fit.problem.restriction.beta.push(beta)
    return np.concatenate([beta, rest])
