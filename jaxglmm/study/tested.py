"""Tests of fixed effects in every model of a batch."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxglmm import status
from jaxglmm.errors import InputError
from jaxglmm.frontend.batch import Batch
from jaxglmm.frontend.checks import check_choice
from jaxglmm.frontend.model import INTERCEPT, ModelData, full_name
from jaxglmm.frontend.parameters import Names, plain
from jaxglmm.inference.quantiles import f_tail
from jaxglmm.inference.wald import joint_test, wald
from jaxglmm.study.plan import Plan

METHODS = ("wald", "lrt")
_WORSE = 1e-4  # in twice the log-likelihood: what two ends of one maximum may differ by


@dataclass(frozen=True)
class Test:
    """That some fixed effects are zero.

    names: theirs, those of other components with a prefix (`zi_x`); places: their columns of X;
    method: "wald" or "lrt".
    """

    names: tuple[str, ...]
    places: tuple[int, ...]
    method: str

    def p_values(
        self, plan: Plan, responses: np.ndarray, progress: bool | None
    ) -> tuple[np.ndarray, Batch]:
        """Of every response, NaN where there is no test; and the batch of fits.

        Wald's needs a maximum. A ratio of likelihoods is there under separation too, which has a
        limit; not where the larger model ended below the smaller one, at a lower maximum.
        """
        batch = plan.fit(responses, progress)
        if self.method == "wald":
            return np.where(batch.converged, self._wald(batch), np.nan), batch
        control = plan.scenario.control
        held = {**(control.fixed or {}), **dict.fromkeys(self.names, 0.0)}
        null = plan.fit(responses, progress, control=dataclasses.replace(control, fixed=held))
        with np.errstate(invalid="ignore"):
            statistic = 2.0 * (batch.log_likelihood - null.log_likelihood)
        p = f_tail(np.maximum(statistic, 0.0), len(self.names))
        known = _has_limit(batch) & _has_limit(null) & (statistic > -_WORSE)
        return np.where(known, p, np.nan), batch

    def _wald(self, batch: Batch) -> np.ndarray:
        own = np.array(self.places)
        estimate = batch.coefficients[:, own]
        covariance = batch.joint_covariance[:, own[:, None], own]
        if len(own) > 1:
            return joint_test(estimate, covariance)
        return wald(estimate[:, 0], covariance[:, 0, 0], 0.95).p_value


def _has_limit(batch: Batch) -> np.ndarray:
    """Which log-likelihoods are those of a maximum, or of separation."""
    separated = batch.status == status.NAMES[status.SEPARATED]
    return (batch.converged | separated) & np.isfinite(batch.log_likelihood)


def test_of(plan: Plan, test: Any, method: str) -> Test:
    """The test of `test`, a name or several; None for the first effect that is no intercept."""
    check_choice("method", method, METHODS)
    data = plan.data
    names = data.full_names
    places = sorted(set(_places(data, names, test)))
    found = Test(tuple(names[k] for k in places), tuple(places), method)
    _check_free(plan, found)
    if method == "lrt":
        _check_likelihood(plan)
    return found


def _places(data: ModelData, names: Sequence[str], test: Any) -> list[int]:
    if test is None:
        pairs = zip(data.fixed_components, data.fixed_names, strict=True)
        slopes = [k for k, own in enumerate(pairs) if own[0] == "cond" and own[1] != INTERCEPT]
        if not slopes:
            raise InputError(
                "test: the formula has no fixed effect but the intercept. Name what is to be "
                f"tested, one of {_listed(names)}."
            )
        return slopes[:1]
    wanted = [test] if isinstance(test, str) else test
    if not isinstance(wanted, (list, tuple)) or not wanted:
        raise InputError(f"test: expected the name of a fixed effect, or several, got {test!r}.")
    terms = _terms(data)
    known = {**terms, **{plain(name): [k] for k, name in enumerate(names)}}
    return [place for name in wanted for place in _found(known, name, names, data)]


def _found(
    known: dict[str, list[int]], name: Any, names: Sequence[str], data: ModelData
) -> list[int]:
    key = plain(name) if isinstance(name, str) else ""
    if known.get(key):
        return known[key]
    if key in known or key in map(plain, data.dropped_columns):
        raise InputError(
            f"test: '{name}' was dropped from the fixed effects: it is zero, or linearly dependent "
            "on the other columns. Test another one."
        )
    near = difflib.get_close_matches(str(name), [*names, *known], n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise InputError(
        f"test: there is no fixed effect or term {name!r}.{hint} Fixed effects: {_listed(names)}."
    )


def _terms(data: ModelData) -> dict[str, list[int]]:
    """The columns of X that each term of the formulas has kept, in either order of a:b."""
    place = np.where(data.encoders.kept, np.cumsum(data.encoders.kept) - 1, -1)
    found: dict[str, list[int]] = {}
    for component, of in data.fixed_slices.items():
        for term, columns in data.fixed_spec(component).term_indices.items():
            own = [int(k) for k in place[of][columns] if k >= 0]
            parts = str(term).split(":")
            for name in (":".join(parts), ":".join(parts[::-1])):
                found[plain(full_name(component, name))] = own
    return found


def _check_free(plan: Plan, test: Test) -> None:
    """Refuse to test what is held at a value, or the same parameter twice."""
    control = plan.scenario.control
    if not (control.fixed or control.shared):
        return
    known = Names(plan.scenario.drawn.problem, plan.data)
    for name in control.fixed or ():
        held = known.find("Control(fixed=...)", name).name
        if held in test.names:
            raise InputError(
                f"test: '{held}' is held at a value in the analysis (Control.fixed), so there is "
                "nothing to test. Free it, or test another one."
            )
    for group in control.shared:
        shared = {known.find("Control(shared=...)", name).name for name in group} & set(test.names)
        if len(shared) > 1 or (shared and test.method == "lrt"):
            raise InputError(
                f"test: '{min(shared)}' is the same parameter as others (Control.shared). Test one "
                "of them alone, with method='wald'."
            )


def _check_likelihood(plan: Plan) -> None:
    if plan.scenario.method == "reml":
        raise InputError(
            "method='lrt': the criterion of REML says nothing about fixed effects, of which its "
            "value depends. Fit by method='laplace', or use method='wald'."
        )
    if plan.changes.get("priors") is not None:
        raise InputError(
            "method='lrt': estimates with priors do not maximise the likelihood. Fit without "
            "priors, or use method='wald'."
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
