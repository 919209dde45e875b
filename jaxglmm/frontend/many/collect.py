"""What came of some models, put together with what came of others."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxglmm.frontend.many.program import Outcome


class Found(NamedTuple):
    """What came of some models, in the caller's basis."""

    models: np.ndarray
    outcome: Outcome
    covariance: np.ndarray
    compile_seconds: float
    run_seconds: float


def collected(found: Sequence[Found], num_models: int, modes: bool) -> tuple[Outcome, np.ndarray]:
    """All models along a leading axis, NaN for those that were not fitted. Random effects have as
    many levels as the model with the most."""
    parts = [(part.models, _without_modes(part)) for part in found]
    outcome, covariance = _scattered(parts, num_models)
    if not modes:
        return outcome, covariance
    b = [(part.models, _with_levels(part.outcome.b, found)) for part in found]
    variances = [(part.models, _with_levels(_known(part.outcome), found)) for part in found]
    return (
        outcome._replace(b=_scattered(b, num_models), b_variance=_scattered(variances, num_models)),
        covariance,
    )


def _without_modes(part: Found) -> tuple[Outcome, np.ndarray]:
    estimate = dataclasses.replace(part.outcome.estimate, u=())
    return part.outcome._replace(estimate=estimate, b=None, b_variance=None), part.covariance


def _known(outcome: Outcome) -> tuple[Any, ...]:
    """Variances of the modes, NaN where they cost as much as the fit."""
    assert outcome.b is not None
    if outcome.b_variance is not None:
        return outcome.b_variance
    return tuple(np.full_like(values, np.nan) for values in outcome.b)


def _with_levels(effects: Any, found: Sequence[Found]) -> tuple[np.ndarray, ...]:
    """(model, column, level) with as many levels as any model has."""
    return tuple(
        np.pad(
            np.asarray(values),
            ((0, 0), (0, 0), (0, _most(found, k) - values.shape[-1])),
            constant_values=np.nan,
        )
        for k, values in enumerate(effects)
    )


def _most(found: Sequence[Found], factor: int) -> int:
    return max(part.outcome.b[factor].shape[-1] for part in found if part.outcome.b is not None)


def _scattered(parts: Sequence[tuple[np.ndarray, Any]], num_models: int) -> Any:
    """Trees of some models each, as one of all of them."""
    leaves, tree = jax.tree.flatten(parts[0][1])
    whole = [
        np.full(
            (num_models, *np.shape(leaf)[1:]),
            np.nan if np.asarray(leaf).dtype.kind == "f" else 0,
            np.asarray(leaf).dtype,
        )
        for leaf in leaves
    ]
    for models, part in parts:
        for all_, own in zip(whole, jax.tree.leaves(part), strict=True):
            all_[models] = own
    return jax.tree.unflatten(tree, whole)
