"""The rows to predict for: those that were fitted, or new data, as the core's design."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.arguments import numbers
from jaxglmm.frontend.checks import check_seed
from jaxglmm.frontend.columns import factorise
from jaxglmm.frontend.frame import Frame
from jaxglmm.frontend.model import NewData
from jaxglmm.frontend.newdata import group_values, new_data
from jaxglmm.predict.linear import Design, linear_predictors
from jaxglmm.predictor import factors_of_groups
from jaxglmm.simulation import make_source

if TYPE_CHECKING:
    from jaxglmm.frontend.result import GLMM


class PredictedRows(NamedTuple):
    """Complete rows to predict for.

    Attributes:
        design: as the core has them.
        prior_columns: by factor the columns of random effects of which nothing is known: those of
            levels without estimate and of positions that were not fitted.
        effects: random effects by factor, those that were drawn for new levels behind the others.
        codes: the levels of the rows in `effects`.
        weight: the law's own constant, where it was asked for.
        places: of these rows among all; shape (obs,).
        num_rows: number of all rows.
    """

    design: Design
    prior_columns: tuple[np.ndarray, ...]
    effects: tuple[np.ndarray, ...]
    codes: tuple[np.ndarray, ...]
    weight: np.ndarray | None
    places: np.ndarray
    num_rows: int

    def predictors(self, beta: np.ndarray, *, conditional: bool) -> list[np.ndarray]:
        """All linear predictors, at the random effects or at zero; shape (obs,) each."""
        if not conditional:
            return linear_predictors(self.design.without_groups(), beta, ())
        return linear_predictors(self.design._replace(codes=self.codes), beta, self.effects)

    def scatter(self, values: np.ndarray) -> np.ndarray:
        """Values of the rows in their places among all, NaN elsewhere; (obs, ...)."""
        if len(self.places) == self.num_rows:
            return values
        spread = np.full((self.num_rows, *values.shape[1:]), np.nan)
        spread[self.places] = values
        return spread


def fitted_rows(fit: GLMM) -> PredictedRows:
    """The rows used, in their order."""
    problem = fit.problem
    n = problem.num_obs
    X = np.asarray(problem.X)
    Z = tuple(np.broadcast_to(g.Z, (n, g.num_columns)) for g in problem.groupings)
    codes = tuple(np.asarray(g.codes) for g in problem.groupings)
    return PredictedRows(
        design=_design(fit, X, (problem.offset, *problem.offsets), Z, codes),
        prior_columns=tuple(map(np.zeros_like, Z)),
        effects=fit.b,
        codes=codes,
        weight=np.asarray(make_source(problem, xp=np).weight),
        places=np.arange(n),
        num_rows=n,
    )


def new_rows(
    fit: GLMM, frame: Frame, kind: str, *, offset: Any, new_levels: str, seed: Any
) -> PredictedRows:
    """Those of a table; columns of the random part are read as far as the kind of mean asks.

    An InputError names unseen levels where new_levels="raise".
    """
    groups = kind == "conditional"
    new = new_data(fit.data, frame, offset=offset, groups=kind != "population", levels=groups)
    if groups and new_levels == "raise":
        _refuse_new(fit, new)
    complete = np.flatnonzero(~new.missing)
    codes = tuple(c[complete] for c in new.codes)
    Z = tuple(z[complete] for z in new.Z)
    offsets = tuple(None if own is None else own[complete] for own in (new.offset, *new.offsets))
    effects, levels = fit.b[: len(codes)], codes
    if groups and new_levels == "sample":
        effects, levels = _drawn(fit, frame, complete, codes, seed)
    known = [level >= 0 for level in levels]
    return PredictedRows(
        design=_design(fit, new.X[complete], offsets, Z, codes),
        prior_columns=_prior_columns(fit, new, Z, known, complete),
        effects=effects,
        codes=levels,
        weight=None,
        places=complete,
        num_rows=frame.num_rows,
    )


def _design(
    fit: GLMM,
    X: np.ndarray,
    offsets: tuple[Any, ...],
    Z: tuple[np.ndarray, ...],
    codes: tuple[np.ndarray, ...],
) -> Design:
    groupings = fit.problem.groupings[: len(codes)]
    return Design(
        X=X,
        feeds=np.asarray(fit.problem.predictors, int),
        offsets=offsets + (None,) * (fit.family.num_predictors - len(offsets)),
        Z=Z,
        columns=tuple(np.array([a for t in g.terms for a in t.predictors]) for g in groupings),
        codes=codes,
    )


def _prior_columns(
    fit: GLMM,
    new: NewData,
    Z: tuple[np.ndarray, ...],
    known: Sequence[np.ndarray],
    complete: np.ndarray,
) -> tuple[np.ndarray, ...]:
    """Those of `PredictedRows`. A process has one variance wherever it is: at a position that was
    not fitted its first column stands for it."""
    found = []
    for data, z, of_level in zip(fit.data.groupings, Z, known, strict=False):
        own = np.where(of_level[:, None], 0.0, z)
        first = 0
        for term in data.terms:
            if term.text in new.unseen:
                own[:, first] += new.unseen[term.text][complete]
            first += len(term.names)
        found.append(own)
    return tuple(found)


def whole_prior(rows: PredictedRows) -> tuple[np.ndarray, ...]:
    """The columns of all random effects, as if no level had an estimate."""
    pairs = zip(rows.design.Z, rows.codes, rows.prior_columns, strict=True)
    return tuple(np.where((c >= 0)[:, None], z, 0.0) + prior for z, c, prior in pairs)


def _drawn(
    fit: GLMM, frame: Frame, complete: np.ndarray, codes: tuple[np.ndarray, ...], seed: Any
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Effects with those of new levels behind the others, b = Lambda u with u ~ N(0, I), and the
    levels of the rows among them. Rows of one level share its effects."""
    if seed is None:
        raise InputError(
            "seed: new_levels='sample' draws the effects of new levels; give seed=, a whole number."
        )
    check_seed(seed)
    effects, levels = [], []
    state = fit.data.encoders.state["groups"]
    with jax.enable_x64(True):
        key = jax.random.key(int(seed), impl="threefry2x32")
        factors = factors_of_groups(make_source(fit.problem, xp=np), fit.estimate.params.theta)
        for k, (coder, L, b) in enumerate(
            zip(fit.data.encoders.coders, factors, fit.b, strict=True)
        ):
            own = np.flatnonzero(codes[k] < 0)
            values = group_values(coder, frame, state, complete[own])
            names = factorise(np.array(values, object))
            shape = (L.shape[1], len(names.categories))
            u = jax.random.normal(jax.random.fold_in(key, k), shape[::-1], np.float64).T
            effects.append(np.concatenate([b, np.asarray(L @ u)], axis=1))
            places = np.array(codes[k])
            places[own] = b.shape[1] + np.asarray(names.codes)
            levels.append(places)
    return tuple(effects), tuple(levels)


