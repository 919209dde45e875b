"""Models with designs of their own: most in common programs, some alone; all in one result."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from jaxglmm.ascent import Estimate
from jaxglmm.ascent.reduction import expand, reduce
from jaxglmm.control import Control
from jaxglmm.design import Problem
from jaxglmm.frontend import fitting
from jaxglmm.frontend.build import Labels
from jaxglmm.frontend.many.collect import Found, collected
from jaxglmm.frontend.many.design import AbstractFitted
from jaxglmm.frontend.many.execution import carry_out
from jaxglmm.frontend.many.program import Outcome
from jaxglmm.frontend.many.progress import Progress
from jaxglmm.frontend.many.split import Columns, Split, own_columns, split
from jaxglmm.frontend.many.table import Bucket, Cut, buckets, is_too_large, make_table
from jaxglmm.inference import vcov
from jaxglmm.inference.basis import Basis
from jaxglmm.layout import make_layout
from jaxglmm.pattern import carry_out as make_pattern
from jaxglmm.pattern import survey
from jaxglmm.restriction import HELD, all_free


@dataclass(frozen=True, eq=False)
class FittedApart(AbstractFitted):
    """Models of designs of their own.

    Attributes:
        whole: the caller's problem.
        split: its rows by model.
        outcome: estimates in the free fixed effects of `whole`.
        free_covariance: of all free parameters.
        dropped: columns that depend on others in a model, (model, free fixed effect).
        single: grouping factors that need several levels; models with one have no variance of it.
    """

    whole: Problem
    split: Split
    outcome: Outcome
    free_covariance: np.ndarray
    dropped: np.ndarray
    single: tuple[bool, ...]
    num_obs: np.ndarray
    compile_seconds: float
    run_seconds: float

    @functools.cached_property
    def estimate(self) -> Estimate:
        estimate = expand(self.whole, self.outcome.estimate)
        beta = np.where(self._lost, np.nan, estimate.params.beta)
        return dataclasses.replace(estimate, params=dataclasses.replace(estimate.params, beta=beta))

    @functools.cached_property
    def covariance(self) -> np.ndarray:
        covariance = self.free_covariance
        if self.whole.restriction is not None:
            covariance = fitting.spread(self.whole.restriction, covariance)
        rest = covariance.shape[-1] - self._lost.shape[1]
        return vcov.without(covariance, np.pad(self._lost, ((0, 0), (0, rest))))

    @property
    def _lost(self) -> np.ndarray:
        """Coefficients of the caller that are those of dropped columns; (model, fixed)."""
        restriction = self.whole.restriction
        if restriction is None:
            return self.dropped
        place = np.asarray(restriction.beta.index, int)
        return self.dropped[:, place] & (place != HELD)

    @property
    def num_params(self) -> np.ndarray:
        return self.outcome.estimate.hessian.shape[-1] - self.dropped.sum(axis=1)

    @property
    def deficient(self) -> np.ndarray:
        found = np.array(self.dropped.any(axis=1))
        for levels, judged in zip(self.split.levels, self.single, strict=True):
            if judged:
                found |= levels.number < 2
        return found

    def own_levels(self, labels: Labels) -> tuple[np.ndarray, np.ndarray] | None:
        if self.outcome.b is None or not self.split.levels:
            return None
        names, present = [], []
        for own, b, of_table in zip(self.split.levels, self.outcome.b, labels.levels, strict=True):
            place = np.arange(b.shape[2])
            there = place < own.number[:, None]
            level = own.of_table[np.minimum(own.first[:, None] + place, len(own.of_table) - 1)]
            named = np.array([*of_table], object)[level]
            names.append(np.repeat(named, b.shape[1], axis=1))
            present.append(np.repeat(there, b.shape[1], axis=1))
        return np.concatenate(names, axis=1).ravel(), np.concatenate(present, axis=1).ravel()


def fit_apart(
    whole: Problem,
    model: np.ndarray,
    num_models: int,
    control: Control,
    single: tuple[bool, ...],
    *,
    chunk: int | None,
    modes: bool,
    progress: bool | None,
) -> FittedApart:
    """Every model on its own rows; model: of each row."""
    of = split(reduce(whole, xp=np), model, num_models)
    columns = own_columns(of)
    weights = np.broadcast_to(of.problem.weights, of.model.shape)
    counted = np.bincount(of.model, weights > 0, num_models).astype(np.int64)
    run = _Run(of, columns, counted, control, chunk, modes)
    present = (of.num_rows > 0) & (counted > 0)
    by_itself = columns.moved & (of.problem.prior is not None)
    nested, found = of.is_nested(), list[Found]()
    with Progress(num_models, progress) as report:
        for kind in (True, False):
            mine = present & ~by_itself & (nested == kind)
            if mine.any():
                found += run.together(mine, kind, report)
        found += [run.alone(int(m), report) for m in np.flatnonzero(present & by_itself)]
    outcome, covariance = collected(found, num_models, modes)
    return FittedApart(
        whole=whole,
        split=of,
        outcome=outcome,
        free_covariance=covariance,
        dropped=~columns.free,
        single=single,
        num_obs=counted,
        compile_seconds=sum(part.compile_seconds for part in found),
        run_seconds=sum(part.run_seconds for part in found),
    )


class _Run(NamedTuple):
    of: Split
    columns: Columns
    counted: np.ndarray
    control: Control
    chunk: int | None
    modes: bool

    def together(self, which: np.ndarray, nested: bool, report: Progress) -> list[Found]:
        """Models of one kind, bucket by bucket."""
        table = make_table(self.of, self.columns.problem, which, nested=nested)
        found = list[Found]()
        for bucket in buckets(table, np.flatnonzero(which)):
            if is_too_large(table, bucket.shape, self.of.problem.groupings):
                found += [self.alone(int(m), report) for m in bucket.models]
                continue
            largest = bucket.models[np.argmax(self.of.num_rows[bucket.models])]
            work = Cut(table, bucket, self.columns.free, self.counted, self.of.alone(int(largest)))
            done = carry_out(work, self.control, chunk=self.chunk, modes=self.modes, report=report)
            outcome, covariance = self._outward(bucket, done.outcome)
            found.append(
                Found(bucket.models, outcome, covariance, done.compile_seconds, done.run_seconds)
            )
        return found

    def _outward(self, bucket: Bucket, outcome: Outcome) -> tuple[Outcome, np.ndarray]:
        """In the caller's basis, and the covariance of all free parameters."""
        problem, estimate = self.of.problem, outcome.estimate
        covariance = vcov.joint(np.asarray(estimate.hessian))
        if self.columns.basis is None:
            return outcome, covariance
        basis = Basis(*(part[bucket.models] for part in self.columns.basis))
        inside = problem.integrated
        estimate = basis.outward(estimate, integrated=inside)
        return outcome._replace(estimate=estimate), basis.covariance_outward(covariance)

    def alone(self, model: int, report: Progress) -> Found:
        """One model by the fit of a single one."""
        problem = _complete(self.of.alone(model), self.columns.free[model], self.control)
        fitted = fitting.fit(problem, self.control, None)
        report.add(np.asarray(fitted.estimate.status)[None])
        kept = self.columns.free[model]
        outcome = Outcome(
            _full(fitted.estimate, kept),
            fitted.natural,
            fitted.at_bound,
            fitted.b if self.modes else None,
            fitted.b_variance if self.modes else None,
        )
        return Found(
            np.array([model]),
            jax.tree.map(lambda leaf: np.asarray(leaf)[None], outcome),
            _in_full(fitted.covariance, kept)[None],
            fitted.compile_seconds,
            fitted.run_seconds,
        )


