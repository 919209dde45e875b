"""Choices about the design: contrasts a column, structure a random term, terms a grouping."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import check_choice
from jaxglmm.frontend.context import CODINGS, TREATMENT, Factor
from jaxglmm.frontend.formula import FormulaSpec, RandomTerm
from jaxglmm.frontend.model import full_name
from jaxglmm.frontend.random_terms import STRUCTURES
from jaxglmm.frontend.structures import PATTERN, SHARED_VARIANCE
from jaxglmm.frontend.variables import plain_columns

MAX_ENTRIES = 2**31  # of the indicator columns of one predictor


def choose_contrasts(
    contrasts: str | Mapping[str, str], factors: Mapping[str, Factor]
) -> dict[str, str]:
    """Coding of every plain categorical predictor; columns not named are treatment-coded."""
    if not isinstance(contrasts, Mapping):
        check_choice("contrasts", contrasts, CODINGS)
        return dict.fromkeys(factors, contrasts)
    for name, coding in contrasts.items():
        check_choice(f"contrasts['{name}']", coding, CODINGS)
        if name not in factors:
            known = ", ".join(factors) or "none"
            raise InputError(
                f"contrasts names '{name}', which is no categorical predictor of the formula "
                f"(those are: {known}). Correct the name or leave it out."
            )
    return {name: contrasts.get(name, TREATMENT) for name in factors}


def check_levels(factors: Mapping[str, Factor], num_rows: int) -> None:
    """Refuse a categorical predictor with a single level, or with far too many."""
    for name, factor in factors.items():
        if len(factor.levels) * num_rows > MAX_ENTRIES:
            raise InputError(
                f"The categorical predictor '{name}' has {len(factor.levels)} levels in {num_rows} "
                f"rows: too many columns. Use it as a grouping factor, (1 | {name})."
            )
        if len(set(map(str, factor.levels))) < len(factor.levels):
            raise InputError(
                f"The categorical predictor '{name}' has different levels that read the same, such "
                "as 1 and '1'. Make them all text or all numbers."
            )
        if len(factor.levels) == 1:
            raise InputError(
                f"The categorical predictor '{name}' has the single level '{factor.levels[0]}' in "
                "the rows used, so it has no effect. Remove it from the formula."
            )


def check_response_apart(spec: FormulaSpec) -> None:
    """Refuse a response that is also one of the terms."""
    if spec.response is None:
        return
    for part in (spec.fixed, *[term.columns for term in spec.random]):
        for name in plain_columns(part):
            if spec.response.expressions in ((name,), (f"`{name}`",)):
                raise InputError(
                    f"The response '{name}' is also a term of the right-hand side. Remove it there."
                )


def by_component(
    covariance: Mapping[str, Any] | None, components: Collection[str]
) -> dict[str, dict[str, Any]]:
    """covariance={group: structure, component: {group: structure}} as {component: {group: ...}}.

    Groups by themselves are those of the main formula, "cond".
    """
    found: dict[str, dict[str, Any]] = {component: {} for component in components}
    for name, given in (covariance or {}).items():
        if not isinstance(given, Mapping):
            found["cond"][name] = given
        elif name in found:
            found[name] |= given
        else:
            known = ", ".join(f"'{component}'" for component in components)
            raise InputError(
                f"covariance['{name}'] is a dict, which is for the groups of one formula of the "
                f"model, but those are {known} only ('disp': dispersion=, 'zi': zero_inflation=). "
                "Give the formula, or write {group: structure}."
            )
    return found


def choose_structures(
    terms: tuple[RandomTerm, ...], covariance: Mapping[str, Any], where: str = ""
) -> tuple[RandomTerm, ...]:
    """The random terms of one formula with the structures of {group: structure} put in.

    A structure is a name, or a matrix of zeros and ones: the pattern of the covariance. `where`
    is what stands before [group] in messages.
    """
    groups = [":".join(term.factors) for term in terms]
    for group, structure in covariance.items():
        if isinstance(structure, str):
            check_choice(f"covariance{where}['{group}']", structure, STRUCTURES)
        elif groups.count(group) > 1:
            raise InputError(
                f"covariance{where}['{group}'] is a pattern for one random term, but the formula "
                f"has {groups.count(group)} of the group '{group}'. Write them as one term."
            )
        if group not in groups:
            known = ", ".join(dict.fromkeys(groups)) or "none"
            raise InputError(
                f"covariance{where} names the group '{group}', which is none of the "
                f"{'main ' if not where else ''}formula's ({known}). Correct the name; those of "
                "further formulas are given by {'disp': {group: structure}} and {'zi': {...}}."
            )
    return tuple(
        _restructured(term, covariance.get(group))
        for term, group in zip(terms, groups, strict=True)
    )


def _restructured(term: RandomTerm, given: Any) -> RandomTerm:
    structure = given if given is None or isinstance(given, str) else PATTERN
    if structure is None or structure == term.structure:
        return term
    if term.id is not None:
        raise InputError(
            f"covariance gives '{structure}' for {term.text}, whose id '{term.id}' already asks "
            "for correlations. Take one of them out."
        )
    if not term.text.startswith("(") or term.structure == "diag":
        raise InputError(
            f"covariance gives '{structure}' for {term.text}, which already says "
            f"'{term.structure}'. Say it once."
        )
    return replace(term, structure=structure)


def by_grouping(terms: tuple[RandomTerm, ...]) -> list[tuple[tuple[str, ...], list[int]]]:
    """(factors, positions of its terms) of each grouping, in the order of the formula."""
    found: dict[tuple[str, ...], tuple[tuple[str, ...], list[int]]] = {}
    for i, term in enumerate(terms):
        key = tuple(sorted(term.factors))
        found.setdefault(key, (term.factors, []))[1].append(i)
    return [(factors, _ids_together(terms, places)) for factors, places in found.values()]


def _ids_together(terms: tuple[RandomTerm, ...], places: list[int]) -> list[int]:
    """The same places, those of one id one after another."""
    first: dict[str, int] = {}
    return sorted(places, key=lambda i: first.setdefault(terms[i].id or f"{i}", i))


def check_ids(terms: tuple[RandomTerm, ...]) -> None:
    """Refuse an id that ties a random term to no other."""
    found = [(term.id, tuple(sorted(term.factors))) for term in terms]
    for term, key in zip(terms, found, strict=True):
        if term.id is not None and found.count(key) == 1:
            raise InputError(
                f"{term.text}: the id '{term.id}' ties random terms of the group "
                f"'{':'.join(term.factors)}' together, but there is only this one. Give another "
                f"the same id, or leave it out: ({term.columns} | {':'.join(term.factors)})."
            )


def check_columns_once(group: str, terms: Any) -> None:
    """Refuse a random column that two terms of one grouping share: its variance is not defined.

    It is where one of two different structures has a single variance for all its columns.
    """
    seen: dict[str, list[Any]] = {}
    for term in terms:
        for name in map(full_name, term.components, term.names):
            for other in seen.get(name, []):
                structures = {term.structure, other.structure}
                if len(structures) == 2 and structures & set(SHARED_VARIANCE):
                    continue
                raise InputError(
                    f"The column '{name}' is in two random terms of the group '{group}': "
                    f"{other.text} and {term.text}. Take it out of one, for example with 0 + ..."
                )
            seen.setdefault(name, []).append(term)
