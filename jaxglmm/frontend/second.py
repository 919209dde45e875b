"""Further looks, where an ascent may have ended at the lower of two maxima.

A law's dispersion and random effects compete for one spread. In few rows the log-likelihood can
have a maximum where the dispersion makes all of it, with a variance at zero, and another one where
random effects do; and where every row is a level of its own nothing else tells them apart.

Where most groups have no event (`ascent.sparse`) the log-likelihood of counts, successes and
categories, as Laplace has it, can have a maximum at a variance of zero and a higher one at standard
deviations of 1 and more, where peers that start from 1 end.

The first ascent starts from moments, the others from larger random effects (`ascent.start`); what
they find counts if it is higher.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxglmm import status
from jaxglmm.ascent import Estimate
from jaxglmm.ascent.least_squares import suits
from jaxglmm.ascent.sparse import can_be_sparse, disperses
from jaxglmm.ascent.start import TO_A_UNIT, TO_THE_LIMIT
from jaxglmm.control import Control
from jaxglmm.rows import Rows

# More rows leave one maximum (three laws, 1,000 data sets each in ten groups: 13 higher ones found
# with 40 rows, 3 with 100, by less than 0.01, none with 250); unless each is a level of its own.
_MOST_ROWS = 200
_MOST_ALONE = 10_000
_SAME = 1e-6  # by which two ends of one maximum may differ, in log-likelihood


def may_look_again(rows: Rows, num_levels: Sequence[int], num_rows: int, control: Control) -> bool:
    """Whether models may have several maxima; those of the normal law with identity link next to
    never do.

    Args:
        rows: of one of them, in any layout.
        num_levels: of each grouping factor.
        num_rows: of a model.
        control: settings of its fit.
    """
    if rows.by_pseudo_data or control.staged:
        return False
    return _compete(rows, num_levels, num_rows) or can_be_sparse(rows)


def _compete(rows: Rows, num_levels: Sequence[int], num_rows: int) -> bool:
    """Whether a dispersion and random effects may do so."""
    few = num_rows <= (_MOST_ALONE if _are_alone(num_levels, num_rows) else _MOST_ROWS)
    return disperses(rows.family) and rows.num_theta > 0 and few and not suits(rows)


def looks(first: Estimate) -> list[tuple[int, np.ndarray]]:
    """How far random effects are raised each time (`ascent.start`), and for which models."""
    every = np.ones(np.shape(first.status), bool)
    sparse = np.zeros_like(every) if first.sparse is None else np.asarray(first.sparse)
    return [(raised, of) for raised, of in ((TO_A_UNIT, sparse), (TO_THE_LIMIT, every)) if of.any()]


def _are_alone(num_levels: Sequence[int], num_rows: int) -> bool:
    """Whether every row is a level of its own of some factor."""
    return max(num_levels, default=0) >= num_rows


def unsettled(
    rows: Rows, num_levels: Sequence[int], num_rows: int, estimate: Estimate
) -> np.ndarray:
    """Which ascents (one, or along a model axis) ended where another maximum may be higher; the
    first arguments are those of `may_look_again`."""
    code = np.asarray(estimate.status)
    at_zero = (code == status.CONVERGED_BOUNDARY) & np.asarray(estimate.singular)
    if not _compete(rows, num_levels, num_rows):
        return at_zero & np.asarray(estimate.sparse)
    return np.isin(code, status.PLAIN) if _are_alone(num_levels, num_rows) else at_zero


def is_higher(second: Estimate, first: Estimate) -> np.ndarray:
    """Whether another ascent, which began elsewhere, ended at a higher maximum."""
    risen = _maximised(second) - _maximised(first) > _SAME
    return np.isin(second.status, status.PLAIN) & risen


def _maximised(estimate: Estimate) -> np.ndarray:
    value, prior = np.asarray(estimate.log_likelihood), estimate.log_prior
    return value if prior is None else value + np.asarray(prior)


def with_both(second: Estimate, first: Estimate) -> Estimate:
    """The second estimate, which is higher; its counts are those of both ascents."""
    counts: dict[str, Any] = {
        name: np.asarray(getattr(second, name)) + np.asarray(getattr(first, name))
        for name in ("iterations", "passes")
    }
    return dataclasses.replace(second, **counts)
