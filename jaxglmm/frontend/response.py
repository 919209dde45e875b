"""The response and what goes with it: y, trials and weights, checked against the family."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import (
    check_support,
    check_trials,
    check_weights,
    refuse_values,
)
from jaxglmm.frontend.context import Columns, Factor
from jaxglmm.frontend.formula import Response
from jaxglmm.frontend.ordinal import ordinal_values
from jaxglmm.host import copied, everywhere

_WHOLE = 1e-3  # R's binomial() warns beyond this
_BINOMIAL_REMEDY = (
    "For a binomial family write 0/1, cbind(successes, failures), successes / trials, or a "
    "proportion with trials=."
)


@dataclass(frozen=True, eq=False)
class ResponseData:
    """y (n,), for a binomial family the number of successes; trials and weights (n,) or None.

    For an ordinal family y counts from 0 through `categories`, the values of the response in order.
    """

    y: np.ndarray
    trials: np.ndarray | None
    weights: np.ndarray | None
    categories: tuple[Any, ...] = ()


def response_data(
    response: Response,
    columns: Columns,
    rows: np.ndarray,
    support: str,
    weight_role: str,
    weights: np.ndarray | None,
    trials: np.ndarray | None,
) -> ResponseData:
    """Evaluate the left-hand side on the rows used; `rows` are their places in the data."""
    if weights is not None:
        check_weights(weights, rows)
    if support == "ordinal":
        return ordinal_data(response, columns, rows, weights, trials)
    values = [_values(code, columns, support, rows) for code in response.expressions]
    if support == "binomial":
        if response.kind == "plain":
            return _single_column(response.text, values[0], rows, weight_role, weights, trials)
        return _two_columns(response, values, rows, weights, trials)
    _refuse_trials(response, trials)
    with np.errstate(all="ignore"):
        y = values[0] / values[1] if response.kind == "ratio" else values[0]
    _check_finite(response.text, y, rows)
    check_support(response.text, y, support, rows)
    return ResponseData(y, None, weights)


def _refuse_trials(response: Response, trials: np.ndarray | None) -> None:
    """Of a family without trials."""
    if trials is not None:
        raise InputError("trials= belongs to a binomial family. Leave it out for this one.")
    if response.kind == "cbind":
        raise InputError(
            f"The response '{response.text}' counts successes and failures, which needs a "
            "binomial family. Use family='binomial', or a single response column."
        )


def known_of_response(response: Response, support: str) -> tuple[str, ...]:
    """The expressions of the left-hand side that are known before a response is: its trials."""
    if support != "binomial" or response.kind == "plain":
        return ()
    return response.expressions if response.kind == "cbind" else response.expressions[1:]


def response_to_draw(
    response: Response,
    columns: Columns,
    rows: np.ndarray,
    support: str,
    weight_role: str,
    weights: np.ndarray | None,
    trials: np.ndarray | None,
) -> ResponseData:
    """What goes with a response that is still to be drawn; y is zeros."""
    if weights is not None:
        check_weights(weights, rows)
    y = np.zeros(len(rows))
    if support != "binomial":
        _refuse_trials(response, trials)
        return ResponseData(y, None, weights)
    values = [
        _values(code, columns, support, rows) for code in known_of_response(response, support)
    ]
    if values:
        both = values if response.kind == "cbind" else [y, *values]
        return _two_columns(response, both, rows, weights, trials)
    if trials is not None:
        return _proportion(response.text, y, trials, "trials=", rows, weights)
    if weights is None or weight_role != "trials" or np.any(weights != np.round(weights)):
        return ResponseData(y, None, weights)
    return _proportion(response.text, y, weights, "weights=", rows, None)


def ordinal_data(
    response: Response,
    columns: Columns,
    rows: np.ndarray,
    weights: np.ndarray | None,
    trials: np.ndarray | None,
) -> ResponseData:
    """A single response of ordered categories."""
    if trials is not None or response.kind != "plain":
        raise InputError(
            f"The response '{response.text}' of a cumulative family is one column of ordered "
            "categories, without trials. Use a single column, or family='binomial'."
        )
    codes, categories = ordinal_values(response.text, columns, rows, weights)
    return ResponseData(codes.astype(np.float64), None, weights, categories)


def _values(code: str, columns: Columns, support: str, rows: np.ndarray) -> np.ndarray:
    """One expression of the response as numbers; a two-level factor is 0, 1 for a binomial."""
    from jaxglmm.frontend.encode import evaluate

    found = evaluate(code, columns, {})
    if isinstance(found, Factor):
        return _two_levels(code, found, support)
    array = np.asarray(getattr(found, "__wrapped__", found))
    if array.ndim == 0 or array.shape != (len(rows),) or array.dtype.kind not in "biuf":
        raise InputError(
            f"The response '{code}' does not give one number a row. Use a numeric column or an "
            "expression of numeric columns."
        )
    y = copied(array, np.float64)
    _check_finite(code, y, rows)
    return y


def _check_finite(code: str, y: np.ndarray, rows: np.ndarray) -> None:
    if not everywhere(np.isfinite, y):
        remedy = "Leave these rows out with subset=, or change the expression."
        bad = ~np.isfinite(y)
        refuse_values(f"The response '{code}'", "must be finite", y, bad, rows, remedy)


def _two_levels(code: str, factor: Factor, support: str) -> np.ndarray:
    if factor.is_bool:
        return np.array(factor.levels, float)[factor.codes]
    shown = ", ".join(f"'{level}'" for level in factor.levels[:5])
    if support != "binomial":
        raise InputError(
            f"The response '{code}' holds categories ({shown}), but its family needs numbers. "
            "Use a numeric column; for two categories use family='binomial'."
        )
    declared = factor.declared if len(factor.declared) == 2 else factor.levels
    if len(declared) != 2:
        raise InputError(
            f"The response '{code}' has {len(declared)} level(s): {shown}. A binomial response "
            "has two, the first being failure: use 0/1, or a categorical with two levels."
        )
    is_success = np.array([float(level == declared[1]) for level in factor.levels])
    return is_success[factor.codes]


def _two_columns(
    response: Response,
    values: list[np.ndarray],
    rows: np.ndarray,
    weights: np.ndarray | None,
    trials: np.ndarray | None,
) -> ResponseData:
    """cbind(successes, failures) and successes / trials; weights multiply the log-density."""
    if trials is not None:
        raise InputError(
            f"trials= is given twice: the response '{response.text}' already says how many "
            "trials there are. Leave trials= out."
        )
    for code, value in zip(response.expressions, values, strict=True):
        bad = value < 0
        if bad.any():
            must = "must be zero or more"
            refuse_values(f"'{code}'", must, value, bad, rows, _BINOMIAL_REMEDY)
    y = values[0]
    total = values[0] + values[1] if response.kind == "cbind" else values[1]
    what = response.text if response.kind == "cbind" else response.expressions[1]
    check_trials(what, total, y, response.text, rows)
    return ResponseData(_whole(y), np.round(total), weights)


def _single_column(
    label: str,
    share: np.ndarray,
    rows: np.ndarray,
    weight_role: str,
    weights: np.ndarray | None,
    trials: np.ndarray | None,
) -> ResponseData:
    """0/1, or a proportion whose trials are trials= or, as in R, weights=.

    Weights that are not whole, on 0/1 data, multiply the log-density; for a single trial that is
    the same likelihood.
    """
    zero_one = everywhere(lambda part: (part == 0.0) | (part == 1.0), share)
    if not zero_one:
        _check_share(label, share, rows)
    if trials is not None:
        return _proportion(label, share, trials, "trials=", rows, weights)
    if weights is None or weight_role != "trials":
        return ResponseData(share if zero_one else _whole(share), None, weights)
    if zero_one and np.any(weights != np.round(weights)):
        return ResponseData(share, None, weights)
    return _proportion(label, share, weights, "weights=", rows, None)


def _check_share(label: str, share: np.ndarray, rows: np.ndarray) -> None:
    bad = (share < 0) | (share > 1)
    if bad.any():
        must = "must lie between 0 and 1"
        refuse_values(f"The response '{label}'", must, share, bad, rows, _BINOMIAL_REMEDY)


def _proportion(
    label: str,
    share: np.ndarray,
    trials: np.ndarray,
    what: str,
    rows: np.ndarray,
    weights: np.ndarray | None,
) -> ResponseData:
    check_trials(what, trials, np.zeros_like(trials), label, rows)
    trials = np.round(trials)
    return ResponseData(_whole(share * trials), trials, weights)


def _whole(successes: np.ndarray) -> np.ndarray:
    """Whole numbers within rounding error; R's warning where they are not whole."""
    whole, far = nearly_whole(successes)
    if far:
        warn_of_parts(stacklevel=3)
    return whole


def nearly_whole(successes: np.ndarray) -> tuple[np.ndarray, bool]:
    """Whole numbers within rounding error, and whether some are far from any."""
    nearest = np.round(successes)
    distance = np.abs(successes - nearest)
    whole = np.where(distance < 1e-6 * np.maximum(1, nearest), nearest, successes)
    return whole, bool((distance > _WHOLE).any())


def warn_of_parts(stacklevel: int) -> None:
    """R's warning."""
    warnings.warn(
        "non-integer successes in a binomial model: give the number of trials with trials=, "
        "or successes / trials as the response",
        stacklevel=stacklevel,
    )
