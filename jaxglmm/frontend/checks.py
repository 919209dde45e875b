"""Refusals: what is wrong with the values of a column or an argument, and what to do."""

from __future__ import annotations

import difflib
import math
import numbers
import os
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.host import everywhere

LARGEST_SEED, LARGEST_NUMBER = 2**63 - 1, 2**32 - 1  # of 64 bits; of a draw, of 32

# support -> (which values fit, what they must be, what to do)
_SUPPORTS = {
    "positive": (
        lambda y: y > 0,
        "must be greater than zero",
        "Leave these rows out, give zeros a probability of their own with zero_inflation='~ 1' "
        "(gamma, lognormal), or use a family that allows zeros (tweedie) or any number (gaussian).",
    ),
    "nonnegative": (
        lambda y: y >= 0,
        "must be zero or more",
        "Leave these rows out, or use a family that allows any number (gaussian).",
    ),
    "count": (
        lambda y: (y >= 0) & (y == np.floor(y)),
        "must be whole numbers, zero or more",
        "Use counts, with offset(log(exposure)) for rates; or a family for continuous responses.",
    ),
    "positive_count": (
        lambda y: (y >= 1) & (y == np.floor(y)),
        "must be whole numbers, one or more",
        "A truncated law has no zeros: zero_inflation= models them (the hurdle model); or leave "
        "these rows out, or use poisson, nbinom1 or nbinom2.",
    ),
    "unit_open": (
        lambda y: (y > 0) & (y < 1),
        "must lie strictly between 0 and 1",
        "For proportions with zeros and ones use family='ordered_beta', or 'zero_one_beta' if they "
        "come about otherwise than the rest; for zeros alone give them a probability of their own "
        "with zero_inflation='~ 1'; for successes of trials use binomial.",
    ),
    "unit_closed": (
        lambda y: (y >= 0) & (y <= 1),
        "must lie between 0 and 1",
        "Divide a percentage by 100; for successes of trials use binomial.",
    ),
    "unit_zero": (
        lambda y: (y >= 0) & (y < 1),
        "must be zero, or lie strictly between 0 and 1",
        "For proportions with ones use family='zero_one_beta' or 'ordered_beta'; for successes of "
        "trials binomial.",
    ),
    "real": (np.isfinite, "must be numbers", ""),
}


def show_rows(rows: Sequence[int] | np.ndarray) -> str:
    """`row 3`, `rows 3, 5, 9` or `rows 3, 5, 9, 10, 11 and 4 more`; rows count from 0."""
    shown = ", ".join(str(int(row)) for row in rows[:5])
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    return f"row{'s' if len(rows) > 1 else ''} {shown}{more} (counted from 0)"


def show_values(values: Sequence[Any] | np.ndarray) -> str:
    """At most five values."""
    shown = ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in list(values[:5]))
    return shown + (", ..." if len(values) > 5 else "")


def refuse_values(
    what: str, must: str, values: np.ndarray, bad: np.ndarray, rows: np.ndarray, remedy: str
) -> NoReturn:
    """Raise for the entries `bad` (bool) of `values`, whose places in the data are `rows`."""
    where = show_rows(rows[bad])
    message = f"{what} {must}, but {where} hold {show_values(values[bad].tolist())}."
    if int(bad.sum()) == 1:
        message = message.replace(" hold ", " holds ")
    raise InputError(f"{message} {remedy}".rstrip())


def support_rule(support: str) -> tuple[Callable[[np.ndarray], np.ndarray], str, str]:
    """Which values fit a support, what they must be, and what to do about others."""
    return _SUPPORTS[support]


def check_support(name: str, y: np.ndarray, support: str, rows: np.ndarray) -> None:
    """Refuse a response with values outside the support of its family."""
    fits, must, remedy = _SUPPORTS[support]
    if not everywhere(fits, y):
        refuse_values(f"The response '{name}'", must, y, ~fits(y), rows, remedy)


