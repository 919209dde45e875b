"""Models of one design, each with a response of its own."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from jaxglmm.control import Control
from jaxglmm.design import Problem
from jaxglmm.errors import InputError
from jaxglmm.frontend.many.design import AbstractDesignWork, Fitted, make_design
from jaxglmm.frontend.many.execution import carry_out, surveyed
from jaxglmm.frontend.many.models import Block, Models, Survey
from jaxglmm.frontend.many.program import Given, Outcome, Slots, maximise_micro_batch
from jaxglmm.frontend.many.progress import Progress
from jaxglmm.frontend.many.sizes import Needs, needs_of
from jaxglmm.frontend.response import warn_of_parts
from jaxglmm.host import empty
from jaxglmm.rows import Rows, divides_dispersion


def fit_models(
    problem: Problem,
    models: Models,
    control: Control,
    *,
    chunk: int | None,
    modes: bool,
    progress: bool | None,
) -> Fitted:
    """The models of one design; an InputError if any of them has values that cannot be."""
    began = time.perf_counter()
    survey = surveyed(models, problem.num_obs, chunk)
    models = settle(models, survey)
    if survey.parts:
        warn_of_parts(stacklevel=5)  # whoever called the verb that called this one
    if models.weights is not None:  # those of the problem count no more
        problem = problem.replace(weights=np.ones(1))
    work = Responses(make_design(problem), models, survey)
    looked = time.perf_counter() - began
    with Progress(len(models), progress) as report:
        done = carry_out(work, control, chunk=chunk, modes=modes, report=report)
    outcome = work.design.cut(done.outcome)
    done = done._replace(outcome=outcome, compile_seconds=looked + done.compile_seconds)
    return Fitted(work.design, *done)


@dataclass(frozen=True, eq=False)
class Responses(AbstractDesignWork):
    """Models of one design, each with a response of its own."""

    models: Models
    survey: Survey

    def __len__(self) -> int:
        return len(self.models)

    @property
    def needs(self) -> Needs:
        models = self.models
        own = sum(of is not None for of in (models.responses, models.weights, models.offset))
        return needs_of(self.design.problem, own + self.survey.missing)

    @property
    def program(self) -> Callable[..., Outcome]:
        return maximise_micro_batch

    @property
    def takes_raised(self) -> bool:
        return True

    @property
    def shared(self) -> tuple[Rows, Slots]:
        return self.design.rows, self.design.slots

    def given(self, start: int, stop: int, size: int) -> tuple[Given, np.ndarray]:
        design, block = self.design, self.models.read(start, stop)
        y, weight, multiplier = _responses(design.whole, self.models, block, self.survey)
        offset = None
        if block.offset is not None:
            offset = np.where(np.isfinite(block.offset), block.offset, 0.0)
        if design.shift is not None:
            y = y - design.shift if offset is None else y - (design.shift + offset)
            offset = None
        elif offset is not None:
            offset = offset + design.problem.offset
        counted = np.broadcast_to(design.whole.weights, y.shape[1:])[None]
        counted = counted if multiplier is None else multiplier
        if self.models.weights_are_trials and weight is not None:
            counted = counted * weight  # a row without trials says nothing
        given = Given(*(_filled(values, size) for values in (y, weight, multiplier, offset)))
        return given, np.broadcast_to(np.count_nonzero(counted, axis=1), len(y))


def settle(models: Models, survey: Survey) -> Models:
    """Whether the weights of models are the trials of their proportions.

    As in `glmm`: weights that are not whole, on responses of 0 and 1, multiply the log-density.
    """
    if not models.weights_are_trials or survey.whole_weights:
        return models
    if survey.zero_one:
        return dataclasses.replace(models, weights_are_trials=False)
    raise InputError(
        "weights: those of a proportion are its numbers of trials and must be whole numbers. Give "
        "the number of trials of each row; prior weights go with trials=."
    )


def _responses(
    problem: Problem, models: Models, block: Block, survey: Survey
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Responses, the law's weights and the multipliers of the log-density, without missing values;
    None for what is shared."""
    weights = block.weights
    observed = _observed(block) if survey.missing else None
    if weights is not None and observed is not None:
        weights = np.where(observed, weights, 0.0)
    trials = models.units.trials
    if models.weights_are_trials and weights is not None:
        trials = np.round(weights)
    y, _ = models.units.engine(block.y, trials, survey.exact)
    if observed is not None:
        y = _completed(y, observed, trials, models.units.allowed)
    if weights is None:
        if observed is None:
            return y, None, None
        shared = problem.weights
        base = (shared > 0).astype(float) if divides_dispersion(problem) else shared
        return y, None, np.where(observed, base, 0.0)
    if models.weights_are_trials:
        assert trials is not None
        return y, trials, None if observed is None else observed.astype(float)
    counts = weights > 0
    if divides_dispersion(problem):
        return y, np.where(counts, weights, 1.0), counts.astype(float)
    return y, None, weights


def _observed(block: Block) -> np.ndarray:
    observed = ~np.isnan(block.y)
    for other in (block.weights, block.offset):
        if other is not None:
            observed &= np.isfinite(other)
    return observed


def _completed(
    y: np.ndarray, observed: np.ndarray, trials: np.ndarray | None, allowed: float
) -> np.ndarray:
    """With values that the law allows for those that are missing: the first of the model."""
    first = y[np.arange(len(y)), np.argmax(observed, axis=1)]
    value = np.where(observed.any(axis=1), first, allowed)[:, None]
    if trials is not None:
        value = np.minimum(value, trials)
    return np.where(observed, y, value)


def _filled(values: np.ndarray | None, size: int) -> np.ndarray | None:
    """With the first model again for those that are not there, as XLA takes it."""
    if values is None:
        return None
    out = empty((size, values.shape[1]))
    out[: len(values)] = values
    out[len(values) :] = values[0]
    return out
