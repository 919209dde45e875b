"""The models of a batch: what each has for itself, read and checked some models at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import is_whole, show_values
from jaxglmm.frontend.many.source import AbstractSource
from jaxglmm.frontend.many.units import Units, numeric


class Block(NamedTuple):
    """Some models: responses in the caller's units, NaN where missing; (model, obs) each."""

    y: np.ndarray
    weights: np.ndarray | None
    offset: np.ndarray | None


class Survey(NamedTuple):
    """What all models have in common.

    missing: some values are missing; parts: some successes are far from whole; exact: all responses
    are whole; zero_one: or even 0 and 1; whole_weights: all weights are whole.
    """

    missing: bool
    parts: bool
    exact: bool
    zero_one: bool
    whole_weights: bool

    def joined(self, other: Survey) -> Survey:
        some = self.missing | other.missing, self.parts | other.parts
        return Survey(*some, *map(min, self[2:], other[2:]))


class Wrong(NamedTuple):
    """Models with values that cannot be, and the first of these values."""

    argument: str
    demand: tuple[str, str]
    models: list[int]
    row: int
    value: float


class ImpossibleModels(InputError):
    """Values that the law does not allow; `models` are the places of those that have them."""

    models: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Models:
    """Responses of many models, weights and offsets of their own if they have any.

    Attributes:
        argument: what the responses are called in the caller's call.
        weights_are_trials: weights of a model are the trials of its proportions, if they are whole.
        rows: places of the rows used among those of the sources; None for all.
        complete: missing responses are refused.
    """

    argument: str
    units: Units
    responses: AbstractSource
    weights: AbstractSource | None = None
    offset: AbstractSource | None = None
    weights_are_trials: bool = False
    rows: np.ndarray | None = None
    complete: bool = False

    def __len__(self) -> int:
        return len(self.responses.names)

    def read(self, start: int, stop: int) -> Block:
        """The models start, ..., stop - 1."""
        return self._block(self._at_rows(self.responses, start, stop), start, stop)

    def like(self) -> Block:
        """The model that decides what all share."""
        return self._block(self._used(self.responses.like), 0, 1)

    def _block(self, y: np.ndarray, start: int, stop: int) -> Block:
        return Block(
            self.units.numbers(self.argument, y),
            self._numbers("weights", self.weights, start, stop),
            self._numbers("offset", self.offset, start, stop),
        )

    def labels(self, start: int, stop: int) -> np.ndarray:
        """The values of categories that some models have, once each."""
        import pandas as pd

        raw = self._at_rows(self.responses, start, stop).ravel()
        return pd.unique(raw[~pd.isna(raw)])

    def _numbers(
        self, argument: str, source: AbstractSource | None, start: int, stop: int
    ) -> np.ndarray | None:
        if source is None:
            return None
        return numeric(argument, self._at_rows(source, start, stop))

    def _at_rows(self, source: AbstractSource, start: int, stop: int) -> np.ndarray:
        return self._used(source.read(start, stop))

    def _used(self, values: np.ndarray) -> np.ndarray:
        return values if self.rows is None else values[:, self.rows]

    def look(self, start: int, stop: int) -> tuple[Survey, list[Wrong]]:
        """What some models have in common, and what is wrong with them."""
        block = self.read(start, stop)
        trials = block.weights if self.weights_are_trials else self.units.trials
        wrong = [
            _wrong(self.argument, block.y, self.units.wrong(block.y, trials), self.units.demand)
        ]
        whole_weights, missing = True, bool(np.isnan(block.y).any())
        if missing and self.complete:
            demand = "must not be missing", "missing='drop' leaves such rows out of a model."
            wrong.append(_wrong(self.argument, block.y, np.isnan(block.y), demand))
        if block.weights is not None:
            demand = "must be zero or more", "A weight of 0 leaves a row out of a model."
            wrong.append(_wrong("weights", block.weights, block.weights < 0, demand))
            missing |= not np.isfinite(block.weights).all()
            known = np.nan_to_num(block.weights)
            whole_weights = bool(np.all(known == np.round(known)))
        missing |= block.offset is not None and not np.isfinite(block.offset).all()
        exact, zero_one, parts = True, True, False
        if self.units.support == "binomial":
            known = np.nan_to_num(block.y) if missing else block.y
            exact = bool(np.all(known == np.rint(known)))
            zero_one = exact and bool(np.max(known, initial=0.0) <= 1.0)
            parts = not exact and self.units.engine(known, trials, False)[1]
        survey = Survey(missing, parts, exact, zero_one, whole_weights)
        return survey, [
            found._replace(models=[start + model for model in found.models])
            for found in wrong
            if found is not None
        ]

    def refuse(self, found: list[Wrong]) -> None:
        """Raise for values that cannot be."""
        for argument in (self.argument, "weights"):
            own = [wrong for wrong in found if wrong.argument == argument]
            if not own:
                continue
            models = [model for wrong in own for model in wrong.models]
            names = [self.responses.names[model] for model in models]
            must, remedy = own[0].demand
            number = f"{len(models)} model{'s' if len(models) > 1 else ''}"
            error = ImpossibleModels(
                f"{argument} of {number} ({show_values(names)}) {must}, but model {names[0]} "
                f"holds {own[0].value:g} in row {self._row(own[0].row)} (counted from 0). {remedy}"
            )
            error.models = tuple(models)
            raise error

    def _row(self, row: int) -> int:
        return row if self.rows is None else int(self.rows[row])


def _wrong(
    argument: str, values: np.ndarray, wrong: np.ndarray, demand: tuple[str, str]
) -> Wrong | None:
    models = np.flatnonzero(wrong.any(axis=1))
    if not len(models):
        return None
    row = int(np.argmax(wrong[models[0]]))
    return Wrong(argument, demand, models.tolist(), row, float(values[models[0], row]))


def check_chunk(chunk: Any) -> None:
    """Refuse what is no number of models."""
    if chunk is not None and (not is_whole(chunk) or chunk < 1):
        raise InputError(f"chunk: expected a whole number of models, one or more, got {chunk!r}.")
