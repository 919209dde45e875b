"""The reference grid: combinations of the levels of factors and chosen values of covariates."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import show_values
from jaxglmm.frontend.columns import is_single
from jaxglmm.frontend.context import Columns, Factor, match_levels, used_columns
from jaxglmm.frontend.frame import Frame
from jaxglmm.frontend.means.specs import check_variable
from jaxglmm.frontend.model import ModelData
from jaxglmm.frontend.variables import columns_in

if TYPE_CHECKING:
    from jaxglmm.frontend.described import Described

_MOST = 200_000  # combinations; beyond them matrices of a model fill the memory
_KEPT = 2  # a covariate with no more values than this is at each of them


@dataclass(frozen=True, eq=False)
class Variable:
    """A column of the grid.

    Attributes:
        name: of the column.
        values: in the grid.
        column: in the rows used.
        is_factor: whether it has levels: a categorical column, or numbers inside C(...).
        counted: whether rows are counted by its values: factors, and covariates kept whole.
    """

    name: str
    values: list[Any]
    column: np.ndarray | Factor
    is_factor: bool
    counted: bool

    def at(self, places: np.ndarray, moved: float = 0.0) -> np.ndarray | Factor:
        """The column of a grid whose rows have the values at `places`, plus `moved`."""
        if isinstance(self.column, Factor):
            levels = self.column.levels
            own = np.array([levels.index(value) for value in self.values])
            return Factor(own[places], levels, levels)
        if self.is_factor:
            return np.asarray(self.values, self.column.dtype)[places]
        return np.asarray(self.values, np.float64)[places] + moved

    def places(self) -> np.ndarray:
        """(n,) where among `values` each row used is, -1 for none of them."""
        if isinstance(self.column, Factor):
            known = [self.column.levels.index(value) for value in self.values]
            place = np.full(len(self.column.levels), -1)
            place[known] = np.arange(len(known))
            return place[self.column.codes]
        return match_levels(self.column, self.values)


@dataclass(frozen=True, eq=False)
class Grid:
    """All combinations of the variables' values, the last variable changing fastest.

    Attributes:
        variables: of the formulas of the components that are looked at, in their order.
        others: columns of the model that these formulas do not use, at any value.
    """

    variables: tuple[Variable, ...]
    others: tuple[Variable, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(v.name for v in self.variables)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(v.values) for v in self.variables)

    def __getitem__(self, name: str) -> Variable:
        return self.variables[self.names.index(name)]

    @cached_property
    def places(self) -> np.ndarray:
        """(variable, cell) place of each cell's value."""
        return np.indices(self.shape).reshape(len(self.shape), math.prod(self.shape))

    def columns(self, data: ModelData, moved: Mapping[str, float] | None = None) -> Columns:
        """What the model's formulas see, one row a cell; `moved` is added to covariates."""
        cells = self.places.shape[1]
        steps = moved or {}
        arrays = {
            variable.name: variable.at(places, steps.get(variable.name, 0.0))
            for variable, places in zip(self.variables, self.places, strict=True)
        }
        rest = {v.name: v.at(np.zeros(cells, np.int64)) for v in self.others}
        return Columns(cells, {**rest, **arrays}, data.contrasts)

    def frequencies(self, weights: np.ndarray) -> np.ndarray:
        """Weight of the rows used in each cell, shape of the grid; cells that differ in covariates
        alone have the same."""
        counted = [v.counted for v in self.variables]
        own = [v for v in self.variables if v.counted]
        shape = tuple(len(v.values) for v in own)
        if not own:
            return np.ones(self.shape)
        places = np.stack([v.places() for v in own])
        inside = np.all(places >= 0, axis=0)
        cells = np.ravel_multi_index(tuple(places[:, inside]), shape)
        sums = np.bincount(cells, weights[inside], math.prod(shape)).reshape(shape)
        spread = [n if c else 1 for n, c in zip(self.shape, counted, strict=True)]
        return np.broadcast_to(sums.reshape(spread), self.shape)


def data_columns(fit: Described) -> Columns:
    """What the model's formulas saw in the rows used."""
    data = fit.data
    names = data.encoders.fixed_columns
    arrays = used_columns(Frame(fit.labels.table), names, data.rows)
    return Columns(len(data.rows), arrays, data.contrasts)


