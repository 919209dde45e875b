"""The data of a model as arrays and index maps: what the core sees of a formula and a table."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from jaxglmm.arrays import AnyArray
from jaxglmm.covariance import AbstractCovariance
from jaxglmm.families import AbstractFamily
from jaxglmm.layout import Layout, make_layout
from jaxglmm.pattern import PROBES, AbstractPattern, Independent, carry_out, survey
from jaxglmm.priors import Prior
from jaxglmm.restriction import Restriction

METHODS = ("laplace", "reml", "approximate_laplace", "agq", "mpl", "rempl")
PSEUDO = ("mpl", "rempl")
"""Those that fit linear mixed models to working responses."""
_WITH_FIXED_INSIDE = ("reml", "approximate_laplace")
MOST_LATENT = 3
"""Spherical random effects of a level up to which quadrature is a method: points grow with their
number's power."""


def inner_columns(
    family: AbstractFamily, predictors: tuple[int, ...], method: str
) -> tuple[int, ...]:
    """Columns of X whose coefficients are inner variables beside u, no parameters.

    Those of the mean. Coefficients of a dispersion are variance parameters: their mode beside u is
    that of residuals which the random effects have made small, and REML is about the mean alone
    (Harville 1977, JASA 72:320-338). glmmTMB integrates out the same ones for zero inflation too.
    """
    if method not in _WITH_FIXED_INSIDE:
        return ()
    return tuple(j for j, a in enumerate(predictors) if family.components[a] == "cond")


@dataclasses.dataclass(frozen=True)
class Term:
    """One random-effects term: its covariance structure and the linear predictor it feeds.

    `predictor` is one number, or one for each column.
    """

    covariance: AbstractCovariance
    predictor: int | tuple[int, ...] = 0

    @property
    def predictors(self) -> tuple[int, ...]:
        """Linear predictor of each column."""
        if isinstance(self.predictor, tuple):
            return self.predictor
        return (self.predictor,) * self.covariance.dim


