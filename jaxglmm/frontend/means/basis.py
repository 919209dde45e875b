"""What means are linear functions of: a component's coefficients, with its columns on a grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxglmm.frontend.context import Columns
from jaxglmm.frontend.means.grid import Grid, data_columns
from jaxglmm.frontend.model import INTERCEPT, ModelData, fixed_part
from jaxglmm.frontend.newdata import evaluate_offset
from jaxglmm.inference.estimable import Embedded, null_space
from jaxglmm.inference.freedom import Denominators
from jaxglmm.inference.natural import thresholds_among
from jaxglmm.links import AbstractLink, Identity, Log, Logit

if TYPE_CHECKING:
    from jaxglmm.frontend.result import GLMM


class Basis(NamedTuple):
    """The cells of a grid as linear functions of estimates.

    Attributes:
        rows: shape (cell, coefficient).
        offset: shape (cell,).
        b, V, null, freedom: as in `jaxglmm.inference.estimable.Linear`.
        link: whose inverse takes the functions to the response scale; None where they are on it.
    """

    rows: np.ndarray
    offset: np.ndarray
    b: np.ndarray
    V: np.ndarray
    null: np.ndarray
    freedom: Denominators
    link: AbstractLink | None


class Block(NamedTuple):
    """The columns of one component before any was dropped.

    Attributes:
        rows: shape (row, column).
        kept: which columns have a coefficient; (column,) bool.
        places: of these among all coefficients of the model.
    """

    rows: np.ndarray
    kept: np.ndarray
    places: np.ndarray


def blocks(data: ModelData, columns: Columns) -> dict[str, Block]:
    """The fixed columns of all components, none left out."""
    from jaxglmm.frontend import encode

    specs = {fixed_part(c): data.fixed_spec(c) for c in data.components}
    matrices = encode.apply(specs, columns)
    found, place = {}, 0
    for component, own in data.fixed_slices.items():
        kept = data.encoders.kept[own]
        number = int(np.count_nonzero(kept))
        places = np.arange(place, place + number)
        found[component] = Block(matrices[fixed_part(component)], kept, places)
        place += number
    return found


def offsets(fit: GLMM, columns: Columns, component: str, given: float | None) -> np.ndarray:
    """(row,) the offset of a component: the formula's in these rows, and the mean of what was given
    as offset= in the fit; or `given` instead."""
    if given is not None:
        return np.full(columns.num_rows, given)
    data = fit.data
    spec = data.formulas[component]
    total = _of_formula(data, spec.offsets, columns)
    if component == "cond" and data.encoders.offset is not None and data.offset is not None:
        own = data.offset - _of_formula(data, spec.offsets, data_columns(fit))
        total = total + np.mean(own)
    return total


def _of_formula(data: ModelData, codes: tuple[str, ...], columns: Columns) -> np.ndarray:
    rows, state = np.arange(columns.num_rows), data.encoders.state["offset"]
    found = evaluate_offset(codes, columns, None, state, rows)
    return np.zeros(columns.num_rows) if found is None else found


def predictor_basis(
    fit: GLMM,
    grid: Grid,
    component: str,
    *,
    covariance: np.ndarray,
    freedom: Denominators,
    offset: float | None,
    moved: Mapping[str, float] | None = None,
) -> Basis:
    """The linear predictor of a component; covariance and freedom are of all coefficients."""
    columns = grid.columns(fit.data, moved)
    block = blocks(fit.data, columns)[component]
    beta = np.asarray(fit.estimate.params.beta)
    b, V = _embedded(block, beta, covariance)
    rows, null = null_of(fit, component, block.rows)
    return Basis(
        rows=rows,
        offset=offsets(fit, columns, component, offset),
        b=b,
        V=V,
        null=null,
        freedom=Embedded(freedom, block.kept, block.places, len(beta)),
        link=_taken_back(link_of(fit, component)),
    )


def latent_basis(
    fit: GLMM,
    grid: Grid,
    *,
    covariance: np.ndarray,
    freedom: Denominators,
    offset: float | None,
    with_thresholds: bool,
    moved: Mapping[str, float] | None = None,
) -> Basis:
    """An ordinal response's latent mean, x'beta less the mean of the thresholds.

    The latter is a coefficient of its own, whose variance is known where `with_thresholds`.
    """
    columns = grid.columns(fit.data, moved)
    whole = blocks(fit.data, columns)["cond"]
    constant = _is_intercept(fit.data)
    block = Block(whole.rows[:, ~constant], whole.kept[~constant], whole.places)
    beta = np.asarray(fit.estimate.params.beta)
    centre, slopes = _mean_threshold(fit)
    b, own = _embedded(block, beta, covariance)
    V = np.full((len(b) + 1, len(b) + 1), np.nan)
    V[1:, 1:] = own
    if with_thresholds:
        joint, p = fit.joint_covariance, len(beta)
        V[0, 0] = slopes @ joint[p:, p:] @ slopes
        beside = np.zeros(len(b))
        beside[block.kept] = -(joint[:p, p:] @ slopes)[block.places]
        V[0, 1:] = V[1:, 0] = beside
    rows, null = null_of(fit, "cond", whole.rows)
    kept = np.append(False, block.kept)
    return Basis(
        rows=rows,
        offset=offsets(fit, columns, "cond", offset),
        b=np.concatenate([[-centre], b]),
        V=V,
        null=null,
        freedom=Embedded(freedom, kept, block.places, len(beta)),
        link=None,
    )


def _mean_threshold(fit: GLMM) -> tuple[float, np.ndarray]:
    """The mean of the thresholds and its gradient in (theta, phi)."""
    values, jacobian = np.asarray(fit.natural.values), np.asarray(fit.natural.jacobian)
    own = thresholds_among(fit.family, len(values))
    return float(np.mean(values[own])), np.mean(jacobian[own], axis=0)


def _is_intercept(data: ModelData) -> np.ndarray:
    names = data.fixed_spec("cond").column_names
    return np.array([name == INTERCEPT for name in names], bool)


def _embedded(
    block: Block, beta: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and covariance of a component's columns, zero for those left out."""
    number = len(block.kept)
    b, V = np.zeros(number), np.zeros((number, number))
    b[block.kept] = beta[block.places]
    V[np.ix_(block.kept, block.kept)] = covariance[np.ix_(block.places, block.places)]
    return b, V


def null_of(fit: GLMM, component: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a component's columns, and the directions of coefficients that these columns do not
    determine in the data. Thresholds are an intercept, which then stands first."""
    data = fit.data
    kept = data.encoders.kept[data.fixed_slices[component]]
    ordinal = component == "cond" and fit.family.num_thresholds > 0
    constant = _is_intercept(data) if ordinal else np.zeros(len(kept), bool)
    number = int(np.count_nonzero(~kept & ~constant))
    wanted = _beside_thresholds(rows, constant) if ordinal else rows
    if number == 0:
        return wanted, np.zeros((wanted.shape[1], 0))
    X = blocks(data, data_columns(fit))[component].rows
    return wanted, null_space(_beside_thresholds(X, constant) if ordinal else X, number)


def _beside_thresholds(rows: np.ndarray, constant: np.ndarray) -> np.ndarray:
    return np.concatenate([np.ones((len(rows), 1)), rows[:, ~constant]], axis=1)


def link_of(fit: GLMM, component: str) -> AbstractLink:
    """Of the mean, of the probability of zeros, or the logarithm of the dispersion."""
    return {"cond": fit.link, "disp": Log(), "zi": Logit()}[component]


def _taken_back(link: AbstractLink) -> AbstractLink | None:
    return None if isinstance(link, Identity) else link
