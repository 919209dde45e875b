"""A parsed formula and a table -> arrays and names (ModelData)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend import designs, structures
from jaxglmm.frontend.arguments import (
    complete_rows,
    kept_by_subset,
    missing_masks,
    numbers,
    refuse_missing,
)
from jaxglmm.frontend.checks import check_choice, check_finite
from jaxglmm.frontend.context import Columns, Factor, used_columns
from jaxglmm.frontend.formula import FormulaSpec, RandomTerm
from jaxglmm.frontend.frame import Frame
from jaxglmm.frontend.given import check_matrices
from jaxglmm.frontend.groupings import Random, groupings
from jaxglmm.frontend.model import Encoders, GroupingData, ModelData, NewData, TermData
from jaxglmm.frontend.newdata import evaluate_offset, new_data
from jaxglmm.frontend.response import ResponseData, response_data
from jaxglmm.frontend.tokens import column_name
from jaxglmm.frontend.variables import columns_in, plain_columns
from jaxglmm.rank import independent_columns

if TYPE_CHECKING:
    from jaxglmm.frontend.encode import Encoded

__all__ = ["GroupingData", "ModelData", "NewData", "TermData", "model_data", "new_data"]


def model_data(
    spec: FormulaSpec,
    frame: Frame,
    *,
    family_support: str,
    weight_role: str,
    weights: Any = None,
    trials: Any = None,
    offset: Any = None,
    contrasts: str | Mapping[str, str] = "treatment",
    covariance: Mapping[str, Any] | None = None,
    matrices: Mapping[str, Any] | None = None,
    missing: str = "drop",
    subset: Any = None,
) -> ModelData:
    """Evaluate a formula on a table.

    Rows left out by `subset` or with a missing or infinite value in any used column or argument
    are dropped first; levels, contrasts and transforms see only the rows used.
    weights, trials, offset, subset: a column's name, or an array with one entry a row of the table.
    covariance: structures (names, or matrices of zeros and ones) by group; matrices: those that
    propto(... | ..., K) names.
    Raises InputError for anything that cannot be fitted.
    """
    check_choice("missing", missing, ("drop", "raise"))
    terms = _checked_terms(spec, covariance, matrices)
    uses = _uses(spec, frame)
    used = list(dict.fromkeys(name for names in uses.values() for name in names))
    extra = {
        "weights": numbers("weights", weights, frame),
        "trials": numbers("trials", trials, frame, scalar=True),
        "offset": numbers("offset", offset, frame, scalar=True),
    }
    kept, rows = _rows(frame, used, extra, subset, missing)
    columns, plain = _columns(spec, frame, used, rows, contrasts)
    at_rows = {name: None if v is None else v[rows] for name, v in extra.items()}
    encoded = _encode(spec.fixed, terms, columns, rows)
    random = groupings(terms, encoded, columns, rows, covariance=covariance, matrices=matrices)
    encoders = _encoders(random, encoded, columns, uses, offset)
    response = _response(spec, columns, rows, family_support, weight_role, at_rows)
    fixed, independent = encoded["fixed"], encoders.kept
    return ModelData(
        y=response.y,
        trials=response.trials,
        weights=response.weights,
        offset=evaluate_offset(
            spec.offsets, columns, at_rows["offset"], encoders.state["offset"], rows
        ),
        X=fixed.matrix if independent.all() else fixed.matrix[:, independent],
        fixed_names=tuple(compress(fixed.names, independent)),
        dropped_columns=tuple(compress(fixed.names, ~independent)),
        groupings=random.groupings,
        rows=rows,
        num_rows=frame.num_rows,
        num_dropped_missing=int(kept.sum()) - len(rows),
        num_dropped_subset=frame.num_rows - int(kept.sum()),
        response_name=_response_name(spec),
        spec=spec,
        encoders=encoders,
        contrasts=columns.coding,
        factor_levels={name: factor.levels for name, factor in plain.items()},
        used_columns=tuple(_with_arguments(used, weights, trials, offset)),
    )


def _checked_terms(
    spec: FormulaSpec, covariance: Mapping[str, Any] | None, matrices: Any
) -> tuple[RandomTerm, ...]:
    if spec.response is None:
        raise InputError("The formula has no response: write 'response ~ terms'.")
    designs.check_response_apart(spec)
    terms = designs.choose_structures(spec.random, covariance)
    for term in terms:
        structures.check_options(term)
    check_matrices(matrices, terms)
    return terms


def _uses(spec: FormulaSpec, frame: Frame) -> dict[str, list[str]]:
    """The columns that each part of the formula uses."""

    def of_expressions(codes: Iterable[str]) -> list[str]:
        return [n for code in codes for n in columns_in(code, frame, is_expression=True)]

    groups = [code for term in spec.random for code in term.factors]
    return {
        "response": of_expressions(spec.response.expressions if spec.response else ()),
        "fixed": columns_in(spec.fixed, frame),
        "random": [name for term in spec.random for name in columns_in(term.columns, frame)],
        "groups": [n for c in groups for n in ([c] if c in frame else of_expressions([c]))],
        "offset": of_expressions(spec.offsets),
    }


def _columns(
    spec: FormulaSpec,
    frame: Frame,
    used: list[str],
    rows: np.ndarray,
    contrasts: str | Mapping[str, str],
) -> tuple[Columns, dict[str, Factor]]:
    """The columns on the rows used, and the categorical ones that are terms of their own."""
    arrays = used_columns(frame, used, rows)
    plain = _plain_factors(spec, arrays)
    designs.check_levels(plain, len(rows))
    coding = designs.choose_contrasts(contrasts, plain)
    return Columns(len(rows), arrays, coding), plain


def _response(
    spec: FormulaSpec,
    columns: Columns,
    rows: np.ndarray,
    support: str,
    weight_role: str,
    at_rows: dict[str, np.ndarray | None],
) -> ResponseData:
    assert spec.response is not None
    weights, trials = at_rows["weights"], at_rows["trials"]
    return response_data(spec.response, columns, rows, support, weight_role, weights, trials)


def _response_name(spec: FormulaSpec) -> str:
    assert spec.response is not None
    return column_name(spec.response.text) or spec.response.text


def _encoders(
    random: Random,
    encoded: dict[str, Encoded],
    columns: Columns,
    uses: dict[str, list[str]],
    offset: Any,
) -> Encoders:
    return Encoders(
        specs={key: part.spec for key, part in encoded.items()},
        kept=independent_columns(encoded["fixed"].matrix),
        fixed_columns=_levels(columns.arrays, uses["fixed"] + uses["offset"]),
        random_columns=_levels(columns.arrays, uses["random"]),
        coders=random.coders,
        term_parts=random.parts,
        positions=random.positions,
        offset=offset if offset is None or isinstance(offset, str) else True,
        state={"offset": {}, "groups": random.state},
    )


def _rows(
    frame: Frame, used: list[str], extra: dict[str, Any], subset: Any, missing: str
) -> tuple[np.ndarray, np.ndarray]:
    """(rows of the table,) bool kept by subset, and (n,) places of the rows used."""
    kept = kept_by_subset(subset, frame)
    if missing == "raise":
        refuse_missing(frame, used, extra, kept)
    rows = np.flatnonzero(complete_rows(frame, used, extra, kept))
    if len(rows) == 0:
        raise InputError(_no_rows(frame, used, extra, kept))
    return kept, rows


def _no_rows(frame: Frame, used: list[str], extra: dict[str, Any], kept: np.ndarray) -> str:
    if frame.num_rows == 0:
        return "No rows are left to fit: the data has no rows. Look at how it was read."
    if not kept.any():
        return "No rows are left to fit: subset is True for none of the rows. Change subset."
    counts = {n: int((m & kept).sum()) for n, m in missing_masks(frame, used, extra).items()}
    worst = sorted((n for n in counts if counts[n]), key=lambda n: -counts[n])
    shown = ", ".join(f"'{n}' in {counts[n]}" for n in worst[:5])
    return (
        f"No rows are left to fit: each of the {int(kept.sum())} rows has a missing or infinite "
        f"value ({shown}). Fill these columns in, or leave them out."
    )


def _plain_factors(spec: FormulaSpec, arrays: dict[str, Any]) -> dict[str, Factor]:
    """Categorical columns that stand as terms of their own, not inside a function."""
    found = {}
    for part in (spec.fixed, *[term.columns for term in spec.random]):
        for name in plain_columns(part):
            if isinstance(arrays[name], Factor):
                found[name] = arrays[name]
    return found


def _encode(
    fixed: str, terms: tuple[RandomTerm, ...], columns: Columns, rows: np.ndarray
) -> dict[str, Encoded]:
    from jaxglmm.frontend import encode

    parts = {"fixed": fixed}
    parts |= {f"random{i}": structures.columns_code(term) for i, term in enumerate(terms)}
    encoded = encode.fit(parts, columns)
    for part in encoded.values():
        check_finite(part.matrix, part.names, rows)
    return encoded


def _levels(arrays: dict[str, Any], names: list[str]) -> dict[str, list[Any] | None]:
    return {n: arrays[n].levels if isinstance(arrays[n], Factor) else None for n in names}


def _with_arguments(used: list[str], *arguments: Any) -> list[str]:
    return list(dict.fromkeys([*used, *[a for a in arguments if isinstance(a, str)]]))
