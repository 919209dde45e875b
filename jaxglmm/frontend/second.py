"""A second look, where an ascent may have ended at the lower of two maxima.

A law's dispersion and random effects compete for one spread. In few rows the log-likelihood can
have a maximum where the dispersion makes all of it, with a variance at zero, and another one where
random effects do; and where every row is a level of its own nothing else tells them apart. The
first ascent starts from moments, the second one from random effects as large as they may be
(`ascent.start`); what it finds counts if it is higher. Laws without a dispersion are looked at
once: a second maximum beside a variance of zero, as for a few events among many rows, is then one
of Laplace's approximation, which the exact integral does not have.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxglmm import status
from jaxglmm.ascent import Estimate
from jaxglmm.ascent.least_squares import suits
from jaxglmm.control import Control
from jaxglmm.rows import Rows

_MOST_ROWS = 10_000  # more of them leave one maximum
_SAME = 1e-6  # by which two ends of one maximum may differ, in log-likelihood


def may_look_again(rows: Rows, num_rows: int, control: Control) -> bool:
    """Whether models of so many rows may have several maxima; those of the normal law with
    identity link next to never do."""
    family = rows.family
    disperses = family.num_phi > family.num_thresholds or "disp" in family.components
    few = disperses and rows.num_theta > 0 and num_rows <= _MOST_ROWS
    return few and not suits(rows) and not rows.by_pseudo_data and not control.staged


def unsettled(num_levels: Sequence[int], num_rows: int, estimate: Estimate) -> np.ndarray:
    """Which ascents (one, or along a model axis) ended where another maximum may be higher.

    Args:
        num_levels: of each grouping factor.
        num_rows: of a model.
        estimate: where they ended.
    """
    code = np.asarray(estimate.status)
    at_zero = (code == status.CONVERGED_BOUNDARY) & np.asarray(estimate.singular)
    alone = max(num_levels, default=0) >= num_rows
    return np.isin(code, status.PLAIN) if alone else at_zero


def is_higher(second: Estimate, first: Estimate) -> np.ndarray:
    """Whether the second ascent, which began elsewhere, ended at a higher maximum."""
    risen = _maximised(second) - _maximised(first) > _SAME
    return np.isin(second.status, status.PLAIN) & risen


def _maximised(estimate: Estimate) -> np.ndarray:
    value, prior = np.asarray(estimate.log_likelihood), estimate.log_prior
    return value if prior is None else value + np.asarray(prior)


def with_both(second: Estimate, first: Estimate) -> Estimate:
    """The second estimate; its counts are those of both ascents."""
    counts: dict[str, Any] = {
        name: np.asarray(getattr(second, name)) + np.asarray(getattr(first, name))
        for name in ("iterations", "passes")
    }
    return dataclasses.replace(second, **counts)
