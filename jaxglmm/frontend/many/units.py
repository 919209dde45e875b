"""The units of responses: what a caller gives for one model, and what the engine takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxglmm.design import Problem
from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import support_rule
from jaxglmm.frontend.model import ModelData
from jaxglmm.frontend.response import nearly_whole

# A value that every law with such a support allows.
_ALLOWED = {"positive": 1.0, "positive_count": 1.0, "unit_open": 0.5, "unit_closed": 0.5}


@dataclass(frozen=True, eq=False)
class Units:
    """How the formula has its response.

    Attributes:
        support: of the law.
        share: responses of a law with trials are proportions of them, else successes.
        trials: (n,) or None for one in each row.
        labels: the values that stand for 0, 1, ...: categories in order, failure and success; empty
            for numbers.
    """

    support: str
    share: bool
    trials: np.ndarray | None
    labels: tuple[Any, ...]

    @property
    def allowed(self) -> float:
        """A response that the law allows."""
        return _ALLOWED.get(self.support, 0.0)

    def numbers(self, argument: str, raw: np.ndarray) -> np.ndarray:
        """float64 in the caller's units, NaN where missing or infinite; -1 for unknown labels."""
        if self.labels and (self.support == "ordinal" or raw.dtype.kind not in "biuf"):
            return self._places(raw)
        values = numeric(argument, raw)
        return (
            values if np.isfinite(values).all() else np.where(np.isfinite(values), values, np.nan)
        )

    def _places(self, raw: np.ndarray) -> np.ndarray:
        import pandas as pd

        places = pd.Index(list(self.labels)).get_indexer(pd.Index(raw.ravel()))
        places = places.reshape(raw.shape).astype(np.float64)
        return np.where(pd.isna(raw), np.nan, places)

    def wrong(self, values: np.ndarray, trials: np.ndarray | None) -> np.ndarray:
        """Which of them no response can be."""
        if self.support == "ordinal":
            return values < 0
        if self.support != "binomial":
            return ~(support_rule(self.support)[0](values) | np.isnan(values))
        if self.share:
            return (values < 0) | (values > 1)
        most = 1.0 if trials is None else trials
        return (values < 0) | (values > most * (1 + 1e-9))

    @property
    def demand(self) -> tuple[str, str]:
        """What responses must be, and what to do about others."""
        if self.support == "ordinal":
            known = ", ".join(map(repr, self.labels))
            return f"must be among the categories {known}", "Merge or leave out others."
        if self.support != "binomial":
            return support_rule(self.support)[1:]
        if self.share:
            return "must lie between 0 and 1", "They are proportions of the trials."
        remedy = "They are numbers of successes, as on the left-hand side of the formula."
        return "must lie between 0 and the trials of their row", remedy

    def engine(
        self, values: np.ndarray, trials: np.ndarray | None, exact: bool
    ) -> tuple[np.ndarray, bool]:
        """The same as the engine has them, and whether some are no whole numbers of successes.

        `exact`: they are whole without rounding, as far as they are successes.
        """
        if self.support != "binomial":
            return values, False
        if self.share and trials is not None:
            return nearly_whole(values * trials)
        return (values, False) if exact else nearly_whole(values)


def units_of(problem: Problem, data: ModelData) -> Units:
    """Of a model whose design is `data`."""
    response = data.spec.response
    plain = response is None or response.kind == "plain"
    return Units(
        support=problem.family.support,
        share=plain,
        trials=data.trials,
        labels=data.categories,
    )


def numeric(argument: str, raw: np.ndarray) -> np.ndarray:
    """float64; an InputError where values are no numbers."""
    if raw.dtype.kind in "biuf":
        return raw.astype(np.float64, copy=False)
    try:
        if raw.dtype.kind == "O":
            return raw.astype(np.float64)  # None is NaN
    except (TypeError, ValueError):
        pass
    raise InputError(f"{argument} must hold numbers, but is of type {raw.dtype}. Give numbers.")
