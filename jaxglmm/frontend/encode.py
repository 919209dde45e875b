"""formulaic as a library of arrays: formulas and columns -> matrices, names, and what to keep.

A subclass of formulaic's pandas materialiser looks plain columns up without pandas, codes
categorical ones by the model's contrasts, and leaves everything else to formulaic.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import product
from typing import Any

import numpy as np
from formulaic import ModelSpec
from formulaic.errors import DataMismatchWarning, FormulaicError
from formulaic.materializers import NAAction, PandasMaterializer
from formulaic.materializers.types import FactorValues
from formulaic.model_spec import ModelSpecs
from formulaic.utils.stateful_transforms import stateful_eval
from formulaic.utils.variables import Variable

from jaxglmm.errors import InputError
from jaxglmm.frontend.context import FULL, SUM, TREATMENT, Columns, Factor
from jaxglmm.frontend.tokens import column_name
from jaxglmm.frontend.variables import formula_of, functions
from jaxglmm.host import by_parts, empty


@dataclass(frozen=True, eq=False)
class Encoded:
    """One formula's columns: matrix (n, k) float64, their names, formulaic's spec for new data.

    is_categorical: each factor of the formula, as it is written, and whether it has levels.
    """

    matrix: np.ndarray
    names: tuple[str, ...]
    spec: ModelSpec
    is_categorical: dict[str, bool]


def fit(
    formulas: Mapping[str, str], columns: Columns, learnt: Mapping[str, Any] | None = None
) -> dict[str, Encoded]:
    """Encode several formulas together: transforms and levels are shared between them. `learnt` is
    what transforms know already, a state that `evaluate` has filled."""
    specs = {
        key: ModelSpec(
            formula=formula_of(code),
            output="numpy",
            na_action=NAAction.IGNORE,
            transform_state=dict(learnt or {}),
        )
        for key, code in formulas.items()
    }
    return _encode(specs, columns)


def apply(specs: Mapping[str, ModelSpec], columns: Columns) -> dict[str, np.ndarray]:
    """The columns of fitted specs for new data.

    The levels of C(x) are kept in the first spec that has it: apply that one too.
    """
    encoded = _encode(specs, columns)
    return {key: part.matrix for key, part in encoded.items()}


def _encode(specs: Mapping[str, ModelSpec], columns: Columns) -> dict[str, Encoded]:
    parts: dict[str, Any] = dict(specs)
    structured = ModelSpecs(**parts)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("error", DataMismatchWarning)
        try:
            matrices = _Materialiser(columns, functions()).get_model_matrix(structured)
        except (FormulaicError, DataMismatchWarning, ValueError) as error:
            raise _explain(error, columns) from error
    found = {key: getattr(matrices, key) for key in specs}
    kinds = _kinds(matrix.model_spec for matrix in found.values())
    encoded = {}
    for key, matrix in found.items():
        spec = matrix.model_spec
        own = {f.expr for term in spec.terms for f in term.factors} & set(kinds)
        names = tuple(spec.column_names)
        encoded[key] = Encoded(matrix.__wrapped__, names, spec, {c: kinds[c] for c in sorted(own)})
    return encoded


def _kinds(specs: Iterable[ModelSpec]) -> dict[str, bool]:
    """Each factor of the formulas and whether it has levels; one spec alone remembers a factor."""
    states = [state for spec in specs for state in spec.encoder_state.items()]
    return {code: kind.value == "categorical" for code, (kind, _) in states}


def _explain(error: Exception, columns: Columns) -> Exception:
    """The InputError for what formulaic refused."""
    if isinstance(error, InputError):
        return error
    if isinstance(error.__cause__, InputError):
        return InputError(str(error.__cause__))
    if isinstance(error, DataMismatchWarning):
        levels = str(error).partition("{")[2].partition("}")[0]
        levels = re.sub(r"np\.\w+\((.*?)\)", r"\1", levels)
        return InputError(
            f"A categorical term of the formula has the level {levels} in the new data, which the "
            "model has not seen. Remove these rows, or fit again with such rows."
        )
    found = re.match(r"Unable to evaluate factor `(.*)`\. \[(.*)\]\Z", str(error), re.DOTALL)
    if found:
        return _failed(f"'{found[1]}'", found[2], columns)
    return _failed("The formula", str(error), columns)


def _failed(code: str, reason: str, columns: Columns) -> InputError:
    """The InputError for an expression that does not evaluate."""
    factors = {n: a for n, a in columns.arrays.items() if isinstance(a, Factor)}
    text = [n for n, a in factors.items() if not a.is_bool and n in code.strip("'")]
    hint = f"'{text[0]}' holds categories, not numbers." if text else "Check the columns it names."
    return InputError(f"{code} cannot be evaluated: {reason.rstrip('.')}. {hint}")


def evaluate(code: str, columns: Columns, state: dict[str, Any]) -> Any:
    """The value of one expression: a column as it is stored, or what formulaic computes.

    `state` remembers what transforms such as scale() learnt, for the same expression on new data.
    """
    name = column_name(code)
    if name is not None:
        return columns.arrays[name]
    env = _Materialiser(columns, functions()).layered_context
    try:
        with np.errstate(all="ignore"):
            return stateful_eval(code, env, {}, state, ModelSpec(formula=[]))  # type: ignore[arg-type]
    except Exception as error:
        raise _failed(f"'{code}'", f"{type(error).__name__}: {error}", columns) from error


class _Materialiser(PandasMaterializer):
    """Looks columns up in `Columns`. Not registered with formulaic: it has no name of its own."""

    data: Columns

    @PandasMaterializer.override  # type: ignore[attr-defined]
    def _init(self) -> None:
        pass

    @property
    @PandasMaterializer.override  # type: ignore[attr-defined]
    def nrows(self) -> int:
        return self.data.num_rows

    @PandasMaterializer.override  # type: ignore[attr-defined]
    def _lookup(self, name: str) -> tuple[Any, set[Variable]]:
        column = self.data.arrays[name]
        variables = {Variable(name, roles=["value"], source="data")}
        if not isinstance(column, Factor):
            if column.dtype.kind == "M":
                raise InputError(
                    f"Column '{name}' holds dates. Turn it into numbers first, for example days "
                    "since the first date."
                )
            return column, variables
        coding = self.data.coding.get(name, TREATMENT)
        values = FactorValues(
            column.codes,
            kind="categorical",
            spans_intercept=coding != FULL,
            encoder=partial(_encode_factor, factor=column, coding=coding),
        )
        return values, variables

    @PandasMaterializer.override  # type: ignore[attr-defined]
    def _encode_constant(
        self,
        value: Any,
        metadata: Any,
        encoder_state: dict[str, Any],
        spec: ModelSpec,
        drop_rows: Sequence[int],
    ) -> float:
        return float(value)

    @PandasMaterializer.override  # type: ignore[attr-defined]
    def _get_columns_for_term(
        self, factors: list[dict[str, Any]], spec: ModelSpec, scale: float = 1
    ) -> dict[str, Any]:
        out = {}
        for reverse in product(*(factor.items() for factor in reversed(factors))):
            names, values = zip(*reverse[::-1], strict=True)
            column = reduce(np.multiply, (np.asarray(v) for v in values))
            out[":".join(names)] = column if scale == 1 else scale * column
        return out

    @PandasMaterializer.override  # type: ignore[attr-defined]
    def _combine_columns(
        self, cols: Sequence[tuple[str, Any]], spec: ModelSpec, drop_rows: Sequence[int]
    ) -> np.ndarray:
        shape = (self.data.num_rows, len(cols))
        if all(isinstance(values, float) for _, values in cols):
            return np.broadcast_to([values for _, values in cols], shape)  # no array of ones
        columns = [_numbers(name, values, self.data.num_rows) for name, values in cols]
        matrix = empty(shape)

        def write(part: slice) -> None:
            for j, values in enumerate(columns):
                matrix[part, j] = values[part]

        by_parts(write, *shape)
        return matrix


def _numbers(name: str, values: Any, num_rows: int) -> np.ndarray:
    """A column of the matrix as numbers of any type, (n,)."""
    try:
        column = np.broadcast_to(np.asarray(values), (num_rows,))
        return column if column.dtype.kind in "biuf" else column.astype(np.float64)
    except (TypeError, ValueError):
        raise InputError(
            f"The term '{name}' does not give one number a row. Check the expression."
        ) from None


@dataclass(frozen=True)
class _Level:
    """A level as formulaic formats it; text beginning with "__" would be skipped as private."""

    value: Any

    def __str__(self) -> str:
        return str(self.value)


def _encode_factor(
    values: Any,
    reduced_rank: bool,
    drop_rows: list[int],
    encoder_state: dict[str, Any],
    model_spec: ModelSpec,
    *,
    factor: Factor,
    coding: str,
) -> FactorValues:
    """Columns of a categorical by its coding: indicators, all but the first, or deviations."""
    codes, levels = factor.codes, factor.levels
    encoder_state["categories"] = levels
    columns = {_Level(level): codes == j for j, level in enumerate(levels)}
    style = "{name}[{field}]"
    if reduced_rank and coding == SUM:
        last = columns.pop(_Level(levels[-1])).astype(float)
        columns = {level: column - last for level, column in columns.items()}
        style = "{name}[S.{field}]"
    elif reduced_rank:
        del columns[_Level(levels[0])]
        style = "{name}[T.{field}]"
    return FactorValues(
        columns,
        kind="categorical",
        spans_intercept=not reduced_rank,
        format=style,
        format_reduced=style,
        encoded=True,
    )
