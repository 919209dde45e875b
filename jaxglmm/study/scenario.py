"""A design with a truth: what responses are drawn from, and the model that fits them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any

import numpy as np

from jaxglmm.control import Control
from jaxglmm.errors import InputError
from jaxglmm.families import AbstractFamily
from jaxglmm.frontend.batch import Batch
from jaxglmm.frontend.draws import draws_of
from jaxglmm.frontend.formula import parse
from jaxglmm.frontend.frame import Frame
from jaxglmm.frontend.many.fit import Template, template_of
from jaxglmm.frontend.many.models import Models
from jaxglmm.frontend.many.source import Drawn, source
from jaxglmm.frontend.methods import check_method
from jaxglmm.frontend.shown import shown_values
from jaxglmm.frontend.simulate import DrawnModel, drawn_model
from jaxglmm.frontend.tokens import find
from jaxglmm.links import AbstractLink
from jaxglmm.params import Params

_LIKE = 0  # seed and number of the draw that decides what all fits of a scenario share
_OF_FIT = ("method", "quadrature_points", "control")
CHANGES = (
    *("formula", "family", "link", "weights", "offset", "zero_inflation", "dispersion"),
    *("thresholds", "contrasts", "covariance", "matrices", "missing", "subset", "priors"),
    *_OF_FIT,
)
"""Arguments in which an analysis may differ from the model that responses are drawn from."""

_NOT_OF_DRAWS = {"subset": None, "priors": None}


@dataclass(frozen=True, eq=False, repr=False)
class Scenario:
    """A model with parameters of your own, to draw responses from and to fit them by.

    y | b ~ family with g(E[y | b]) = X beta + Z b + offset and new random effects b ~ N(0, Sigma)
    in every draw.

    Args:
        formula: as in `glmm`. The response need not be in the data; the trials of `s / n ~` must
            (of `cbind(s, f) ~` both columns, whose sum they are).
        data: predictors and grouping factors, none of them missing anywhere.
        params: {name: value} for every parameter of the model, by the names and on the scales of
            the tables of a fit, or `jaxglmm.Params`: as in `simulate`.
        family, ..., matrices: as in `glmm`.
        method, quadrature_points, control: how the model is fitted, as in `glmm`.

    Raises:
        InputError: what `simulate` refuses, when the scenario is made.
    """

    formula: str
    data: Any
    params: Mapping[str, float] | Params
    family: str | AbstractFamily = "gaussian"
    _: KW_ONLY
    link: str | float | AbstractLink | None = None
    weights: Any = None
    trials: Any = None
    offset: Any = None
    zero_inflation: str | None = None
    dispersion: str | None = None
    thresholds: str = "flexible"
    contrasts: str | Mapping[str, str] = "treatment"
    covariance: Mapping[str, Any] | None = None
    matrices: Mapping[str, Any] | None = None
    method: str = "laplace"
    quadrature_points: int | None = None
    control: Control = Control()

    def __post_init__(self) -> None:
        self.drawn  # noqa: B018  refused when it is made, not when it is used

    @functools.cached_property
    def arguments(self) -> dict[str, Any]:
        """The arguments of a fit by their names, without formula and data."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: own[name] for name in own if name not in ("formula", "data", "params")}

    @functools.cached_property
    def drawn(self) -> DrawnModel:
        """The problem that responses are drawn from, its names, and the parameters."""
        of_model = {k: v for k, v in self.arguments.items() if k not in _OF_FIT}
        return drawn_model(
            self.formula, self.data, self.params, missing="raise", subset=None, **of_model
        )

    @functools.cached_property
    def truth(self) -> dict[str, float]:
        """The value of every parameter by its name in the tables, in their order."""
        drawn = self.drawn
        return shown_values(drawn.params, drawn.problem, drawn.data)

    def simulate(self, num_draws: int, seed: int, first: int = 0) -> np.ndarray:
        """Responses, as `jaxglmm.simulate` draws them.

        Args:
            num_draws: number of data sets.
            seed: an integer, zero or more. Draw r of a seed is the same however many are asked for.
            first: number of the first draw.

        Returns:
            Shape (num_draws, rows of the data), in the units of the formula's response.
        """
        return draws_of(*self.drawn[:2], self.drawn.params, None, num_draws, seed, first)

    def fit(
        self,
        responses: Any,
        *,
        chunk: int | None = None,
        modes: bool = False,
        progress: bool | None = None,
        **changes: Any,
    ) -> Batch:
        """Fit responses of this design by the model that they are drawn from, or another one.

        Args:
            responses: shape (num_models, rows of the data), in the units that `simulate` has.
            chunk, modes, progress: as in `fit_many`.
            **changes: arguments of `glmm` in which the analysis differs: `formula` (its right-hand
                side, "~ x + (1 | g)"), `family`, `method`, `dispersion`, .... With another family
                the link is that family's default unless it is given too.

        Returns:
            A `Batch`. What a model's estimates are depends on its own response alone.
        """
        template = self.analysis(**changes)
        return template.fit(
            self.models(template, responses), chunk=chunk, modes=modes, progress=progress
        )

    def analysis(self, **changes: Any) -> Template:
        """The model of `fit` with these changes, for responses to come."""
        arguments = {"missing": "raise", **_NOT_OF_DRAWS, **self.arguments, **_checked(changes)}
        if "family" in changes and "link" not in changes:
            arguments["link"] = None
        check_method(arguments["method"], arguments["quadrature_points"])
        formula = self._formula(arguments.pop("formula", None))
        responses = self._drawn_source(self._like)
        return template_of(formula, Frame(self.data), responses, **arguments)

    def models(self, template: Template, responses: Any) -> Models:
        """Responses of this design as the template of an analysis fits them."""
        return template.of(self._drawn_source(responses))

    def _drawn_source(self, responses: Any) -> Drawn:
        drawn = self.drawn
        given = source("responses", responses, drawn.problem.num_obs)
        return Drawn(given, drawn.data.categories, self._like)

    @functools.cached_property
    def _like(self) -> np.ndarray:
        return self.simulate(1, _LIKE)

    def _formula(self, right: Any) -> str:
        """The scenario's response with another right-hand side."""
        if right is None:
            return self.formula
        if not isinstance(right, str):
            raise InputError(f"formula: expected text such as '~ x + (1 | g)', got {right!r}.")
        if right.lstrip().startswith("~"):
            tilde = find(self.formula, 0, len(self.formula), "~")[0]
            return f"{self.formula[:tilde]}{right.lstrip()}"
        here, there = parse(self.formula).response, parse(right).response
        if here != there:
            raise InputError(
                f"formula: the response of {right!r} is not that of the scenario, "
                f"{self.formula!r}. Give the right-hand side alone: '~ x + (1 | g)'."
            )
        return right

    def __repr__(self) -> str:
        law = self.drawn.problem.family
        return f"<Scenario {self.formula!r}, {law.name}({law.link.name}), {self.method}>"


def _checked(changes: dict[str, Any]) -> dict[str, Any]:
    unknown = [name for name in changes if name not in CHANGES]
    if unknown:
        raise InputError(
            f"'{unknown[0]}' is nothing in which an analysis may differ from the scenario; "
            f"these may: {', '.join(CHANGES)}."
        )
    return changes
