"""What the front end hands over: arrays for the core, names for the shell."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from formulaic import ModelSpec

    from jaxglmm.frontend.formula import FormulaSpec
    from jaxglmm.frontend.groups import GroupCoder
    from jaxglmm.frontend.positions import Positions


INTERCEPT = "Intercept"
"""formulaic's name of the column of ones."""


@dataclass(frozen=True, eq=False)
class TermData:
    """One random term: its covariance structure, the names of its columns, and how it was typed.

    arguments: what the structure is told beside the number of columns ("rank", "zeros");
    constants: its known arrays (distances of a process, the Cholesky factor of a matrix);
    shared: what a parameter of all columns is called, None for the name of the first column;
    components: of each column the formula it stands in, "cond" (the main one), "disp" or "zi".
    """

    structure: str
    names: tuple[str, ...]
    text: str
    arguments: dict[str, Any] = field(default_factory=dict)
    constants: tuple[np.ndarray, ...] = ()
    shared: str | None = None
    components: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class GroupingData:
    """All random terms of one grouping factor, their columns side by side.

    levels: the original values (text joined by ":" for a:b); codes: (n,) int32, the level of each
    row; Z: (n, q) float64, the columns of `terms` one after another.
    """

    name: str
    levels: list[Any]
    codes: np.ndarray
    Z: np.ndarray
    terms: tuple[TermData, ...]


@dataclass(frozen=True, eq=False)
class Encoders:
    """What is needed to make the same columns from new data.

    specs: formulaic's, by part (`fixed_part` of each component, "random0", ...); kept: (p before
    dropping,) bool;
    fixed_columns, random_columns: column -> its levels, None for numbers; coders: one a grouping;
    positions: of the processes, by part; offset: the column given as offset=, True for an array,
    None for none.
    """

    specs: dict[str, ModelSpec]
    kept: np.ndarray
    fixed_columns: dict[str, list[Any] | None]
    random_columns: dict[str, list[Any] | None]
    coders: tuple[GroupCoder, ...]
    term_parts: tuple[tuple[str, ...], ...]
    positions: dict[str, Positions]
    offset: str | bool | None
    state: dict[str, dict[str, Any]]


@dataclass(frozen=True, eq=False)
class ModelData:
    """Arrays and names of one model; n rows are used out of `num_rows`.

    y: (n,) float64, successes for a binomial family, places among `categories` for an ordinal one;
    trials, weights, offset: (n,) or None;
    X: (n, p), the columns of each component of full column rank, `fixed_names` and
    `fixed_components` its columns, `dropped_columns` those left out as zero or linearly dependent
    on earlier ones; components: of the linear predictors, in order; offsets: (n,) or None of each
    but the first; spec, further: the main formula and the others by component;
    rows: (n,) int32 or int64, places in the caller's table; contrasts: coding of each categorical
    predictor; factor_levels: its levels in the rows used.
    """

    y: np.ndarray
    trials: np.ndarray | None
    weights: np.ndarray | None
    offset: np.ndarray | None
    X: np.ndarray
    fixed_names: tuple[str, ...]
    fixed_components: tuple[str, ...]
    dropped_columns: tuple[str, ...]
    groupings: tuple[GroupingData, ...]
    rows: np.ndarray
    num_rows: int
    num_dropped_missing: int
    num_dropped_subset: int
    response_name: str
    spec: FormulaSpec
    further: dict[str, FormulaSpec]
    offsets: tuple[np.ndarray | None, ...]
    encoders: Encoders
    contrasts: dict[str, str]
    factor_levels: dict[str, list[Any]]
    used_columns: tuple[str, ...]
    categories: tuple[Any, ...] = ()

    @property
    def components(self) -> tuple[str, ...]:
        return ("cond", *self.further)

    @property
    def formulas(self) -> dict[str, FormulaSpec]:
        """Those of all components by name."""
        return {"cond": self.spec, **self.further}

    @property
    def full_names(self) -> list[str]:
        """The columns of X by their names in the whole model."""
        return list(map(full_name, self.fixed_components, self.fixed_names))

    def fixed_spec(self, component: str) -> ModelSpec:
        """What formulaic keeps of a component's fixed part."""
        return self.encoders.specs[fixed_part(component)]

    @property
    def fixed_slices(self) -> dict[str, slice]:
        """The columns of each component among all of them before any was dropped."""
        sizes = [len(self.fixed_spec(component).column_names) for component in self.components]
        ends = accumulate(sizes)
        spans = (slice(end - size, end) for size, end in zip(sizes, ends, strict=True))
        return dict(zip(self.components, spans, strict=True))


def fixed_part(component: str) -> str:
    """The part (of `Encoders.specs`) that holds the fixed columns of a component."""
    return "fixed" if component == "cond" else f"fixed_{component}"


def full_name(component: str, name: str) -> str:
    """The name of a column where those of several components stand side by side: `zi_x`."""
    return name if component == "cond" else f"{component}_{name}"


@dataclass(frozen=True, eq=False)
class NewData:
    """The same columns for new data, one entry for every row of it.

    X: (n, p); Z, codes: one (n, q) and one (n,) int32 a grouping, code -1 for a missing or unseen
    level; offset: (n,) or None, offsets: of the other components;
    missing: (n,) bool, rows with a missing predictor, NaN elsewhere;
    unseen: term -> (n,) bool, rows at a position of a process that was not fitted (its Z is zero).
    """

    X: np.ndarray
    Z: tuple[np.ndarray, ...]
    codes: tuple[np.ndarray, ...]
    offset: np.ndarray | None
    offsets: tuple[np.ndarray | None, ...]
    missing: np.ndarray
    unseen: dict[str, np.ndarray]