def _complete(problem: Problem, kept: np.ndarray, control: Control) -> Problem:
    """With the columns that are kept, a layout and a pattern."""
    groupings, restriction, prior = problem.groupings, problem.restriction, problem.prior
    codes, num_levels = [g.codes for g in groupings], [g.num_levels for g in groupings]
    found = survey(codes, num_levels, [g.num_columns for g in groupings], control.factorisation)
    latent = [g.num_latent for g in groupings]
    if restriction is not None:
        restriction = dataclasses.replace(restriction, beta=all_free(int(kept.sum())))
    if prior is not None:
        prior = prior.through(np.eye(len(kept))[:, kept], np.zeros(len(kept)))
    n = problem.num_obs
    return problem.replace(
        X=problem.X[:, kept],
        predictors=tuple(np.asarray(problem.predictors, int)[kept].tolist()),
        layout=make_layout(n, codes[0], num_levels[0]) if groupings else make_layout(n),
        pattern=make_pattern(found, codes, num_levels, latent, control.probes),
        restriction=restriction,
        prior=prior,
    )


def _full(estimate: Estimate, kept: np.ndarray) -> Estimate:
    """With zeros for columns that were dropped, and without modes."""
    beta = np.zeros(len(kept))
    beta[kept] = estimate.params.beta
    return dataclasses.replace(
        estimate,
        params=dataclasses.replace(estimate.params, beta=beta),
        hessian=_in_full(np.asarray(estimate.hessian), kept),
        u=(),
    )


def _in_full(matrix: np.ndarray, kept: np.ndarray) -> np.ndarray:
    rest = len(matrix) - int(kept.sum())
    index = np.flatnonzero(np.append(kept, np.ones(rest, bool)))
    full = np.zeros((len(kept) + rest,) * 2)
    full[np.ix_(index, index)] = matrix
    return full
