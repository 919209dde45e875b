"""A parsed formula and a table -> arrays and names (ModelData)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend import designs, structures
from jaxglmm.frontend.arguments import complete_rows, numbers, rows_used
from jaxglmm.frontend.checks import check_choice, check_finite
from jaxglmm.frontend.context import Columns, Factor, used_columns
from jaxglmm.frontend.formula import FormulaSpec, RandomTerm
from jaxglmm.frontend.frame import Frame
from jaxglmm.frontend.given import check_matrices
from jaxglmm.frontend.groupings import Random, groupings
from jaxglmm.frontend.model import INTERCEPT, Encoders, ModelData, fixed_part, full_name
from jaxglmm.frontend.newdata import evaluate_offset
from jaxglmm.frontend.response import (
    ResponseData,
    known_of_response,
    response_data,
    response_to_draw,
)
from jaxglmm.frontend.tokens import column_name
from jaxglmm.frontend.variables import columns_in, expressions, plain_columns
from jaxglmm.rank import independent_columns

if TYPE_CHECKING:
    from jaxglmm.frontend.encode import Encoded


def model_data(
    spec: FormulaSpec,
    frame: Frame,
    *,
    family_support: str,
    weight_role: str,
    further: Mapping[str, FormulaSpec] | None = None,
    weights: Any = None,
    trials: Any = None,
    offset: Any = None,
    contrasts: str | Mapping[str, str] = "treatment",
    covariance: Mapping[str, Any] | None = None,
    matrices: Mapping[str, Any] | None = None,
    missing: str = "drop",
    subset: Any = None,
    drawn: bool = False,
) -> ModelData:
    """Evaluate a formula on a table.

    Rows left out by `subset` or with a missing or infinite value in any used column or argument
    are dropped first; levels and contrasts see only the rows used, but what transforms such as
    `scale`, `poly` or `bs` learn is from all rows that have their columns (those with a missing
    response too), as R's model.frame.
    further: the formulas of other linear predictors, by component.
    weights, trials, offset, subset: a column's name, or an array with one entry a row of the table.
    covariance: structures (names, or matrices of zeros and ones) by group of the main formula, or
    by component and group; matrices: those that propto(... | ..., K) names.
    drawn: the response is to be drawn: nothing of it is read but trials, and y means nothing.
    Raises InputError for anything that cannot be fitted.
    """
    check_choice("missing", missing, ("drop", "raise"))
    parts = {"cond": spec, **(further or {})}
    terms = _checked_terms(parts, covariance, matrices)
    uses = _uses(parts, frame, _read(spec, family_support, drawn))
    used = list(dict.fromkeys(name for names in uses.values() for name in names))
    extra = {
        "weights": numbers("weights", weights, frame),
        "trials": numbers("trials", trials, frame, scalar=True),
        "offset": numbers("offset", offset, frame, scalar=True),
    }
    kept, rows = rows_used(frame, used, extra, subset, missing)
    columns, plain = _columns(parts, frame, used, rows, contrasts)
    at_rows = {name: None if v is None else v[rows] for name, v in extra.items()}
    codes = _codes(parts, terms)
    learnt = {} if len(rows) == kept.sum() else _learnt(codes, frame, kept)
    encoded = _encode(codes, columns, rows, learnt)
    given = designs.by_component(covariance, parts)
    random = groupings(terms, encoded, columns, rows, covariance=given, matrices=matrices)
    fixed = _fixed(
        parts, encoded, at_rows["weights"], beside_thresholds=family_support == "ordinal"
    )
    encoders = _encoders(random, encoded, fixed.independent, columns, uses, offset)
    read = response_to_draw if drawn else response_data
    response = _response(read, spec, columns, rows, family_support, weight_role, at_rows)
    return ModelData(
        y=response.y,
        trials=response.trials,
        weights=response.weights,
        offset=_offset(spec, columns, at_rows["offset"], encoders, rows),
        X=fixed.X,
        fixed_names=tuple(compress(fixed.names, fixed.independent)),
        fixed_components=tuple(compress(fixed.components, fixed.independent)),
        dropped_columns=fixed.dropped,
        groupings=random.groupings,
        rows=rows,
        num_rows=frame.num_rows,
        num_dropped_missing=int(kept.sum()) - len(rows),
        num_dropped_subset=frame.num_rows - int(kept.sum()),
        response_name=_response_name(spec),
        spec=spec,
        further=dict(further or {}),
        offsets=tuple(
            _offset(part, columns, None, encoders, rows) for part in (further or {}).values()
        ),
        encoders=encoders,
        contrasts=columns.coding,
        factor_levels={name: factor.levels for name, factor in plain.items()},
        used_columns=tuple(_with_arguments(used, weights, trials, offset)),
        categories=response.categories,
    )


def _offset(
    spec: FormulaSpec,
    columns: Columns,
    given: np.ndarray | None,
    encoders: Encoders,
    rows: np.ndarray,
) -> np.ndarray | None:
    return evaluate_offset(spec.offsets, columns, given, encoders.state["offset"], rows)


class _Fixed(NamedTuple):
    """Names and components of all fixed columns, X with those that are independent, and the full
    names of the others (but for an intercept beside thresholds, of which nobody needs to know)."""

    names: tuple[str, ...]
    components: tuple[str, ...]
    independent: np.ndarray
    X: np.ndarray
    dropped: tuple[str, ...]


def _fixed(
    parts: dict[str, FormulaSpec],
    encoded: dict[str, Encoded],
    weights: np.ndarray | None,
    *,
    beside_thresholds: bool,
) -> _Fixed:
    """The fixed columns of all components side by side; each has its own dependences, in the rows
    whose weight is not zero."""
    of = {component: encoded[fixed_part(component)] for component in parts}
    counted = _counted(weights)
    kept = [_independent(one.matrix[counted], beside_thresholds) for one in of.values()]
    dropped = [
        full_name(component, name)
        for (component, one), own in zip(of.items(), kept, strict=True)
        for name in compress(one.names, ~own)
        if not (beside_thresholds and name == INTERCEPT)
    ]
    matrices = [
        one.matrix if own.all() else np.compress(own, one.matrix, axis=1)
        for one, own in zip(of.values(), kept, strict=True)
    ]
    return _Fixed(
        names=tuple(name for one in of.values() for name in one.names),
        components=tuple(component for component, one in of.items() for _ in one.names),
        independent=np.concatenate(kept),
        X=matrices[0] if len(matrices) == 1 else np.concatenate(matrices, axis=1),
        dropped=tuple(dropped),
    )


def _counted(weights: np.ndarray | None) -> np.ndarray | slice:
    """The rows with a weight, or all: without a copy where they are, or where none has one."""
    if weights is None or not np.any(weights > 0) or np.all(weights > 0):
        return slice(None)
    return weights > 0


def _checked_terms(
    parts: dict[str, FormulaSpec], covariance: Mapping[str, Any] | None, matrices: Any
) -> tuple[RandomTerm, ...]:
    """The random terms of all formulas, with the structures that `covariance` gives them."""
    spec = parts["cond"]
    if spec.response is None:
        raise InputError("The formula has no response: write 'response ~ terms'.")
    for part in parts.values():
        designs.check_response_apart(replace(part, response=spec.response))
    given = designs.by_component(covariance, parts)
    terms: tuple[RandomTerm, ...] = ()
    for component, part in parts.items():
        where = "" if component == "cond" else f"['{component}']"
        own = designs.choose_structures(part.random, given[component], where)
        terms += tuple(replace(term, component=component) for term in own)
    designs.check_ids(terms)
    for term in terms:
        structures.check_options(term)
    check_matrices(matrices, terms)
    return terms


def _read(spec: FormulaSpec, support: str, drawn: bool) -> tuple[str, ...]:
    """The expressions of the response that are read."""
    assert spec.response is not None
    return known_of_response(spec.response, support) if drawn else spec.response.expressions


def _uses(
    parts: dict[str, FormulaSpec], frame: Frame, response: tuple[str, ...]
) -> dict[str, list[str]]:
    """The columns that each kind of term of the formulas uses."""

    def of_expressions(codes: Iterable[str]) -> list[str]:
        return [n for code in codes for n in columns_in(code, frame, is_expression=True)]

    random = [t for part in parts.values() for t in part.random]
    groups = [code for term in random for code in term.factors]
    return {
        "response": of_expressions(response),
        "fixed": [name for part in parts.values() for name in columns_in(part.fixed, frame)],
        "random": [name for term in random for name in columns_in(term.columns, frame)],
        "groups": [n for c in groups for n in ([c] if c in frame else of_expressions([c]))],
        "offset": of_expressions(code for part in parts.values() for code in part.offsets),
    }


def _columns(
    parts: dict[str, FormulaSpec],
    frame: Frame,
    used: list[str],
    rows: np.ndarray,
    contrasts: str | Mapping[str, str],
) -> tuple[Columns, dict[str, Factor]]:
    """The columns on the rows used, and the categorical ones that are terms of their own."""
    arrays = used_columns(frame, used, rows)
    plain = _plain_factors(parts, arrays)
    designs.check_levels(plain, len(rows))
    coding = designs.choose_contrasts(contrasts, plain)
    return Columns(len(rows), arrays, coding), plain


def _response(
    read: Callable[..., ResponseData],
    spec: FormulaSpec,
    columns: Columns,
    rows: np.ndarray,
    support: str,
    weight_role: str,
    at_rows: dict[str, np.ndarray | None],
) -> ResponseData:
    assert spec.response is not None
    weights, trials = at_rows["weights"], at_rows["trials"]
    return read(spec.response, columns, rows, support, weight_role, weights, trials)


def _response_name(spec: FormulaSpec) -> str:
    assert spec.response is not None
    return column_name(spec.response.text) or spec.response.text


def _encoders(
    random: Random,
    encoded: dict[str, Encoded],
    kept: np.ndarray,
    columns: Columns,
    uses: dict[str, list[str]],
    offset: Any,
) -> Encoders:
    return Encoders(
        specs={key: part.spec for key, part in encoded.items()},
        kept=kept,
        fixed_columns=_levels(columns.arrays, uses["fixed"] + uses["offset"]),
        random_columns=_levels(columns.arrays, uses["random"]),
        coders=random.coders,
        term_parts=random.parts,
        positions=random.positions,
        offset=offset if offset is None or isinstance(offset, str) else True,
        state={"offset": {}, "groups": random.state},
    )


def _independent(X: np.ndarray, beside_thresholds: bool) -> np.ndarray:
    """The columns to keep; beside thresholds, which are intercepts, no constant one."""
    if not beside_thresholds:
        return independent_columns(X)
    return independent_columns(np.column_stack([np.ones(len(X)), X]))[1:]


def _plain_factors(parts: dict[str, FormulaSpec], arrays: dict[str, Any]) -> dict[str, Factor]:
    """Categorical columns that stand as terms of their own, not inside a function."""
    found = {}
    for code in [c for p in parts.values() for c in (p.fixed, *(t.columns for t in p.random))]:
        for name in plain_columns(code):
            if isinstance(arrays[name], Factor):
                found[name] = arrays[name]
    return found


def _codes(parts: dict[str, FormulaSpec], terms: tuple[RandomTerm, ...]) -> dict[str, str]:
    """The right-hand sides that make columns, by their keys."""
    codes = {fixed_part(component): part.fixed for component, part in parts.items()}
    return codes | {f"random{i}": structures.columns_code(term) for i, term in enumerate(terms)}


def _learnt(codes: dict[str, str], frame: Frame, kept: np.ndarray) -> dict[str, Any]:
    """What the transforms of formulas learn from all rows of `kept` that have their columns."""
    from jaxglmm.frontend import encode

    state: dict[str, Any] = {}
    for expression in dict.fromkeys(e for code in codes.values() for e in expressions(code)):
        names = columns_in(expression, frame, is_expression=True)
        rows = np.flatnonzero(complete_rows(frame, names, {}, kept))
        columns = Columns(len(rows), used_columns(frame, names, rows), {})
        encode.evaluate(expression, columns, state)
    return state


def _encode(
    codes: dict[str, str], columns: Columns, rows: np.ndarray, learnt: dict[str, Any]
) -> dict[str, Encoded]:
    from jaxglmm.frontend import encode

    encoded = encode.fit(codes, columns, learnt)
    for part in encoded.values():
        check_finite(part.matrix, part.names, rows)
    return encoded


def _levels(arrays: dict[str, Any], names: list[str]) -> dict[str, list[Any] | None]:
    return {n: arrays[n].levels if isinstance(arrays[n], Factor) else None for n in names}


def _with_arguments(used: list[str], *arguments: Any) -> list[str]:
    return list(dict.fromkeys([*used, *[a for a in arguments if isinstance(a, str)]]))