def check_weights(weights: np.ndarray, rows: np.ndarray) -> None:
    """Refuse negative weights and weights that are all zero; some zeros are fine."""
    bad = weights < 0
    if bad.any():
        remedy = "A weight of 0 leaves a row out of the fit."
        refuse_values("weights", "must be zero or more", weights, bad, rows, remedy)
    if not (weights > 0).any():
        raise InputError(
            "weights are all zero, so no row counts. Give positive weights, or leave weights out."
        )


def check_trials(
    what: str, trials: np.ndarray, successes: np.ndarray, label: str, rows: np.ndarray
) -> None:
    """Refuse trials that are not whole, negative, or fewer than the successes."""
    bad = (np.abs(trials - np.round(trials)) > 1e-6 * np.maximum(1, trials)) | (trials < 0)
    if bad.any():
        remedy = "Give the number of trials of each row; prior weights go in weights=."
        must = "must be whole numbers, zero or more"
        refuse_values(f"The trials ({what})", must, trials, bad, rows, remedy)
    bad = successes > trials * (1 + 1e-9)
    if bad.any():
        where = show_rows(rows[bad])
        pairs = [f"{s:g} of {t:g}" for s, t in zip(successes[bad], trials[bad], strict=True)]
        raise InputError(
            f"The response '{label}' has more successes than trials in {where}: "
            f"{show_values(pairs)}. Check the order: successes / trials, or "
            "cbind(successes, failures)."
        )


def check_finite(matrix: np.ndarray, names: Sequence[str], rows: np.ndarray) -> None:
    """Refuse columns in which a function of finite values gave NaN or infinity."""
    if not everywhere(np.isfinite, matrix):
        bad = ~np.isfinite(matrix)
        column = int(np.flatnonzero(bad.any(axis=0))[0])
        where = show_rows(rows[bad[:, column]])
        raise InputError(
            f"The term '{names[column]}' is not finite in {where}. Leave these rows out with "
            "subset=, or write the term so that it is defined there."
        )


def machine_memory() -> float:
    """Bytes of memory that this machine has; infinite where it does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return float("inf")


def check_dense(what: str, num_rows: int, num_columns: int, num_levels: int = 1) -> None:
    """Refuse random terms whose columns or blocks of H would not fit in the machine's memory.

    Columns are held by the front end, sorted in the engine, and once more in its sums; the blocks
    of H beside their factors, inverses and derivatives.
    """
    numbers = 3.0 * num_rows * num_columns + 6.0 * num_levels * num_columns**2
    limit = machine_memory()
    if 8 * numbers > limit:
        raise InputError(
            f"The {num_columns} columns of {what} need {8e-9 * numbers:.3g} GB with {num_rows} "
            f"rows, more than the {1e-9 * limit:.3g} GB of this machine. Use fewer levels or "
            "positions: merge some, or round the coordinates."
        )


def check_level(level: Any, name: str = "level") -> float:
    """The level of an interval, or of a test."""
    if not isinstance(level, numbers.Real) or not 0 < float(level) < 1:
        usual = "0.95 gives 95 % limits" if name == "level" else "0.05 is usual"
        raise InputError(f"{name}: {level} is not between 0 and 1; {usual}.")
    return float(level)


def is_finite(value: Any) -> bool:
    """Whether this is a finite number of any type; a truth value is none."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def is_whole(value: Any) -> bool:
    """Whether this is a whole number of any type; a truth value is none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_whole(name: str, value: Any, least: int, most: int) -> None:
    """A whole number between two."""
    if not is_whole(value) or not least <= int(value) <= most:
        raise InputError(f"{name}: expected a whole number from {least} to {most}, got {value!r}.")


def check_seed(seed: Any) -> None:
    """A whole number of 63 bits."""
    check_whole("seed", seed, 0, LARGEST_SEED)


def check_choice(argument: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse an option that is not among its choices."""
    if value not in choices:
        close = difflib.get_close_matches(str(value), choices, n=1)
        known = ", ".join(f"'{c}'" for c in choices)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise InputError(f"{argument}={value!r} is not known; choose one of {known}.{hint}")
