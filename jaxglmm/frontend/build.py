"""Formula and table to a problem and its labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxglmm import covariance as structures
from jaxglmm import families
from jaxglmm.control import Control
from jaxglmm.design import METHODS, Grouping, Problem, Term, make_problem
from jaxglmm.errors import InputError
from jaxglmm.frontend.formula import parse
from jaxglmm.frontend.frame import Frame
from jaxglmm.frontend.matrices import model_data
from jaxglmm.frontend.memory import check_memory
from jaxglmm.frontend.model import ModelData, TermData
from jaxglmm.frontend.residual import check_residual, known_dispersion
from jaxglmm.links import AbstractLink
from jaxglmm.pattern import carry_out, survey


@dataclass(frozen=True)
class Labels:
    """Names of what a problem holds as arrays.

    Attributes:
        fixed: names of the columns of X.
        groups: name of each grouping factor.
        columns: names of each factor's random effects.
        levels: levels of each factor, in the order of its codes.
        response: name of the response.
        dropped: columns of X left out because others determine them.
        data: everything else the front end knows.
        table: the columns used, as they came, by name.
    """

    fixed: tuple[str, ...]
    groups: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    levels: tuple[list[Any], ...]
    response: str
    dropped: tuple[str, ...]
    data: ModelData
    table: dict[str, Any]


def build(
    formula: str,
    data: Any,
    family: str | families.AbstractFamily = "gaussian",
    *,
    link: str | float | AbstractLink | None = None,
    weights: Any = None,
    trials: Any = None,
    offset: Any = None,
    method: str = "laplace",
    contrasts: str | Mapping[str, str] = "treatment",
    covariance: Mapping[str, Any] | None = None,
    matrices: Mapping[str, Any] | None = None,
    dispersion: str | None = None,
    missing: str = "drop",
    subset: Any = None,
    control: Control = Control(),
) -> tuple[Problem, Labels]:
    """The arrays of a model for JAX code, and their names apart.

    Arguments as in `glmm`. Returns a `Problem` of NumPy arrays (a pytree: pass it to jitted
    functions, `replace` its arrays by tracers) and its `Labels`.

    Raises:
        InputError: input that cannot be fitted.
    """
    if not isinstance(control, Control):
        raise InputError(f"control: expected a jaxglmm.Control, got {type(control).__name__}.")
    if method not in METHODS:
        raise InputError(f"method: '{method}' is not known here; use one of {', '.join(METHODS)}.")
    if covariance is not None and not isinstance(covariance, Mapping):
        raise InputError(
            f"covariance: {covariance!r} is no dict of grouping factors and structures; "
            "write {'g': 'diag'} or diag(...) in the formula."
        )
    law = families.get(family, link)
    frame = Frame(data)
    used = model_data(
        parse(formula),
        frame,
        family_support=law.support,
        weight_role=law.weight_role,
        weights=weights,
        trials=trials,
        offset=offset,
        contrasts=contrasts,
        covariance=covariance,
        matrices=matrices,
        missing=missing,
        subset=subset,
    )
    _check_reach(law, used)
    law = known_dispersion(law, dispersion, used)
    check_residual(law, used)
    named = [a for a in (weights, trials, offset, subset) if isinstance(a, str)]
    return _problem(law, used, method, control), _labels(used, frame, named)


def _problem(
    law: families.AbstractFamily, data: ModelData, method: str, control: Control
) -> Problem:
    groupings = tuple(
        Grouping(
            codes=g.codes,
            Z=g.Z,
            num_levels=len(g.levels),
            terms=tuple(map(_term, g.terms)),
            constants=tuple(t.constants for t in g.terms),
        )
        for g in data.groupings
    )
    codes, num_levels = [g.codes for g in groupings], [g.num_levels for g in groupings]
    columns = [g.num_columns for g in groupings]
    found = survey(codes, num_levels, columns, control.factorisation)
    check_memory(found, data, groupings, law)
    latent = [g.num_latent for g in groupings]
    own = [None if v is None else np.array(v) for v in (data.weights, data.trials, data.offset)]
    return make_problem(
        np.array(data.y),
        data.X,
        law,
        groupings,
        weights=own[0],
        trials=own[1],
        offset=own[2],
        weights_multiply=control.weights == "likelihood",
        pattern=carry_out(found, codes, num_levels, latent, control.probes),
        method=method,
    )


def _term(term: TermData) -> Term:
    structure: Any = structures.REGISTRY[term.structure]
    return Term(structure(len(term.names), **term.arguments))


def _labels(data: ModelData, frame: Frame, named: list[str]) -> Labels:
    return Labels(
        fixed=data.fixed_names,
        groups=tuple(g.name for g in data.groupings),
        columns=tuple(tuple(n for t in g.terms for n in t.names) for g in data.groupings),
        levels=tuple(g.levels for g in data.groupings),
        response=data.response_name,
        dropped=data.dropped_columns,
        data=data,
        # Copies: what the caller does to the table later must not reach the fit.
        table={n: frame.column(n).copy() for n in dict.fromkeys([*data.used_columns, *named])},
    )


def _check_reach(law: families.AbstractFamily, data: ModelData) -> None:
    """A law of the whole real line with a link onto part of it: the data decide."""
    if law.support != "real" or law.link.range == "real":
        return
    mean = float(np.mean(data.y))
    top = 1.0 if law.link.range == "unit" else np.inf
    if not 0 < mean < top:
        reach = "between 0 and 1" if law.link.range == "unit" else "above 0"
        raise InputError(
            f"link: '{law.link.name}' reaches means {reach} only, but the mean of "
            f"'{data.response_name}' is {mean:.4g}; use link='identity' or transform the response."
        )
