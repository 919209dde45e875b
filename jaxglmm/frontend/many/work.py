"""What a batch does for each of its models."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxglmm.frontend import programs
from jaxglmm.frontend.many.sizes import Needs
from jaxglmm.rows import Rows


class AbstractWork(abc.ABC):
    """Models that one program fits, a micro-batch of them at a time."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """Number of models."""

    @property
    @abc.abstractmethod
    def rows(self) -> Rows:
        """Those of a model like them, or of all together: their law and types."""

    @property
    @abc.abstractmethod
    def num_rows(self) -> int:
        """Rows of a model."""

    @property
    @abc.abstractmethod
    def needs(self) -> Needs:
        """Memory for a model."""

    @property
    @abc.abstractmethod
    def program(self) -> Callable[..., Any]:
        """(*shared, given, count, control, width, modes, ...) -> what came of a micro-batch, an
        `Outcome` where models are fitted."""

    @property
    @abc.abstractmethod
    def shared(self) -> tuple[Any, ...]:
        """What the program takes that is the same for all models."""

    @property
    @abc.abstractmethod
    def num_levels(self) -> Sequence[int]:
        """Levels of each grouping factor of a model."""

    @property
    def takes_raised(self) -> bool:
        """Whether the program takes, after the count, how far its starts are raised: what it fits
        may be looked at again."""
        return False

    @property
    def static(self) -> dict[str, Any]:
        """Further static arguments of the program."""
        return {}

    @property
    def options(self) -> dict[str, Any]:
        """What XLA is told on a CPU."""
        return self._options_of_many

    @property
    def _options_of_many(self) -> dict[str, Any]:
        columns = (grouping.num_columns for grouping in self.rows.groupings)
        return programs.side_by_side(max(columns, default=1))

    @property
    def options_of_few(self) -> dict[str, Any]:
        """`options` for few small models: they take no longer than a single fit, and with what XLA
        is told for that the program compiles sooner."""
        single = programs.compiler_options(self.shared, self.rows.family.num_nodes)
        return {**self._options_of_many, **single}

    def codes(self, outcome: Any) -> np.ndarray:
        """How each model of a micro-batch ended, codes of `jaxglmm.status`."""
        return outcome.estimate.status

    @abc.abstractmethod
    def given(self, start: int, stop: int, size: int) -> tuple[Any, np.ndarray]:
        """The models start, ..., stop - 1 in arrays for `size` models, and the numbers of rows that
        count in each; (stop - start,)."""