class HasTerms:
    """What the terms of a grouping factor add up to."""

    terms: tuple[Term, ...]

    @property
    def num_columns(self) -> int:
        """Number of columns of Z: of random effects a level has."""
        return sum(term.covariance.dim for term in self.terms)

    @property
    def num_latent(self) -> int:
        """Number of spherical random effects a level has: columns of Lambda."""
        return sum(term.covariance.rank for term in self.terms)

    @property
    def num_theta(self) -> int:
        """Number of covariance parameters of this factor."""
        return sum(term.covariance.num_theta for term in self.terms)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Grouping(HasTerms):
    """The random effects of one grouping factor.

    Attributes:
        codes: level of each row, int32; shape (obs,).
        Z: columns of all terms of this factor side by side; shape (obs, column), or (1, column)
            where all rows share them (an intercept).
        num_levels: number of levels, static.
        terms: the terms in the order of the columns, static.
        constants: what the covariance structure of each term is given (see
            `jaxglmm.covariance`); empty where no term has any.
    """

    codes: AnyArray
    Z: AnyArray
    num_levels: int = dataclasses.field(metadata={"static": True})
    terms: tuple[Term, ...] = dataclasses.field(metadata={"static": True})
    constants: tuple[tuple[AnyArray, ...], ...] = ()


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Problem:
    """A model and its data: eta = X beta + Z Lambda(theta) u + offset, y | u ~ family(eta, phi).

    A pytree whose arrays may all be tracers; `y`, `weights` and `offset` have one entry a row, in
    the order of the data. `weights`, `trials` and `offset` may also be given as (1,), a number that
    all rows share: nothing is gathered then.

    Attributes:
        y: responses (number of successes for laws with trials); shape (obs,).
        X: fixed-effects design of all linear predictors side by side; shape (obs, fixed).
        weights: prior weights; rows of weight zero leave the fit; shape (obs,) or (1,).
        trials: number of trials, ones where the law has none; shape (obs,) or (1,).
        offset: added to the first linear predictor; shape (obs,) or (1,).
        groupings: the grouping factors.
        layout: how rows are arranged in memory.
        pattern: which levels of the grouping factors meet; it chooses the factorisation.
        family: the law with its link, static.
        predictors: linear predictor that each column of X feeds, static.
        weights_multiply: prior weights multiply the log-density even where the law would divide
            its dispersion by them, static.
        method: one of `METHODS`, static. "laplace": the marginal likelihood, u integrated out by
            Laplace's approximation. "reml": beta is integrated out with u, under a flat prior.
            "approximate_laplace": beta is at its joint mode with u for given theta and phi, and u
            alone integrated out. Of laws with a dispersion or zeros modelled this is the beta of
            the mean alone; the rest are parameters. "agq": the marginal likelihood by adaptive
            Gauss-Hermite quadrature, for one grouping factor of at most `MOST_LATENT` spherical
            random effects a level. "mpl", "rempl": pseudo-likelihood, maximum and restricted.
        quadrature_points: of each of them, static; with one "agq" is "laplace".
        offsets: added to the linear predictors behind the first, shape (obs,) each; empty for none.
        restriction: parameters that `maximise` holds at a value or takes for equal; None for none.
        prior: what `maximise` adds to the log-likelihood; None for nothing.
    """

    y: AnyArray
    X: AnyArray
    weights: AnyArray
    trials: AnyArray
    offset: AnyArray
    groupings: tuple[Grouping, ...]
    layout: Layout
    family: AbstractFamily = dataclasses.field(metadata={"static": True})
    predictors: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    pattern: AbstractPattern = Independent()
    weights_multiply: bool = dataclasses.field(default=False, metadata={"static": True})
    method: str = dataclasses.field(default="laplace", metadata={"static": True})
    quadrature_points: int = dataclasses.field(default=1, metadata={"static": True})
    offsets: tuple[AnyArray, ...] = ()
    restriction: Restriction | None = None
    prior: Prior | None = None

    @property
    def num_obs(self) -> int:
        """Number of rows."""
        return self.y.shape[0]

    @property
    def inside(self) -> tuple[int, ...]:
        """Columns of X whose coefficients are inner variables (`inner_columns`)."""
        return inner_columns(self.family, self.predictors, self.method)

    @property
    def integrated(self) -> tuple[int, ...]:
        """Those that are integrated out under a flat prior."""
        restricted = self.method in ("reml", "rempl")
        return inner_columns(self.family, self.predictors, "reml") if restricted else ()

    def replace(self, **changes: Any) -> Problem:
        """A copy with some fields changed: `problem.replace(y=y)`."""
        return dataclasses.replace(self, **changes)


def make_problem(
    y: Any,
    X: Any,
    family: AbstractFamily,
    groupings: tuple[Grouping, ...] = (),
    *,
    weights: Any = None,
    trials: Any = None,
    offset: Any = None,
    predictors: tuple[int, ...] | None = None,
    weights_multiply: bool = False,
    method: str = "laplace",
    quadrature_points: int = 1,
    factorisation: str = "auto",
    probes: int = PROBES,
    pattern: AbstractPattern | None = None,
    offsets: tuple[Any, ...] = (),
) -> Problem:
    """A problem from arrays; codes must be concrete because the layout is planned from them.

    Missing weights and trials are ones, a missing offset is zero, and all columns of X feed the
    first linear predictor unless `predictors` says otherwise. `method` is one of `METHODS`,
    `factorisation` one of `control.FACTORISATIONS`, `probes` the number of random vectors of the
    iterative one; or `pattern` is given.
    """
    n, p = X.shape
    codes = [np.asarray(g.codes) for g in groupings]
    if pattern is None:
        num_levels = [g.num_levels for g in groupings]
        found = survey(codes, num_levels, [g.num_columns for g in groupings], factorisation)
        pattern = carry_out(found, codes, num_levels, [g.num_latent for g in groupings], probes)

    def every_row(value: float) -> np.ndarray:
        return np.full(n, value, np.result_type(y))

    return Problem(
        y=y,
        X=X,
        weights=every_row(1.0) if weights is None else weights,
        trials=every_row(1.0) if trials is None else trials,
        offset=every_row(0.0) if offset is None else offset,
        groupings=tuple(groupings),
        layout=make_layout(n, codes[0], groupings[0].num_levels) if groupings else make_layout(n),
        family=family,
        predictors=(0,) * p if predictors is None else predictors,
        pattern=pattern,
        weights_multiply=weights_multiply,
        method=method,
        quadrature_points=quadrature_points,
        offsets=tuple(offsets),
    )
