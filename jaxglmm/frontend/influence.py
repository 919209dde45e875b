"""Influence of rows and groups: units, measures, the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import check_choice
from jaxglmm.frontend.fitting import share_of_all
from jaxglmm.frontend.many.followed import check_criterion
from jaxglmm.frontend.parameters import parameter_names
from jaxglmm.frontend.tables import every_parameter
from jaxglmm.inference.influence import cooks_distance, covariance_ratio, sums_by_unit
from jaxglmm.inference.natural import thresholds_among

if TYPE_CHECKING:
    import pandas as pd

    from jaxglmm.frontend.result import GLMM

METHODS = ("exact", "one_step", "jackknife")


class _Units(NamedTuple):
    """What is left out in turn: unit of each row, and labels of the units by column."""

    codes: np.ndarray
    labels: dict[str, Any]

    @property
    def number(self) -> int:
        return len(next(iter(self.labels.values())))


class _Moved(NamedTuple):
    """Without each unit; (unit, ...) each."""

    change: np.ndarray  # of all parameters of the tables: estimate less that without the unit
    errors: np.ndarray  # standard errors of the fixed effects
    covariance_ratio: np.ndarray
    displacement: np.ndarray
    status: np.ndarray


def influence(fit: GLMM, by: Any, method: str, progress: bool | None) -> pd.DataFrame:
    """The table."""
    import pandas as pd

    check_choice("method", method, METHODS)
    check_criterion("influence", fit)
    units = _units(fit, by)
    if not fit.converged:
        raise InputError(
            f"The fit has no maximum to compare with (status '{fit.status}'). {fit.status_message}"
        )
    if method == "jackknife":
        moved = _to_first_order(fit, units)
    else:
        moved = _refitted(fit, units, method == "exact", progress)
    names, p = parameter_names(fit.data, fit.problem), len(fit.labels.fixed)
    V, free = fit.joint_covariance[:p, :p], free_effects(fit)
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = moved.change[:, :p] / moved.errors
    return pd.DataFrame(
        {
            **units.labels,
            "num_obs": np.bincount(units.codes, fit.counted, units.number).astype(np.int64),
            "cooks_distance": cooks_distance(moved.change[:, :p][:, free], V[np.ix_(free, free)]),
            "likelihood_displacement": moved.displacement,
            "covariance_ratio": moved.covariance_ratio,
            **{f"dfbetas_{name}": scaled[:, k] for k, name in enumerate(names[:p])},
            **{f"change_{name}": moved.change[:, k] for k, name in enumerate(names) if k >= p},
            "status": moved.status,
        }
    )


def free_effects(fit: GLMM) -> np.ndarray:
    """Fixed effects that are estimated, each for itself."""
    restriction, p = fit.problem.restriction, len(fit.labels.fixed)
    if restriction is None:
        return np.arange(p)
    index = np.asarray(restriction.beta.index, int)
    places, first = np.unique(index, return_index=True)
    return first[places >= 0]


def _units(fit: GLMM, by: Any) -> _Units:
    data = fit.data
    if by is None:
        return _Units(np.arange(len(data.y)), {"row": np.asarray(data.rows)})
    if not isinstance(by, str):
        return _of_values(fit, getattr(by, "name", None) or "by", by)
    for grouping, of in zip(data.groupings, fit.problem.groupings, strict=True):
        if grouping.name == by:
            labels = {"group": [by] * len(grouping.levels), "level": list(grouping.levels)}
            return _Units(np.asarray(of.codes), labels)
    if by not in fit.labels.table:
        groups = ", ".join(f"'{name}'" for name in fit.labels.groups) or "none"
        raise InputError(
            f"by: '{by}' is neither a grouping factor of the model ({groups}) nor another column "
            "that it uses. Give one of these, an array with a value for each row of the data, or "
            "None for single rows."
        )
    return _of_values(fit, by, fit.labels.table[by])


def _of_values(fit: GLMM, name: str, values: Any) -> _Units:
    """Units that are the values of a column."""
    import pandas as pd

    data, column = fit.data, pd.Series(np.asarray(values))
    if len(column) not in (data.num_rows, len(data.y)):
        raise InputError(
            f"by: {len(column)} values for {data.num_rows} rows of the data. Give one for each."
        )
    if len(column) == data.num_rows:
        column = column.iloc[np.asarray(data.rows)]
    codes, levels = pd.factorize(column, sort=True)
    if (codes < 0).any():
        raise InputError(f"by: '{name}' has missing values in rows that were fitted. Fill them in.")
    return _Units(codes, {"group": [name] * len(levels), "level": list(levels)})


def _refitted(fit: GLMM, units: _Units, exact: bool, progress: bool | None) -> _Moved:
    from jaxglmm.frontend.many.deletions import fit_without

    batch, fall = fit_without(fit, units.codes, range(units.number), exact, progress)
    p, free = len(fit.labels.fixed), free_effects(fit)
    values, errors = every_parameter(batch, "estimate", "std_error")
    (here,) = every_parameter(fit, "estimate")
    # Coefficients that the rows left do not tell are no estimates.
    V, known = fit.joint_covariance, batch.converged & ~batch.unknown
    left = batch.joint_covariance[:, free[:, None], free]
    ratio = covariance_ratio(left, V[np.ix_(free, free)])
    return _Moved(
        change=np.where(known[:, None], here - values, np.nan),
        errors=errors[:, :p],
        covariance_ratio=np.where(known, ratio, np.nan),
        displacement=np.where(known, np.maximum(2.0 * fall, 0.0), np.nan),
        status=batch.status,
    )


def _to_first_order(fit: GLMM, units: _Units) -> _Moved:
    """By the derivatives in the weights; the displacement by the Hessian."""
    from jaxglmm.frontend.many.deletions import slopes_in_weights

    slopes = sums_by_unit(slopes_in_weights(fit), units.codes, units.number)
    p = len(fit.labels.fixed)
    natural = slopes[:, p:] @ np.asarray(fit.natural.jacobian).T
    places = np.arange(natural.shape[1])
    own = thresholds_among(fit.family, len(places))
    order = [*places[own], *places[: own.start], *places[own.stop :]]
    restriction = fit.problem.restriction
    free = slopes if restriction is None else share_of_all(restriction).collapse(slopes.T).T
    hessian = np.asarray(fit.estimate.hessian)
    ones = np.full(units.number, np.nan)
    return _Moved(
        change=np.concatenate([slopes[:, :p], natural[:, order]], axis=1),
        errors=np.broadcast_to(every_parameter(fit, "std_error")[0, :, :p], (units.number, p)),
        covariance_ratio=ones,
        displacement=-np.sum((free @ hessian) * free, axis=1),
        status=np.full(units.number, "approximate", object),
    )