def variables_of(fit: Described, components: Iterable[str]) -> list[str]:
    """The columns that the fixed parts and offsets of these components' formulas use."""
    frame, data = Frame(fit.labels.table), fit.data
    found: list[str] = []
    for component in components:
        spec = data.formulas[component]
        found += columns_in(spec.fixed, frame)
        for code in spec.offsets:
            found += columns_in(code, frame, is_expression=True)
    return list(dict.fromkeys(found))


def make_grid(fit: Described, components: Iterable[str], at: Mapping[str, Any] | None) -> Grid:
    """Factors at all their levels, covariates at their means or at `at`.

    A covariate of at most two values is at both of them. InputError for a name or a level that the
    model does not know, and for a grid of very many cells.
    """
    columns = data_columns(fit)
    names = variables_of(fit, components)
    if at is not None and not isinstance(at, Mapping):
        raise InputError(f"at: expected a dict such as {{'x': [1, 2]}}, got {at!r}.")
    given = dict(at or {})
    for name in given:
        check_variable("at", name, names)
    coded = _coded_numbers(fit)
    every = {n: _variable(n, columns.arrays[n], n in coded, given.get(n)) for n in columns}
    others = [variable for name, variable in every.items() if name not in names]
    grid = Grid(tuple(every[name] for name in names), tuple(others))
    if math.prod(grid.shape) > _MOST:
        raise InputError(
            f"The reference grid has {math.prod(grid.shape)} combinations of "
            f"{', '.join(grid.names)}: too many. Fix some of them with at=."
        )
    return grid


def _coded_numbers(fit: Described) -> set[str]:
    """Columns inside a factor of the formulas that has levels, such as x of C(x)."""
    frame, specs = Frame(fit.labels.table), fit.data.encoders.specs.values()
    codes = {
        code
        for spec in specs
        for code, (kind, _) in spec.encoder_state.items()
        if kind.value == "categorical"
    }
    functions = [code for code in codes if code not in frame]
    return {n for code in functions for n in columns_in(code, frame, is_expression=True)}


def _variable(name: str, column: np.ndarray | Factor, coded: bool, given: Any) -> Variable:
    if isinstance(column, Factor):
        values = column.levels if given is None else _levels(name, given, column.levels)
        return Variable(name, values, column, True, True)
    if coded:
        levels = np.unique(column).tolist()
        values = levels if given is None else _levels(name, given, levels)
        return Variable(name, values, column, True, True)
    if given is not None:
        return Variable(name, _numbers(name, given, column), column, False, False)
    if column.dtype.kind == "M":
        raise InputError(
            f"The covariate '{name}' holds dates, which have no mean here. Turn it into numbers, "
            "for example days since the first date, and fit again."
        )
    distinct = np.unique(column)
    kept = len(distinct) <= _KEPT
    values = distinct.tolist() if kept else [float(np.mean(column))]
    return Variable(name, values, column, False, kept)


def _listed(given: Any) -> list[Any]:
    return [given] if is_single(given) else list(given)


def _levels(name: str, given: Any, levels: list[Any]) -> list[Any]:
    wanted = _listed(given)
    unknown = [value for value in wanted if value not in levels]
    if unknown or not wanted:
        shown = show_values([f"'{value}'" for value in unknown]) or "nothing"
        known = ", ".join(f"'{level}'" for level in levels)
        raise InputError(
            f"at: '{name}' is a factor with the levels {known}, but was given {shown}. Use some of "
            "its levels."
        )
    return [levels[levels.index(value)] for value in dict.fromkeys(wanted)]


def _numbers(name: str, given: Any, column: np.ndarray) -> list[float]:
    if callable(given):
        given = given(column)
    wanted = _listed(given)
    good = [isinstance(v, numbers.Real) and math.isfinite(float(v)) for v in wanted]
    if not wanted or not all(good):
        raise InputError(
            f"at: '{name}' is a covariate; give a number, a list of numbers, or a function that "
            f"makes them of the column, not {given!r}."
        )
    return [float(v) for v in dict.fromkeys(wanted)]
