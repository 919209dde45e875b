"""Which fits may be compared, and which be tested against each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxglmm import status as codes
from jaxglmm.design import PSEUDO
from jaxglmm.errors import InputError
from jaxglmm.families.base import INTERIOR
from jaxglmm.inference import nesting
from jaxglmm.inference.nesting import Within

if TYPE_CHECKING:
    from jaxglmm.frontend.result import GLMM

_FORMULAS = {"cond": "the main formula", "disp": "dispersion=", "zi": "zero_inflation="}
_INSTEAD = "test=None compares them by AIC and BIC."


class Named(NamedTuple):
    """A fit and its place among the arguments."""

    place: int
    fit: GLMM

    def __str__(self) -> str:
        return f"model {self.place} ({self.fit.formula!r})"


def check_fits(fits: Sequence[Any]) -> None:
    """Two fits of `glmm` at least."""
    from jaxglmm.frontend.result import GLMM

    for place, fit in enumerate(fits):
        if not isinstance(fit, GLMM):
            raise InputError(
                f"compare: argument {place} is a {type(fit).__name__}; give fits of jaxglmm.glmm."
            )
    if len(fits) < 2:
        raise InputError(f"compare: expected two fits or more, got {len(fits)}.")


def check_same_data(models: Sequence[Named]) -> None:
    """Log-likelihoods are of the same responses, by the same method."""
    first = models[0]
    for other in models[1:]:
        pair = f"{first} and {other}"
        if first.fit.problem.num_obs != other.fit.problem.num_obs:
            raise InputError(
                f"compare: {pair} were fitted to {first.fit.problem.num_obs} and "
                f"{other.fit.problem.num_obs} rows. Rows with a missing predictor are dropped: fit "
                "both to the rows that are complete for either (subset=)."
            )
        for name, what in (("y", "responses"), ("trials", "trials"), ("weights", "weights")):
            a, b = (np.asarray(getattr(of.fit.problem, name)) for of in (first, other))
            if not np.all(a == b):
                raise InputError(
                    f"compare: {pair} have other {what}. Compare fits to the same data: the same "
                    "response (as it is: log(y) is another one), rows in one order, and weights."
                )
        _check_measure(first, other)
        _check_method(first, other)


def _check_measure(first: Named, other: Named) -> None:
    """What the weights do, and what the numbers of categories stand for."""
    a, b = first.fit, other.fit
    if a.data.categories != b.data.categories:
        raise InputError(f"compare: the responses of {first} and {other} have other categories.")
    plain = np.all(np.asarray(a.problem.weights) == 1)
    if a.problem.weights_multiply != b.problem.weights_multiply and not plain:
        raise InputError(
            f"compare: {first} and {other} differ in Control(weights=...), by which weights divide "
            "the dispersion or multiply the log-density. Fit both with the same one."
        )


def _check_method(first: Named, other: Named) -> None:
    a, b = first.fit, other.fit
    if a.method != b.method:
        raise InputError(
            f"compare: {first} was fitted by method='{a.method}', {other} by '{b.method}'. Fit "
            "both by the same method."
        )
    if a.method in PSEUDO:
        raise InputError(
            f"compare: {first} and {other} were fitted by method='{a.method}': their pseudo-"
            "likelihoods are of working responses that each has for itself. Fit both by "
            "method='laplace' or 'agq'."
        )
    if a.problem.quadrature_points != b.problem.quadrature_points:
        raise InputError(
            f"compare: {first} was fitted with quadrature_points={a.problem.quadrature_points}, "
            f"{other} with {b.problem.quadrature_points}. Fit both with the same number."
        )
    if a.method == "reml" and not nesting.same_inside(a.problem, b.problem):
        raise InputError(
            f"compare: {first} and {other} were fitted by method='reml' with different fixed "
            "effects (or another coding of them), so that their restricted likelihoods are of "
            "different data. Fit both with method='laplace' (maximum likelihood)."
        )


def check_maxima(models: Sequence[Named]) -> None:
    """A test needs maxima of the likelihood."""
    for model in models:
        if model.fit.problem.prior is not None:
            raise InputError(
                f"compare: {model} was fitted with priors=, so its log-likelihood is not at its "
                f"maximum. Fit it without. {_INSTEAD}"
            )
        if int(model.fit.estimate.status) not in AT_SUPREMUM:
            raise InputError(
                f"compare: {model} ended with the status '{model.fit.status}'. "
                f"{model.fit.status_message} {_INSTEAD}"
            )


AT_SUPREMUM = (*codes.ENDED_WELL, codes.SEPARATED)
"""Statuses with the highest log-likelihood there is: where some coefficients run to infinity it is
reached to within the tolerance."""


def check_nested(small: Named, large: Named, told: bool) -> Within:
    """How the smaller model lies in the larger; an InputError where it does not.

    Args:
        small, large: in this order by their numbers of parameters.
        told: the caller says that they are nested.
    """
    pair = f"{small} in {large}"
    if small.fit.num_params == large.fit.num_params:
        raise InputError(
            f"compare: {small} and {large} both have {small.fit.num_params} parameters, so neither "
            f"is a special case of the other. {_INSTEAD}"
        )
    problems = small.fit.problem, large.fit.problem
    law = nesting.law_within(*problems)
    if not law.nested and not told:
        raise InputError(
            f"compare: {pair}: the law {_law(small)} is not known as a special case of "
            f"{_law(large)}. {_INSTEAD} If it is one, say nested=True."
        )
    wrong = nesting.fixed_within(*problems) if law.nested else ()
    if wrong:
        raise InputError(
            f"compare: {pair}: the smaller model is not nested in the larger one. In "
            f"{' and '.join(_FORMULAS[of] for of in wrong)} the fixed effects or offsets of the "
            f"smaller are no linear combinations of the fixed effects of the larger. {_INSTEAD}"
        )
    random = nesting.random_within(*problems)
    if not random.nested and not told:
        raise InputError(
            f"compare: {pair}: it cannot be told from their structure that the random effects of "
            "the smaller model are a special case of those of the larger one (each term in one "
            f"of the same grouping factor). {_INSTEAD} If they are, say nested=True."
        )
    found = nesting.joined(law, random)
    return found if _inside(small.fit) else found._replace(at_bound=None)


def _inside(fit: GLMM) -> bool:
    """Whether no parameter of a fit is at a bound."""
    return not fit.is_singular and int(fit.estimate.limit) == INTERIOR


def _law(model: Named) -> str:
    law = model.fit.family
    parts = "".join(f", {_FORMULAS[name]}" for name in law.components if name != "cond")
    return f"{law.name}({law.link.name}{parts})"