def weight_of(fit: GLMM, frame: Frame, given: Any) -> np.ndarray:
    """The law's own constant of every row of a table: trials, or prior weights, else ones.

    `given` is a column's name, an array or a number. Without it the column that was the trials or
    the weights of the fit is read.
    """
    role = fit.family.weight_role
    trials = role == "trials" and fit.data.trials is not None
    divides = role == "dispersion" and not fit.problem.weights_multiply
    if given is None and (trials or divides):
        given = _column_of_weights(fit, trials)
        if given is not None and given not in frame:
            raise InputError(
                f"interval='prediction': new data have no column '{given}', which held the "
                f"{'trials' if trials else 'weights'}. Give it, or weights=: a number, an array or "
                "a column's name."
            )
        if given is None and trials:
            raise InputError(
                "interval='prediction': the numbers of trials of new data are needed. Give "
                "weights=: a number, an array or a column's name."
            )
    found = numbers("weights", given, frame, scalar=True)
    if found is None:
        return np.ones(frame.num_rows)
    if not (np.nan_to_num(found, nan=1.0) > 0).all():
        raise InputError("weights: must be greater than zero to predict a response.")
    return found


def _column_of_weights(fit: GLMM, trials: bool) -> str | None:
    """The column that held the trials (or else the weights) of the fit, by its name. Weights are
    the trials of a proportion that has no others."""
    response, given = fit.data.spec.response, fit.arguments
    kind = "plain" if response is None else response.kind
    if trials and response is not None and kind == "ratio":
        return response.expressions[1].strip("`")
    if trials and kind == "cbind":
        return None
    name = "trials" if trials and given.get("trials") is not None else "weights"
    return given[name] if isinstance(given.get(name), str) else None


def _refuse_new(fit: GLMM, new: NewData) -> None:
    """Refuse levels, and positions of a process, that were not fitted."""
    for data, codes in zip(fit.data.groupings, new.codes, strict=True):
        _refuse_rows(codes < 0, f"have a level of '{data.name}' that was")
    for text, off in new.unseen.items():
        _refuse_rows(off, f"are at positions of {text} that were")


def _refuse_rows(which: np.ndarray, what: str) -> None:
    rows = np.flatnonzero(which)
    if len(rows):
        raise InputError(
            f"newdata: {len(rows)} rows {what} not fitted "
            f"(first rows: {', '.join(map(str, rows[:5]))}); drop them, or use "
            "new_levels='population' or kind='population'."
        )
