"""A question about means, checked, and what of a fit it is about."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import check_choice
from jaxglmm.frontend.freedom import covariance_of, freedom_of
from jaxglmm.frontend.means.basis import Basis, latent_basis, link_of, predictor_basis
from jaxglmm.frontend.means.grid import Grid, Variable
from jaxglmm.frontend.means.nonlinear import Value, value_basis
from jaxglmm.frontend.ordinal import threshold_names
from jaxglmm.inference.freedom import Freedom, Known
from jaxglmm.inference.quantiles import ALTERNATIVES

if TYPE_CHECKING:
    from jaxglmm.frontend.result import GLMM

MODES = ("latent", "prob", "cum_prob", "exc_prob", "mean_class")


@dataclass(frozen=True, eq=False)
class Question:
    """What `emmeans` and `emtrends` are asked, by their arguments."""

    specs: Any
    by: Any
    at: Mapping[str, Any] | None
    scale: str
    level: float
    adjust: str
    weights: Any
    offset: float | None
    df: str | float
    vcov: Any
    component: str
    mode: str
    nesting: Any
    alternative: str


class Asked:
    """A fit as one question sees it: its components, covariance and degrees of freedom."""

    def __init__(self, fit: GLMM, q: Question) -> None:
        self.fit = fit
        self.is_ordinal = fit.family.num_thresholds > 0
        check_choice("scale", q.scale, ("link", "response"))
        check_choice("mode", q.mode, MODES)
        check_choice("alternative", q.alternative, ALTERNATIVES)
        self.mode = q.mode if self.is_ordinal and q.component == "cond" else "latent"
        if q.mode != "latent" and not self.is_ordinal:
            raise InputError(
                f"mode='{q.mode}' is for ordinal responses (family 'cumulative'). Leave it out."
            )
        self.component = q.component
        check_choice("component", q.component, self._components())
        self.is_value = self.mode != "latent" or q.component == "response"
        self.components = fit.data.components if self.is_value else (q.component,)
        self.offset = _checked_offset(q.offset)
        self.with_law = q.vcov in (None, "joint")
        self.freedom = _freedom(fit, q.df, q.vcov)

    def _components(self) -> tuple[str, ...]:
        own = self.fit.data.components
        return own if self.is_ordinal else (*own, "response")

    def basis(self, grid: Grid, moved: dict[str, float] | None = None) -> Basis:
        """Of the linear predictor."""
        settings: dict[str, Any] = {
            "covariance": self.freedom.covariance,
            "freedom": self.freedom,
            "offset": self.offset,
            "moved": moved,
        }
        if self.is_ordinal and self.component == "cond":
            return latent_basis(self.fit, grid, with_thresholds=self.with_law, **settings)
        return predictor_basis(self.fit, grid, self.component, **settings)

    def values(self, grid: Grid, value: Value, **steps: Any) -> Basis:
        """Of a function of the linear predictors."""
        if not isinstance(self.freedom, Known):
            raise InputError(
                "df: means by the delta method have no degrees of freedom of this kind. Use "
                "'none', 'residual' or a number."
            )
        return value_basis(
            self.fit,
            grid,
            value,
            freedom=self.freedom,
            offset=self.offset,
            with_phi=self.with_law,
            **steps,
        )

    def value(self) -> tuple[Value, Variable | None]:
        """The function, and the variable that its last axis is."""
        fit = self.fit
        one = fit.family.num_predictors == 1

        def mean(eta: Any, phi: Any) -> Any:
            return fit.family.response_mean(eta[0] if one else eta, phi)

        if self.mode == "latent":
            if self.component == "response":
                return mean, None
            a = fit.data.components.index(self.component)
            link = link_of(fit, self.component)
            return (lambda eta, phi: link.mean(eta[a])), None
        categories = fit.data.categories
        if self.mode == "prob":
            return mean, _axis(fit.data.response_name, list(categories))
        if self.mode == "mean_class":
            scores = _scores(categories)
            return (lambda eta, phi: jnp.sum(mean(eta, phi) * scores, axis=-1)), None
        cuts = _axis("cut", threshold_names(categories))
        above = self.mode == "exc_prob"

        def cumulative(eta: Any, phi: Any) -> Any:
            summed = jnp.cumsum(mean(eta, phi), axis=-1)[..., :-1]
            return 1.0 - summed if above else summed

        return cumulative, cuts


def _freedom(fit: GLMM, df: Any, vcov: Any) -> Freedom:
    """Of a fit, or a number of them."""
    if isinstance(df, numbers.Real) and not isinstance(df, bool):
        if not float(df) > 0:
            raise InputError(f"df: {df} is not positive; use 'none' for infinitely many.")
        return Known(covariance_of(fit, "joint" if vcov is None else vcov), float(df))
    return freedom_of(fit, df, vcov)


def _axis(name: str, values: list[Any]) -> Variable:
    """A variable that is no column: an axis of the values."""
    return Variable(name, values, np.zeros(0), True, False)


def _scores(categories: tuple[Any, ...]) -> np.ndarray:
    """The categories where they are numbers, else 1, 2, ..."""
    try:
        return np.array([float(value) for value in categories])
    except (TypeError, ValueError):
        return np.arange(1.0, len(categories) + 1.0)


def _checked_offset(offset: Any) -> float | None:
    if offset is None:
        return None
    if not isinstance(offset, numbers.Real) or not np.isfinite(float(offset)):
        raise InputError(f"offset: expected a number, the offset of every mean, got {offset!r}.")
    return float(offset)
