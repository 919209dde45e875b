"""Contrasts of means, letters that tell which differ, and joint tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from string import ascii_letters
from typing import Any, NamedTuple

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.means.averages import first_fastest
from jaxglmm.frontend.means.estimates import Estimates
from jaxglmm.frontend.means.labels import Contrasts, find_contrasts, mean_names
from jaxglmm.frontend.means.nesting import Nesting
from jaxglmm.inference import contrasts as coefficients
from jaxglmm.inference import letters
from jaxglmm.inference.estimable import Joint, joint_test
from jaxglmm.links import Log, Logit


def contrast(
    means: Estimates, method: Any, by: Sequence[str], adjust: str | None, ref: Any, ratios: bool
) -> Estimates:
    """The same contrasts in each part that `by` makes."""
    own = [name for name in means.labels if name not in by]
    parts = means.parts(by)
    found = [
        find_contrasts(method, _names(means, own, rows), ref, _plain(means, own, rows))
        for rows in parts
    ]
    labels: dict[str, list[Any]] = {"contrast": [text for c in found for text in c.labels]}
    for name in by:
        labels[name] = [
            means.labels[name][rows[0]]
            for rows, c in zip(parts, found, strict=True)
            for _ in c.labels
        ]
    made = _made(means, found, parts, labels, tuple(by), adjust, ratios)
    return made.replace(is_pairwise=found[0].is_pairwise)


def _names(means: Estimates, own: Sequence[str], rows: np.ndarray) -> list[str]:
    """Numbers are written behind their column's name where all of the table's are numbers."""
    whole = mean_names({name: means.labels[name] for name in own}) if own else []
    return [whole[i] for i in rows] if own else ["all"] * len(rows)


def _plain(means: Estimates, own: Sequence[str], rows: np.ndarray) -> list[str]:
    return [" ".join(str(means.labels[name][i]) for name in own) for i in rows]


def interactions(
    means: Estimates, method: Any, by: Sequence[str], adjust: str | None, ratios: bool
) -> Estimates:
    """Contrasts of contrasts: those of each variable multiplied."""
    own = [name for name in means.labels if name not in by]
    parts, rows = means.parts(by), means.parts(by)[0]
    levels = _levels(means, own, rows)
    complete = math.prod(map(len, levels.values()))
    if any(len(part) != complete for part in parts):
        raise InputError(
            "interaction=True: some combinations of the variables do not exist. Give the factor "
            f"that others are nested in as by=, or leave {', '.join(own)} one by one."
        )
    found = [find_contrasts(method, mean_names({n: v})) for n, v in levels.items()]
    matrix = np.ones((1, 1))
    for one in found:
        matrix = np.kron(one.matrix, matrix)
    columns: dict[str, list[Any]] = {}
    suffix = method if isinstance(method, str) else "contrast"
    places = first_fastest([len(one.labels) for one in found])
    for name, one, place in zip(levels, found, places, strict=True):
        columns[f"{name}_{suffix}"] = [one.labels[i] for i in place] * len(parts)
    whole = Contrasts([""] * len(matrix), matrix)
    for name in by:
        columns[name] = [means.labels[name][r[0]] for r in parts for _ in whole.labels]
    return _made(means, [whole] * len(parts), parts, columns, tuple(by), adjust, ratios)


def _levels(means: Estimates, own: Sequence[str], rows: np.ndarray) -> dict[str, list[Any]]:
    return {name: list(dict.fromkeys(means.labels[name][i] for i in rows)) for name in own}


def _made(
    means: Estimates,
    found: Sequence[Contrasts],
    parts: Sequence[np.ndarray],
    labels: dict[str, list[Any]],
    by: tuple[str, ...],
    adjust: str | None,
    ratios: bool,
) -> Estimates:
    C = np.zeros((sum(len(c.matrix) for c in found), len(means.linear.L)))
    start = 0
    for one, rows in zip(found, parts, strict=True):
        C[start : start + len(one.matrix), rows] = one.matrix
        start += len(one.matrix)
    linear = means.linear.combine(C)
    sum_to_zero = all(c.sum_to_zero for c in found)
    as_ratios = ratios and sum_to_zero and isinstance(means.link, (Log, Logit))
    notes = list(means.notes)
    if means.link is not None and not as_ratios and means.what == "means":
        notes.append(f"contrasts stay on the {means.link.name} scale; .regrid() takes means back")
    if as_ratios and means.is_response:
        notes.append("odds ratios" if isinstance(means.link, Logit) else "ratios")
        for name in set(labels) - set(by):
            labels[name] = [text.replace(" - ", " / ") for text in labels[name]]
    return means.replace(
        labels=labels,
        by=by,
        linear=linear,
        link=Log() if as_ratios else None,
        adjust=found[0].adjust if adjust is None else adjust,
        is_pairwise=False,
        sigma=0.0,
        what="contrasts",
        notes=tuple(notes),
        scale="log odds ratio" if isinstance(means.link, Logit) else "",
    )


def letters_of(
    means: Estimates, order: np.ndarray, alpha: float, adjust: str, rows: np.ndarray
) -> list[str]:
    """Letters of some means, in their order by size: two share one unless they differ."""
    known = order[np.isfinite(means.linear.estimate[order])]
    shown = {int(i): "" for i in rows}
    if len(known) == 0:
        return [shown[int(i)] for i in order]
    one = means.replace(
        labels={"mean": list(range(len(known)))},
        by=(),
        alternative="two-sided",
        linear=means.linear.combine(np.eye(len(means.linear.L))[known]),
    )
    pairs = contrast(one, "pairwise", (), adjust, 0, False)
    different = np.zeros((len(known), len(known)), bool)
    if len(known) > 1:
        p = pairs.numbers()["p_value"]
        different[np.triu_indices(len(known), 1)] = p < alpha
    sets = letters.groups(different | different.T)
    signs = _signs(sets.shape[1])
    for place, i in enumerate(known):
        shown[int(i)] = "".join(signs[j] for j in np.flatnonzero(sets[place]))
    return [shown[int(i)] for i in order]


def _signs(number: int) -> list[str]:
    return [
        ascii_letters[j % len(ascii_letters)] + "." * (j // len(ascii_letters))
        for j in range(number)
    ]


class Tested(NamedTuple):
    """A joint test of a term, in a part."""

    term: str
    place: int
    joint: Joint


def joint_tests(means: Estimates) -> list[Tested]:
    """That all contrasts are zero; or, of means, of each variable and each interaction of them:
    differences of its levels, averaged over the other variables."""
    found = []
    for rows in means.parts():
        if means.what == "contrasts":
            whole = np.eye(len(means.linear.L))[rows]
            found.append(Tested("contrasts", int(rows[0]), joint_test(means.linear.combine(whole))))
            continue
        levels = _levels(means, means.own, rows)
        for names in _terms([n for n, v in levels.items() if len(v) > 1], means.nesting):
            whole = _differences(means, rows, names) @ np.eye(len(means.linear.L))[rows]
            place, joint = int(rows[0]), joint_test(means.linear.combine(whole))
            found.append(Tested(":".join(names), place, joint))
    return found


def _differences(means: Estimates, rows: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Differences of the levels of some variables, averaged over the others; (difference, mean).

    Nested variables come first, so that they are averaged, or their levels compared, within the
    levels of those around them, which then are not compared themselves.
    """
    keys = [{name: means.labels[name][i] for name in means.own} for i in rows]
    C, nesting = np.eye(len(rows)), means.nesting
    around = {outer for name in names for outer in nesting.get(name, ())}
    for name in sorted(means.own, key=lambda n: -len(nesting.get(n, ()))):
        if name in around:
            continue
        parts: dict[tuple[Any, ...], list[int]] = {}
        for row, key in enumerate(keys):
            parts.setdefault(tuple(v for n, v in key.items() if n != name), []).append(row)
        made = []
        for part in parts.values():
            k = len(part)
            own = coefficients.consecutive(k) if name in names else np.full((1, k), 1.0 / k)
            made += [({**keys[part[0]], name: j}, row @ C[part]) for j, row in enumerate(own)]
        keys, C = [key for key, _ in made], np.array([row for _, row in made])
    return C.reshape(-1, len(rows))


def _terms(names: Sequence[str], nesting: Nesting) -> list[tuple[str, ...]]:
    """All sets of variables, nested ones with those around them."""
    every = (term for size in range(1, len(names) + 1) for term in combinations(names, size))
    return [
        term
        for term in every
        if all(outer in term for name in term for outer in nesting.get(name, ()) if outer in names)
    ]
